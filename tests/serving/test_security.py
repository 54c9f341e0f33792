"""Who may use a server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetl.core.errors import EdgetlError
from edgetl.serving.token import read_token
from tests.serving.running import Server, read_all, running

TOKEN = "secret-1"
LOCKED = ("/v1/model", "/metrics", "/openapi.json")


@pytest.fixture(scope="module")
def locked(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a token, for every address of this machine, also called board.test."""
    file = tmp_path_factory.mktemp("token") / "token.txt"
    file.write_text(f"{TOKEN}\n")
    options = ("--host", "0.0.0.0", "--token-file", file, "--allow-host", "Board.Test")
    with running("edgetl", "serve", tiny_bundle, "--port", 0, *options) as server:
        yield server


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
def test_nothing_is_told_without_the_token(locked: Server, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    for answer in (locked.post(**headers), *(locked.get(path, **headers) for path in LOCKED)):
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="edgetl"'
        assert answer.json["error"] == "This needs the server's token."


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer  {TOKEN}"])
def test_the_token_opens_everything(locked: Server, given: str) -> None:
    assert locked.post(Authorization=given).status == 200
    assert [locked.get(path, Authorization=given).status for path in LOCKED] == [200] * 3


def test_health_and_the_pages_need_no_token(locked: Server) -> None:
    assert [locked.get(path).status for path in ("/healthz", "/", "/docs")] == [200] * 3


def test_with_a_token_there_is_no_warning(locked: Server) -> None:
    assert locked.ready.startswith("serving ")


def test_a_server_for_everyone_warns(tiny_bundle: Path) -> None:
    with running("edgetl", "serve", tiny_bundle, "--port", 0, "--host", "0.0.0.0") as server:
        assert server.ready.splitlines()[0] == (
            "Warning: everyone who can reach 0.0.0.0 can use this server; "
            "--token-file FILE protects it."
        )
        assert server.get("/healthz", Host="any.name").status == 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9000", "127.0.0.1:80", "[::1]:8000", "LOCALHOST."]
)
def test_this_machines_names_are_the_servers(server: Server, host: str) -> None:
    assert server.get("/healthz", Host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test:8000", "[::2]"]
)
def test_another_name_is_refused(server: Server, host: str) -> None:
    for answer in (
        server.get("/", Host=host),
        server.get("/healthz", Host=host),
        server.post(Host=host),
    ):
        assert answer.status == 403
        assert "--allow-host" in answer.json["hint"]


def test_a_health_check_needs_no_name(server: Server) -> None:
    with server.socket() as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",  # as of TLS
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %s\r\n\r\n" % (b"9" * 5000),
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(server: Server, request_: bytes) -> None:
    with server.socket() as client:
        client.sendall(request_ + b"\r\n" * 2)
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    assert server.get("/healthz").status == 200


def test_a_head_that_is_too_large_is_not_read_to_its_end(server: Server) -> None:
    with server.socket() as client, contextlib.suppress(ConnectionError):
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5_000_000)
        assert read_all(client).startswith(b"HTTP/1.1 400 ")
    assert server.get("/healthz").status == 200


def test_a_name_that_is_allowed_is_the_servers(locked: Server) -> None:
    assert locked.get("/healthz", Host="board.test:8000").status == 200
    assert locked.get("/healthz", Host="localhost").status == 200
    assert locked.get("/healthz", Host="evil.test").status == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.test", "null", "http://localhost:3000", "http://[", ""]
)
def test_pages_of_other_sites_may_not_post(server: Server, origin: str) -> None:
    answer = server.post(Host="localhost:8000", Origin=origin)
    assert (answer.status, answer.json["error"]) == (
        403, f"Pages of '{origin}' may not use this server.",
    )  # fmt: skip


def test_the_servers_own_pages_may_post(server: Server, locked: Server) -> None:
    assert server.post(Host="localhost:8000", Origin="http://localhost:8000").status == 200
    behind_a_proxy = {"Host": "127.0.0.1:8000", "Origin": "https://board.test"}
    assert locked.post(Authorization=f"Bearer {TOKEN}", **behind_a_proxy).status == 200


def test_no_other_site_may_read_answers(server: Server) -> None:
    for answer in (server.get("/healthz", Origin="http://evil.test"), server.post()):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_may_load_nothing_from_elsewhere(server: Server, path: str) -> None:
    answer = server.get(path)
    policy = dict(
        part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; ")
    )
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["script-src"].startswith("'sha256-") and " " not in policy["script-src"]
    assert policy["style-src"].startswith("'sha256-") and " " not in policy["style-src"]
    text = answer.body.decode()
    assert text.count("<script") == text.count("<style") == 1
    assert "https://" not in text
    assert text.replace("http://www.w3.org/2000/svg", "").count("http://") <= 1  # a hint's


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" abc-123= \n")
    assert read_token(tmp_path / "token", {"EDGETL_TOKEN": "other"}) == "abc-123="
    assert read_token(None, {"EDGETL_TOKEN": "other"}) == "other"
    assert read_token(None, {}) is None


@pytest.mark.parametrize("content", ["", "\n", "two words", "ü", "=", "a" * 5000])
def test_what_is_no_token_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(EdgetlError, match="holds no token"):
        read_token(tmp_path / "token", {})
    with pytest.raises(EdgetlError, match=r"^\$EDGETL_TOKEN holds no token\.$"):
        read_token(None, {"EDGETL_TOKEN": content})


def test_a_token_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EdgetlError, match="cannot be read: No such file or directory"):
        read_token(tmp_path / "none")

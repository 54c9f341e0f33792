"""The units of services, as systemd's own tools judge them; and what is refused before."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from edgetl.core.errors import SchemaError
from edgetl.remote.deployment.rollout import parse_stages
from edgetl.remote.deployment.settings import Settings, checked
from edgetl.remote.deployment.unit import check_unit, quoted, secret_variables, service_unit
from tests.conftest import Command

SERVER = Settings(name="cells", host="0.0.0.0", allow_host=("a.example",), collect=True, threads=2)
WATCHER = Settings(name="cells", watch="/srv/in coming", memory="600M", groups=("cells",))
CAMERA = Settings(name="cells", source="camera:1", every_s=0.5, collect=True, max_mb=20.0)
STREAM = Settings(name="cells", source="rtsp://cam.example/%20stream?a=$b")
ALL = (SERVER, WATCHER, CAMERA, STREAM)


def lines(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def analyze(verb: str, texts: dict[str, str], folder: Path, *options: str) -> str:
    """Run systemd-analyze on units whose Python is one that exists here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed here")
    for name, text in texts.items():
        here = re.sub(r"/opt/edgetl/\S+/bin/python", "/usr/bin/env", text)
        (folder / name).write_text(here)
    paths = [str(folder / name) for name in texts]
    ran = subprocess.run(
        ["systemd-analyze", verb, *options, *paths], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    texts = {
        f"edgetl-{i}.service": service_unit(one, "r", secrets=True) for i, one in enumerate(ALL)
    }
    texts |= {
        f"edgetl-{i}-check.service": check_unit(one, "r", "/opt/edgetl/remote/e")
        for i, one in enumerate(ALL)
    }
    assert analyze("verify", texts, tmp_path) == ""


@pytest.mark.parametrize(("settings", "most"), [(SERVER, 1.5), (WATCHER, 1.0), (CAMERA, 1.1)])
def test_systemd_counts_little_that_a_service_may_do(
    tmp_path: Path, settings: Settings, most: float
) -> None:
    text = service_unit(settings, "r", secrets=False)
    options = ("--offline=true", "--no-pager", f"--threshold={int(most * 10)}")
    printed = analyze("security", {"edgetl-cells.service": text}, tmp_path, *options)
    exposure = re.search(r"Overall exposure level for edgetl-cells.service: ([\d.]+)", printed)
    assert exposure
    assert float(exposure[1]) <= most


def test_a_server_reaches_the_network_and_its_state_alone() -> None:
    text = service_unit(SERVER, "r", secrets=True)
    assert lines(text, "RestrictAddressFamilies") == ["AF_UNIX AF_INET AF_INET6"]
    assert lines(text, "PrivateNetwork") == []
    assert lines(text, "StateDirectory") == ["edgetl/cells"]
    assert lines(text, "PrivateDevices") == ["yes"]
    assert lines(text, "EnvironmentFile") == ["/opt/edgetl/cells/releases/r/secrets.env"]
    (command,) = lines(text, "ExecStart")
    assert shlex.split(command)[3:] == [
        "edgetl", "serve", "/opt/edgetl/cells/releases/r/model.edgetl", "--threads=2",
        "--collect=/var/lib/edgetl/cells/kept", "--host=0.0.0.0", "--port=8000",
        "--allow-host=a.example",
    ]  # fmt: skip


def test_a_camera_is_the_only_device_and_there_is_no_network() -> None:
    text = service_unit(CAMERA, "r", secrets=False)
    assert lines(text, "DeviceAllow") == ["/dev/video1 rw"]
    assert lines(text, "DevicePolicy") == ["closed"]
    assert lines(text, "SupplementaryGroups") == ["video"]
    assert lines(text, "PrivateNetwork") == ["yes"]
    assert lines(text, "WatchdogSec") == []
    (command,) = lines(text, "ExecStart")
    assert shlex.split(command)[-4:] == ["--max-mb=20.0", "--every=0.5", "--", "camera:1"]


def test_an_address_is_where_no_other_user_reads_it() -> None:
    text = service_unit(STREAM, "r", secrets=True)
    assert "cam.example" not in text
    assert lines(text, "EnvironmentFile") == ["/opt/edgetl/cells/releases/r/secrets.env"]
    assert secret_variables(STREAM, None) == (
        'EDGETL_SOURCE="rtsp://cam.example/%20stream?a=\\$b"\n'
    )
    assert secret_variables(CAMERA, None) == ""
    assert secret_variables(SERVER, "abc=") == 'EDGETL_TOKEN="abc="\n'


def test_a_service_that_ends_is_started_again_however_often() -> None:
    text = service_unit(CAMERA, "r", secrets=False)
    assert lines(text, "Restart") == ["always"]
    assert lines(text, "StartLimitIntervalSec") == ["0"]


def test_words_mean_to_systemd_what_they_are() -> None:
    assert [quoted(word) for word in ("a-b", "a b", "50%", "$HOME", 'a"b\\')] == [
        "a-b", '"a b"', '"50%%"', '"$$HOME"', '"a\\"b\\\\"',
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Cells"}, {"name": "remote"}, {"name": "a-check"}, {"name": "../x"},
        {"watch": "incoming"}, {"watch": "/home/pi/in"}, {"watch": "/tmp/in"},
        {"watch": "/srv/../root"}, {"watch": "/srv/a\nExecStart=/bin/sh"}, {"source": "clip.mp4"},
        {"source": "http://x/\nUser=root"}, {"groups": ("a b",)}, {"devices": ("/etc/passwd",)},
        {"memory": "lots"}, {"allow_host": ("a\nb",)}, {"host": "0.0.0.0\nUser=root"},
        {"artifact": "a\nb"}, {"engine": "a\nb"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SchemaError):
        checked(Settings(**{"name": "cells", **wrong}))  # type: ignore[arg-type]


def test_stages_are_numbers_of_hosts_and_rise() -> None:
    assert parse_stages("1,10%,50%,100%", 30) == [1, 3, 15, 30]
    assert parse_stages("1,10%,50%,100%", 1) == [1]
    assert parse_stages("2,5", 8) == [2, 5, 8]
    for wrong in ("0", "50%,10%", "101%", "half", ""):
        with pytest.raises(SchemaError):
            parse_stages(wrong, 10)


def test_a_dry_run_prints_the_unit_and_reaches_no_host(
    edgetl: Command, tiny_bundle: Path, tmp_path: Path
) -> None:
    inventory = tmp_path / "boards.ini"
    inventory.write_text("[boards]\nnowhere-[1:4]\n")
    answer = edgetl("deploy", "--inventory", inventory, tiny_bundle, "--dry-run", "--name", "cells")
    assert (answer.code, answer.err) == (0, "")
    assert "ExecStart=/opt/edgetl/cells/releases/" in answer.out
    assert answer.out.splitlines()[-3:] == [
        "# stage 1: nowhere-1", "# stage 2: nowhere-2", "# stage 3: nowhere-3, nowhere-4",
    ]  # fmt: skip


def test_a_dry_run_shows_the_source_without_its_password(
    edgetl: Command, tiny_bundle: Path
) -> None:
    source = "rtsp://admin:s3cret@cam.example/live?key=s3cret"
    answer = edgetl("deploy", "pi", tiny_bundle, "--dry-run", "--source", source)
    assert answer.code == 0
    assert "# secrets.env has the source: rtsp://cam.example/live\n" in answer.out
    assert "s3cret" not in answer.out


def test_a_name_that_leads_elsewhere_is_refused(edgetl: Command) -> None:
    answer = edgetl("deploy", "pi", "--remove", "--name", "../../etc")
    assert answer.code == 1
    assert answer.err.startswith("Error: '../../etc' cannot be a service's name.")


def test_what_is_misspelt_is_known_before_a_host_is_reached(
    edgetl: Command, tiny_bundle: Path
) -> None:
    artifact = edgetl("deploy", "nowhere.invalid", tiny_bundle, "--artifact", "tflite-int9")
    assert (artifact.code, "did you mean 'tflite-int8'?" in artifact.err) == (1, True)
    engine = edgetl("deploy", "nowhere.invalid", tiny_bundle, "--engine", "litter")
    assert (engine.code, "did you mean 'litert'?" in engine.err) == (1, True)


def test_wrong_options_of_a_deployment_are_wrong_usage(edgetl: Command, tiny_bundle: Path) -> None:
    for options, message in (
        (("pi", tiny_bundle, "--host", "0.0.0.0"), "give it a --token-file FILE, or --no-token."),
        (("pi", tiny_bundle, "--watch", "/srv/x", "--port", 1), "--port is for a server"),
        (("pi", tiny_bundle, "--watch", "/srv/x", "--source", "camera:0"), "exclude each other"),
        (("pi", tiny_bundle, "--stages", "1"), "--stages belongs to a deployment with --inventory"),
        (("pi",), "What is needed: HOST BUNDLE."),
        (("pi", tiny_bundle, "--status"), "What is needed: HOST."),
        (("pi", "--status", "--collect"), "--collect belongs to a deployment."),
        (("pi", tiny_bundle, "--dry-run", "--json"), "--dry-run prints the unit: not with --json."),
        (("pi", "--status", "--rollback"), "--status, --rollback and --remove exclude each other."),
    ):
        answer = edgetl("deploy", *options)
        assert (answer.code, answer.out) == (2, ""), options
        assert message in " ".join(answer.err.split()), options

"""The archives for the package index; the wheel in an environment of its own, with one engine."""

import email
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from edgetl import __version__

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def files_of(folder: str, inside: str = "") -> set[str]:
    """The files of a folder of the checkout, as an archive names them."""
    found = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {
        f"{inside}{path.relative_to(ROOT).as_posix()}"
        for path in found
        if "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(archives: Path) -> Path:
    (path,) = archives.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def source(archives: Path) -> Path:
    (path,) = archives.glob("*.tar.gz")
    return path


def test_the_package_index_accepts_both_archives(wheel: Path, source: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("PASSED") == 2


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    about = f"edgetl-{__version__}.dist-info/"
    assert f"{about}licenses/LICENSE" in names
    shipped = files_of("recipes", "edgetl/shipped/") | files_of("devices", "edgetl/shipped/")
    assert {name for name in names if not name.startswith(about)} == files_of("edgetl") | shipped


def test_the_source_archive_holds_what_a_wheel_is_built_from(source: Path) -> None:
    with tarfile.open(source) as archive:
        names = {member.name for member in archive.getmembers() if member.isfile()}
    alone = {"README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "pyproject.toml", "PKG-INFO"}
    expected = alone | files_of("edgetl") | files_of("recipes") | files_of("devices")
    found = {name.removeprefix(f"edgetl-{__version__}/") for name in names}
    assert found - {".gitignore"} == expected  # hatchling adds it


def test_both_archives_have_the_packages_version(wheel: Path, source: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        of_wheel = archive.read(f"edgetl-{__version__}.dist-info/METADATA").decode()
    with tarfile.open(source) as archive:
        member = archive.extractfile(f"edgetl-{__version__}/PKG-INFO")
        assert member
        of_source = member.read().decode()
    for text in (of_wheel, of_source):
        assert email.message_from_string(text)["Version"] == __version__


@pytest.fixture(scope="module")
def edgetl_there(wheel: Path, tmp_path_factory: pytest.TempPathFactory):
    """Calls the installed `edgetl` from a folder without the source."""
    home = tmp_path_factory.mktemp("device")
    subprocess.run([sys.executable, "-m", "venv", str(home / "env")], check=True)
    python = home / "env" / "bin" / "python"
    requirement = f"edgetl[onnxruntime] @ {wheel.as_uri()}"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", requirement], check=True)

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python.with_name("edgetl")), *map(str, arguments)],
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )

    call.python = python  # type: ignore[attr-defined]
    return call


def test_the_wheel_is_installed_without_torch(edgetl_there) -> None:
    code = "import importlib.util as u, sys; sys.exit(bool(u.find_spec('torch')))"
    assert subprocess.run([str(edgetl_there.python), "-c", code], check=False).returncode == 0
    assert edgetl_there("--version").stdout == f"edgetl, version {__version__}\n"


@pytest.mark.parametrize("kind", ["recipes", "devices"])
def test_recipes_and_devices_come_with_the_wheel(edgetl_there, kind: str) -> None:
    answer = edgetl_there(kind, "list")
    assert answer.returncode == 0, answer.stderr
    # A row that is too long for the terminal goes on in indented lines.
    rows = [line for line in answer.stdout.splitlines()[1:] if not line.startswith(" ")]
    listed = [line.split()[0] for line in rows]
    assert listed == sorted(path.stem for path in (ROOT / kind).glob("*.yaml"))


def test_doctor_names_the_engine_that_is_there(edgetl_there) -> None:
    answer = edgetl_there("doctor", "--json")
    assert answer.returncode == 0, answer.stderr
    versions = {row["library"]: row["version"] for row in json.loads(answer.stdout)["libraries"]}
    assert {name for name, version in versions.items() if version} == {"onnxruntime"}


def test_run_verify_bench_and_evaluate_work_there(
    edgetl_there, tiny_bundle: Path, pictures: Path
) -> None:
    photo = pictures / "checks" / "00.png"
    answer = edgetl_there("run", tiny_bundle, photo, "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)[0]["label"] in {"checks", "slope", "stripes"}
    answer = edgetl_there("verify", tiny_bundle, "--json")
    assert answer.returncode == 0, answer.stderr
    statuses = {r["engine"]: r["status"] for r in json.loads(answer.stdout)}
    assert statuses["onnxruntime"] == "right"
    assert statuses["openvino"] == "absent"
    answer = edgetl_there("bench", tiny_bundle, photo, "--json", "-")
    assert answer.returncode == 0, answer.stderr
    assert {row["engine"].split()[0] for row in json.loads(answer.stdout)["rows"]} == {
        "onnxruntime"
    }
    answer = edgetl_there("evaluate", tiny_bundle, pictures, "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["images"] == 60


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "timm:resnet18"])
def test_what_needs_the_workstation_says_what_to_install(
    edgetl_there, pictures: Path, backbone: str
) -> None:
    answer = edgetl_there("finetune", pictures, "-o", "run", "--backbone", backbone)
    assert answer.returncode == 1
    assert answer.stderr.splitlines() == [
        "Error: This needs 'torch', which is not installed here.",
        "Hint: on the workstation: pip install 'edgetl[train]'",
    ]

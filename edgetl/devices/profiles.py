"""Reading the device profiles that come with edgetl."""

from edgetl.core.device import DeviceProfile
from edgetl.core.manifest import Format
from edgetl.core.schema import from_yaml, read_document
from edgetl.core.shipped import shipped_file, shipped_names
from edgetl.runtime.engine import ENGINES


def device_names() -> list[str]:
    """Every known device, sorted."""
    return shipped_names("devices")


def load_device(name: str) -> DeviceProfile:
    """A device by name. Raises SchemaError listing the names."""
    path = shipped_file("devices", name)
    return from_yaml(read_document(path), DeviceProfile, where=f"device '{path.name}'")


def formats_for(device: DeviceProfile) -> list[Format]:
    """The formats the device's engines run, best first, each once."""
    return list(dict.fromkeys(ENGINES[engine].format for engine in device.engines))

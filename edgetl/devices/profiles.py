"""Read device profiles: those that come with edgetl, and the user's own."""

from pathlib import Path

from edgetl.core.errors import SchemaError
from edgetl.core.schema import from_yaml, read_document, unknown_choice_hint
from edgetl.core.shipped import shipped_file, shipped_names
from edgetl.devices.profile import DeviceProfile
from edgetl.runtime.engines.registry import ENGINES
from edgetl.runtime.engines.spec import Int8Precision
from edgetl.runtime.processor import Machine


def device_names() -> list[str]:
    """The names of the device profiles that come with edgetl, sorted."""
    return shipped_names("devices")


def load_device(name: str) -> DeviceProfile:
    """Read a device profile.

    Args:
        name: a name from `device_names`, or the path of a user's profile, e.g. `./my-board.yaml`.

    Raises SchemaError for an unknown name, a file that is missing or violates the schema, or an
    engine that is not registered or computes int8 wrongly on the device. The hint lists the known
    names, or the most similar key.
    """
    own = _is_path(name)
    path = Path(name) if own else shipped_file("devices", name)
    where = f"device '{name if own else path.name}'"
    device = from_yaml(read_document(path), DeviceProfile, where=where)
    _require_right_engines(device, where)
    return device


def load_devices() -> list[DeviceProfile]:
    """Read every device profile that comes with edgetl, sorted by name."""
    return [load_device(name) for name in device_names()]


def formats_for(device: DeviceProfile) -> list[str]:
    """The formats that the device's engines run, best first, without repetitions."""
    return list(dict.fromkeys(ENGINES[engine].format for engine in device.engines))


def _require_right_engines(device: DeviceProfile, where: str) -> None:
    machine = Machine(device.isa, int8_may_saturate=device.reduced_range_weights)
    for name in (*device.engines, *device.wheels):
        if name not in ENGINES:
            raise SchemaError(
                f"{where}: there is no engine '{name}'.", hint=unknown_choice_hint(name, ENGINES)
            )
    for name in device.engines:
        reason = ENGINES[name].limits(machine, Int8Precision(device.reduced_range_weights))
        if reason:
            raise SchemaError(
                f"{where}: engines has {name}. {reason}", hint=f"remove {name} from engines."
            )


def _is_path(name: str) -> bool:
    """Whether it has a YAML suffix or a path separator, which device names never have."""
    return Path(name).suffix in (".yaml", ".yml") or len(Path(name).parts) > 1

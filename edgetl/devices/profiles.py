"""Reading device profiles: those that come with edgetl, and the user's own."""

from pathlib import Path

from edgetl.core.errors import SchemaError
from edgetl.core.schema import from_yaml, read_document, unknown_choice_hint
from edgetl.core.shipped import shipped_file, shipped_names
from edgetl.devices.profile import DeviceProfile
from edgetl.runtime.engines.registry import ENGINES
from edgetl.runtime.engines.spec import Int8Precision
from edgetl.runtime.processor import Machine


def device_names() -> list[str]:
    """Every known device, sorted."""
    return shipped_names("devices")


def load_device(name: str) -> DeviceProfile:
    """A device by name, or by the path of a profile of one's own, such as `./my-board.yaml`.

    Raises SchemaError: an unknown name lists the names, a misspelt key the nearest one; also for
    an engine that is not registered, or whose int8 is wrong on the device.
    """
    own = _is_path(name)
    path = Path(name) if own else shipped_file("devices", name)
    where = f"device '{name if own else path.name}'"
    device = from_yaml(read_document(path), DeviceProfile, where=where)
    _require_right_engines(device, where)
    return device


def load_devices() -> list[DeviceProfile]:
    """Every known device, by name."""
    return [load_device(name) for name in device_names()]


def formats_for(device: DeviceProfile) -> list[str]:
    """The formats the device's engines run, best first, each once."""
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
            raise SchemaError(f"{where}: engines has {name}. {reason}")


def _is_path(name: str) -> bool:
    """Names have neither separators nor endings."""
    return Path(name).suffix in (".yaml", ".yml") or len(Path(name).parts) > 1

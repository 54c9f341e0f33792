"""Constraints that a device's int8 kernels put on a network."""

from collections.abc import Sequence
from typing import NamedTuple

from edgetl.core.progress import Progress
from edgetl.devices.profile import DeviceProfile
from edgetl.runtime.engines.registry import ENGINES
from edgetl.runtime.engines.spec import Int8Precision
from edgetl.runtime.processor import this_machine
from edgetl.workstation.export.formats.registry import FORMATS

# Steps of int8 weights on either side of zero, and of 7-bit weights.
FULL_STEPS, REDUCED_STEPS = 127, 63


class QuantizationConstraints(NamedTuple):
    """Constraints on an int8 network, none by default.

    Attributes:
        symmetric: zero is in the middle of every activation's range, as TensorRT requires. A
            ReLU's output then has 7 bits.
        reduced_range: weights have 7 bits. x86 processors without VNNI add pairs of products of
            uint8 and int8 in 16 bits, where larger weights overflow (Intel 2018, "Lower numerical
            precision deep learning inference and training").
    """

    symmetric: bool = False
    reduced_range: bool = False

    @property
    def weight_steps(self) -> int:
        """The number of steps between zero and a channel's largest weight."""
        return REDUCED_STEPS if self.reduced_range else FULL_STEPS


NO_CONSTRAINTS = QuantizationConstraints()


def constraints_of(
    device: DeviceProfile | None, int8_formats: Sequence[str], progress: Progress
) -> QuantizationConstraints:
    """Return the constraints of the int8 kernels on the device and on this machine, together."""
    constraints = NO_CONSTRAINTS
    if device:
        constraints = QuantizationConstraints(
            device.symmetric_activations, device.reduced_range_weights
        )
    machine = this_machine()
    for name in int8_formats:
        limits = ENGINES[FORMATS[name].engine].limits
        reason = limits(machine, Int8Precision(constraints.reduced_range))
        if reason and not limits(machine, Int8Precision(reduced_range=True)):
            progress.say(f"int8 weights have 7 bits, or '{name}' could not be measured: {reason}")
            constraints = constraints._replace(reduced_range=True)
    return constraints

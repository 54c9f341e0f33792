"""Constraints that a device's int8 kernels put on a network."""

from typing import NamedTuple

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

"""Where and in which precision the arithmetic runs."""

from contextlib import AbstractContextManager

import torch
from torch import nn

from edgetl.core.recipe import Recipe


class Compute:
    """The device and precision of a run.

    bfloat16 pays on GPUs that have it and on processors with AVX512-BF16 or AMX instructions
    (measured 3 times the float32 rate); elsewhere it is emulated and slower.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.bf16 = recipe.precision == "bf16" or (recipe.precision == "auto" and self._fast_bf16())
        self.eval_batch = 256 if self.device.type == "cuda" else 32

    def _fast_bf16(self) -> bool:
        if self.device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))

    def place(self, model: nn.Module) -> None:
        """Move a network to the device, in the layout its convolutions run fastest in."""
        model.to(self.device)
        model.to(memory_format=torch.channels_last)

    def autocast(self, *, exact: bool = False) -> AbstractContextManager[None]:
        """The precision of forward passes; `exact` is float32 whatever is faster."""
        enabled = self.bf16 and not exact
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

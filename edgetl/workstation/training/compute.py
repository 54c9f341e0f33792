"""The device and the precision that a run computes with."""

import re
from contextlib import AbstractContextManager

import torch
from torch import nn

from edgetl.core.errors import EdgetlError
from edgetl.workstation.recipe import Recipe
from edgetl.workstation.training.distributed.environment import require_shareable
from edgetl.workstation.training.distributed.norms import share_batch_norm
from edgetl.workstation.training.distributed.ranks import ALONE, Ranks
from edgetl.workstation.training.forward_patches import speed_up_depthwise
from edgetl.workstation.training.pixel_cache import PixelSet

DEVICE_NAMES = "auto, cpu, cuda, cuda:N or mps"


class Compute:
    """The device and precision of a run, and the processes that share its work.

    bfloat16 is faster on GPUs that support it and on processors with AVX512-BF16 or AMX
    instructions (measured: 3 times the float32 rate); elsewhere it is emulated and slower.
    """

    def __init__(self, recipe: Recipe, device: str = "auto", ranks: Ranks = ALONE) -> None:
        """`device` is a name for `choose_device`, which may raise EdgetlError.

        `ranks`: the processes that compute together.
        """
        self.ranks = ranks
        self.device = choose_device(device, ranks)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
            # Every batch but the last of an epoch has the same shape.
            torch.backends.cudnn.benchmark = True
        self.bf16 = recipe.precision == "bf16" or (recipe.precision == "auto" and self._fast_bf16())
        self.eval_batch = 32 if self.device.type == "cpu" else 256

    def _fast_bf16(self) -> bool:
        if self.device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        if self.device.type == "mps":
            return False
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))

    @property
    def gpu(self) -> bool:
        """Whether the device is a GPU, by CUDA or Apple."""
        return self.device.type != "cpu"

    @property
    def captures(self) -> bool:
        """Whether steps can be captured as CUDA graphs: by one process alone."""
        return self.device.type == "cuda" and not self.ranks.several

    @property
    def described(self) -> str:
        """The device and precision in words, e.g. "2 CPU cores, bfloat16"."""
        kind = self.device.type
        cores = torch.get_num_threads()
        name = f"{cores} CPU core{'s' * (cores > 1)}" if kind == "cpu" else str(self.device)
        if kind == "cuda":
            name = f"{torch.cuda.get_device_name(self.device)} ({self.device})"
        precision = "bfloat16" if self.bf16 else "float32"
        if self.ranks.several:
            return f"{self.ranks.count} processes, each on {name}, {precision}"
        return f"{name}, {precision}"

    def place(self, model: nn.Module) -> None:
        """Move a network to the device, channels last, in which convolutions run fastest."""
        model.to(self.device)
        model.to(memory_format=torch.channels_last)

    def place_for_training(self, model: nn.Module) -> None:
        """The same as `place`, with edgetl's faster depthwise gradients on a CPU.

        Of several processes, batch norms take their statistics over all of them.
        """
        self.place(model)
        share_batch_norm(model, self.ranks)
        if not self.gpu:
            speed_up_depthwise(model)

    def keep_on_card(self, pictures: PixelSet) -> bool:
        """Move pictures to a CUDA GPU; returns False if its memory is too small for them."""
        if self.device.type != "cuda":
            return True
        return pictures.move_to(self.device, torch.cuda.mem_get_info(self.device)[0])

    def autocast(self, *, exact: bool = False) -> AbstractContextManager[None]:
        """A context that sets the precision of forward passes; `exact` forces float32.

        Weights are cast anew in each pass, as a CUDA graph requires: no step uses one twice.
        """
        enabled = self.bf16 and not exact
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False
        )

    def wait(self) -> None:
        """Wait until all work queued on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


def choose_device(wanted: str, ranks: Ranks = ALONE) -> torch.device:
    """The torch device for a name that a user gave.

    "auto" is the GPU with the most free memory, or the CPU on a machine that has no GPU; "cuda" is
    the GPU with the most free memory. Of several processes, each takes another GPU. Raises
    EdgetlError for an unknown name or a missing device.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", wanted):
        raise EdgetlError(f"There is no device '{wanted}'.", hint=f"--device is {DEVICE_NAMES}.")
    if ranks.several:
        return _device_of_rank(wanted, ranks)
    if wanted == "cpu":
        return torch.device("cpu")
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise EdgetlError(
                "--device mps: torch finds no Apple GPU here.", hint="use --device cpu."
            )
        return torch.device("mps")
    index = cuda_index(wanted, free_memory())
    if index is None:
        return torch.device("cpu")
    return torch.device("cuda", index)


def _device_of_rank(wanted: str, ranks: Ranks) -> torch.device:
    """The device of one of several processes: the CPU, or the GPU of its number."""
    require_shareable(wanted, ranks.count)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and not gpus):
        return torch.device("cpu")
    if ranks.local_count > gpus:
        raise EdgetlError(
            f"{ranks.local_count} processes on this machine need a GPU each; torch finds {gpus}.",
            hint="start as many processes as there are GPUs, or use --device cpu.",
        )
    return torch.device("cuda", ranks.local_rank)


def cuda_index(wanted: str, free_bytes: list[int]) -> int | None:
    """The index of the GPU for "auto", "cuda" or "cuda:N"; None if "auto" finds no GPU.

    `free_bytes` is each GPU's free memory. Raises EdgetlError if the requested GPU is missing.
    """
    most = max(range(len(free_bytes)), key=free_bytes.__getitem__, default=0)
    if wanted == "auto":
        return most if free_bytes else None
    if not free_bytes:
        raise EdgetlError(
            f"--device {wanted}: torch finds no CUDA GPU here.",
            hint="check `nvidia-smi` and that torch is a CUDA build, or use --device cpu.",
        )
    if wanted == "cuda":
        return most
    index = int(wanted.partition(":")[2])
    if index >= len(free_bytes):
        found = ", ".join(f"cuda:{i}" for i in range(len(free_bytes)))
        raise EdgetlError(f"There is no GPU '{wanted}' here.", hint=f"found: {found}.")
    return index


def free_memory() -> list[int]:
    """The free memory of each CUDA GPU, in bytes; empty if torch finds none."""
    if not torch.cuda.is_available():
        return []
    return [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]

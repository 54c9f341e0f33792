"""What `edgetl doctor` finds out about this machine."""

import importlib.metadata
import shutil
import subprocess
import sys
from collections import Counter

from edgetl import __version__
from edgetl.benchmarking.host import free_memory_bytes, host_facts
from edgetl.benchmarking.reports import HostFacts
from edgetl.core.caches import cached_items
from edgetl.core.errors import EdgetlError
from edgetl.core.files import cache_folder
from edgetl.core.progress import Progress
from edgetl.core.schema import Frozen
from edgetl.devices.engine_check import EngineCheck, check_engine
from edgetl.devices.gpu import Gpu, nvidia_gpus
from edgetl.devices.probe import read_machine, recognise
from edgetl.devices.profiles import load_devices
from edgetl.runtime.engines.registry import ENGINES
from edgetl.serving.libraries import SERVING
from edgetl.workstation.backbones.catalogue import BACKBONES
from edgetl.workstation.export.formats.registry import FORMATS, format_libraries
from edgetl.workstation.libraries import REPORT, SEARCH, TRAINING, is_here, version_of

_ASK_TORCH = "import torch; torch.zeros(1, device='cuda')"
_TIMEOUT_S = 120


class Library(Frozen, kw_only=True, frozen=True):
    """A library, what it is for, and what installs it if it is missing (`version` is None)."""

    purpose: str
    library: str
    version: str | None
    to_install: str | None


class Disk(Frozen, kw_only=True, frozen=True):
    """The disk that the cache is on."""

    total_bytes: int
    free_bytes: int


class Cache(Frozen, kw_only=True, frozen=True):
    """edgetl's cache: its size and that of each part, largest first.

    Attributes:
        problem: why its size is unknown; "" if it is known.
    """

    folder: str
    bytes: int
    parts: dict[str, int]
    problem: str = ""


class DoctorReport(Frozen, kw_only=True, frozen=True):
    """This machine and what is installed on it.

    Attributes:
        edgetl: edgetl's version.
        host: the processor, its features, and so on.
        device: the profile that fits this machine; None if there is none.
        memory_free_bytes: None if it cannot be read.
        gpus: NVIDIA GPUs.
        torch_without_gpu: why torch cannot compute on the GPU; "" if it can; None if there is no
            GPU or no torch.
        libraries: those of the workstation half.
        problems: why entry points of other packages cannot be used.
    """

    edgetl: str
    host: HostFacts
    device: str | None
    memory_free_bytes: int | None
    disk: Disk
    gpus: tuple[Gpu, ...]
    torch_without_gpu: str | None
    cache: Cache
    engines: tuple[EngineCheck, ...]
    libraries: tuple[Library, ...]
    problems: tuple[str, ...]


def examine(progress: Progress) -> DoctorReport:
    """Examine this machine. Engines and torch are imported in processes of their own."""
    names = list(ENGINES)
    gpus = nvidia_gpus()
    engines = []
    ask_torch = bool(gpus) and is_here("torch")
    with progress.stage("trying", len(names) + ask_torch, "libraries") as shown:
        for name in names:
            engines.append(check_engine(name))
            shown.advance(1, name)
        without_gpu = _torch_without_gpu() if ask_torch else None
    device = recognise(read_machine(), load_devices()).device
    return DoctorReport(
        edgetl=__version__,
        host=host_facts(),
        device=device.name if device else None,
        memory_free_bytes=free_memory_bytes(),
        disk=_disk(),
        gpus=gpus,
        torch_without_gpu=without_gpu,
        cache=_cache(),
        engines=tuple(engines),
        libraries=_libraries(),
        problems=(*ENGINES.problems(), *FORMATS.problems(), *BACKBONES.problems()),
    )


def _torch_without_gpu() -> str:
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH],
            capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no answer within {_TIMEOUT_S} s"
    if tried.returncode == 0:
        return ""
    errors = [line for line in tried.stderr.splitlines() if "Error" in line.partition(":")[0]]
    return (errors or [f"exit code {tried.returncode}"])[-1]


def _disk() -> Disk:
    folder = next(f for f in (cache_folder(), *cache_folder().resolve().parents) if f.is_dir())
    usage = shutil.disk_usage(folder)
    return Disk(total_bytes=usage.total, free_bytes=usage.free)


def _cache() -> Cache:
    folder = str(cache_folder())
    try:
        items = cached_items()
    except EdgetlError as error:
        return Cache(folder=folder, bytes=0, parts={}, problem=str(error))
    sizes: Counter[str] = Counter()
    for item in items:
        sizes[item.part] += item.bytes
    return Cache(folder=folder, bytes=sizes.total(), parts=dict(sizes.most_common()))


def _libraries() -> tuple[Library, ...]:
    needed = {
        ("train", "train"): TRAINING,
        ("export", "export"): format_libraries(),
        ("report", "train"): [name for name in REPORT if name not in TRAINING],
        ("search", "search"): [name for name in SEARCH if name not in TRAINING],
        ("serve", "serve"): SERVING,
        ("cameras, videos", "camera"): ["cv2"],
        ("--log tensorboard", "tensorboard"): ["tensorboard"],
        ("--log mlflow", "mlflow"): ["mlflow"],
    }
    return tuple(
        _library(purpose, name, extra)
        for (purpose, extra), names in needed.items()
        for name in names
    )


def _library(purpose: str, name: str, extra: str) -> Library:
    if not is_here(name):
        hint = f"pip install 'edgetl[{extra}]'"
        return Library(purpose=purpose, library=name, version=None, to_install=hint)
    try:
        version = version_of(name)
    except importlib.metadata.PackageNotFoundError:  # a module without a package around it
        version = "unknown"
    return Library(purpose=purpose, library=name, version=version, to_install=None)

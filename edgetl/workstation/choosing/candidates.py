"""The candidates of a choice: networks whose weights can be had, at several picture sizes."""

from collections.abc import Mapping, Sequence

from edgetl.core.errors import EdgetlError, SchemaError, WeightsError
from edgetl.core.progress import Progress
from edgetl.workstation.backbones.catalogue import BACKBONES, find_backbone
from edgetl.workstation.backbones.weights import find_weights
from edgetl.workstation.choosing.results import Candidate, LeftOut

SIZES_PX = (96, 128, 160, 192, 224, 256, 288)


def find_candidates(
    names: Sequence[str],
    weights: Mapping[str, str],
    sizes_px: Sequence[int],
    progress: Progress,
) -> tuple[list[Candidate], list[LeftOut]]:
    """Find the networks that can take part.

    Args:
        names: backbones; empty: all of the catalogue, and those that `weights` names.
        weights: weights files by backbone; those of other backbones are looked for in the cache,
            the package registry and at their publisher.
        sizes_px: picture sizes. A network that takes one size only takes part with that one.
        progress: where to show what is fetched.

    Returns the candidates, and the networks that cannot take part, with the reason.
    Raises EdgetlError if no candidate is left, or a backbone that the user named is unknown.
    """
    found: list[Candidate] = []
    left_out: list[LeftOut] = []
    for name in dict.fromkeys([*(names or BACKBONES), *weights]):
        backbone = find_backbone(name)
        try:
            if name not in weights:
                find_weights(backbone, progress)
        except WeightsError as error:
            left_out.append(LeftOut(name=name, reason=str(error), weights_missing=True))
            continue
        sizes = [backbone.size_px] if backbone.fixed_size else sizes_px
        for size_px in sizes:
            try:
                backbone.require_size(size_px)
            except SchemaError:  # too small for this network: other sizes remain
                continue
            found.append(
                Candidate(
                    backbone=name, weights=weights.get(name, "imagenet"), image_size_px=size_px
                )
            )
    if not found:
        raise EdgetlError(
            "No network can take part: "
            + ("; ".join(item.reason for item in left_out) or "every size is too small."),
            hint=f"go online once, or give a weights file: --weights {left_out[0].name}=FILE"
            if left_out
            else "choose larger ones with --sizes.",
        )
    return found, left_out

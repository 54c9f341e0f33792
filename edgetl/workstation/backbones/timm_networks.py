"""Networks of timm that are not in the catalogue, described by what timm states about them.

timm (https://github.com/huggingface/pytorch-image-models) lists for each network and set of
weights its input size, normalisation, last layer, groups of layers and licence.
"""

import re
from functools import lru_cache

import timm
from timm.models import PretrainedCfg
from torch import nn

from edgetl.bundle.preprocessing import Resampling
from edgetl.core.errors import WeightsError, first_line
from edgetl.core.schema import nearest
from edgetl.workstation.backbones.architecture import Backbone, WeightSource
from edgetl.workstation.backbones.catalogue import TIMM_PREFIX
from edgetl.workstation.backbones.conv_norm_pairs import has_batch_norm, trace

# For networks whose smallest input timm does not state: the usual total stride.
_SMALLEST_PX = 32


@lru_cache(maxsize=32)
def timm_backbone(name: str, *, exportable: bool = True) -> Backbone:
    """Describe a network of timm, e.g. "timm:mobilenetv4_conv_small" or "timm:resnet18.a1_in1k".

    A tag after the architecture's name chooses the weights; without one they are timm's preferred.
    `exportable`: the network will be exported, not just run. One with batch norms must be traceable
    in any case, as they are folded to run it faster.

    Raises WeightsError if timm has no such network or weights, if it does not end in one linear
    layer, or if it cannot be exported because its code cannot be traced.
    """
    full_name = name.removeprefix(TIMM_PREFIX)
    architecture, _, tag = full_name.partition(".")
    known = timm.list_models()
    if architecture not in known:
        guess = nearest(architecture, known)
        raise WeightsError(
            f"timm {timm.__version__} has no network '{architecture}'.",
            hint=(f"did you mean '{TIMM_PREFIX}{guess}'? " if guess else "")
            + "timm.list_models() lists its networks.",
        )
    tags = timm.list_pretrained(f"{architecture}.*")
    if tag and full_name not in tags:
        raise WeightsError(
            f"timm {timm.__version__} has no weights '{tag}' for '{architecture}'.",
            hint=f"it has {', '.join(found.partition('.')[2] for found in tags) or 'none'}.",
        )
    facts = timm.get_pretrained_cfg(full_name)
    assert facts is not None  # every network that timm lists has one
    model = timm.create_model(architecture, pretrained=False, num_classes=2)
    head = _last_layer(architecture, facts, model)
    if exportable or has_batch_norm(model):
        _require_traceable(architecture, model)
    return Backbone(
        name=name,
        library="timm",
        constructor=architecture,
        head=head,
        blocks=_blocks(model),
        size_px=facts.input_size[-1],
        smallest_px=facts.min_input_size[-1] if facts.min_input_size else _SMALLEST_PX,
        fixed_size=facts.fixed_input_size,
        sources=(_source(architecture, facts),),
    )


def _last_layer(architecture: str, facts: PretrainedCfg, model: nn.Module) -> str:
    """The dotted path of the final linear layer."""
    path = facts.classifier
    if not isinstance(path, str):
        raise WeightsError(
            f"'{TIMM_PREFIX}{architecture}' has {len(path or ())} last layers; edgetl needs one.",
            hint="choose a network with a single classifier.",
        )
    layer = model.get_submodule(path)
    if not isinstance(layer, nn.Linear):
        raise WeightsError(
            f"'{TIMM_PREFIX}{architecture}' ends in a {type(layer).__name__}; edgetl needs a "
            "linear last layer.",
            hint="choose a network that ends in pooling and a linear layer, as most do.",
        )
    return path


def _require_traceable(architecture: str, model: nn.Module) -> None:
    try:
        trace(model.eval())
    except Exception as error:  # whatever a network's code raises if its tensors are symbols
        raise WeightsError(
            f"'{TIMM_PREFIX}{architecture}' cannot be exported: its code branches on values that "
            f"only exist when it runs ({first_line(error)}).",
            hint="choose another network.",
        ) from error


def _blocks(model: nn.Module) -> tuple[str, ...]:
    """The dotted paths of the blocks, first to last; all at once if timm names no groups.

    timm groups layers by patterns of their names for learning rates that fall with depth. The
    group "blocks" is one pattern, or several of which those with an ordinal of their own are
    layers behind the last block.
    """
    matcher = getattr(model, "group_matcher", None)
    groups = matcher(coarse=True).get("blocks", ()) if matcher else ()
    patterns = [groups] if isinstance(groups, str) else [p for p, order in groups if order is None]
    names = [
        name for name, module in model.named_modules() if any(True for _ in module.parameters())
    ]
    matching = [n for n in names if any(re.fullmatch(p, n) for p in patterns)]
    return tuple(matching) or tuple(name for name, _ in model.named_children() if name in names)[:1]


def _source(architecture: str, facts: PretrainedCfg) -> WeightSource:
    tag = f".{facts.tag}" if facts.tag else ""
    resize: Resampling = "bilinear" if facts.interpolation == "bilinear" else "bicubic"
    return WeightSource(
        file=f"{architecture}{tag}.safetensors",
        sha256="",
        licence=f"{facts.license or 'no licence is stated'} (timm)",
        mean=facts.mean,
        std=facts.std,
        crop=facts.crop_pct,
        resize=resize,
        hub=facts.hf_hub_id or "",
    )

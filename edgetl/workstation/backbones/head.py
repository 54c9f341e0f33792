"""The new layers between a backbone's features and its logits."""

from collections import OrderedDict

from torch import nn

from edgetl.workstation.backbones.architecture import Backbone
from edgetl.workstation.recipe import Head

_ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6}


class DenseHead(nn.Sequential):
    """Dense layers, each with its activation and dropout, then a linear layer named `out`."""


def install_head(model: nn.Module, backbone: Backbone, spec: Head, width: int) -> None:
    """Install the head that a recipe specifies in a newly built network, in place.

    The architecture's own classifier is replaced by a `DenseHead` if the recipe has hidden layers,
    if it sets dropout and the architecture has none, or if the classifier takes feature maps.
    Otherwise the classifier stays, and at most its dropout rate changes.

    Args:
        model: the network.
        backbone: its catalogue entry.
        spec: the recipe's head.
        width: number of logits.
    """
    path = backbone.classifier or backbone.head
    dropouts = _dropouts(model, backbone)
    own = dropouts[0].p if dropouts else 0.0
    rate = own if spec.dropout is None else spec.dropout
    if spec.hidden or backbone.classifies_maps or (rate and not dropouts):
        features = _input_width(model.get_submodule(path))
        new = _dense_head(features, spec, rate, width, pooled=not backbone.classifies_maps)
        model.set_submodule(path, new)
        for dropout in dropouts:
            dropout.p = 0.0  # also those outside the classifier: the new head has its own
        return
    if spec.dropout is not None:
        for dropout in dropouts:
            dropout.p = rate


def _dense_head(features: int, spec: Head, rate: float, width: int, *, pooled: bool) -> DenseHead:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if not pooled:
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
    if not spec.hidden:
        layers["dropout"] = nn.Dropout(rate)
    for number, hidden in enumerate(spec.hidden, 1):
        layers[f"dense{number}"] = nn.Linear(features, hidden)
        layers[f"activation{number}"] = _ACTIVATIONS[spec.activation]()
        layers[f"dropout{number}"] = nn.Dropout(rate)
        features = hidden
    layers["out"] = nn.Linear(features, width)
    return DenseHead(layers)


def _dropouts(model: nn.Module, backbone: Backbone) -> list[nn.Dropout]:
    """The dropout layers of the network, except those in auxiliary heads."""
    auxiliary_prefixes = tuple(f"{auxiliary.path}." for auxiliary in backbone.auxiliary)
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Dropout) and not name.startswith(auxiliary_prefixes)
    ]


def _input_width(classifier: nn.Module) -> int:
    """The number of input features of the classifier's first layer with weights."""
    weighted = (m for m in classifier.modules() if isinstance(m, nn.Linear | nn.Conv2d))
    return int(next(weighted).weight.shape[1])

"""Which batch norm directly follows which convolution, found by tracing and not by names."""

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Tracer(fx.Tracer):
    """Keeps convolutions and batch norms whole, also a library's own subclasses of them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = isinstance(m, (nn.Conv2d, nn.Linear, _BatchNorm))
        return whole or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module) -> fx.Graph:
    """The graph of a network as it is in its present mode (training or not)."""
    return _Tracer().trace(model)


def conv_and_norm(model: nn.Module, node: fx.Node) -> tuple[nn.Conv2d, _BatchNorm] | None:
    """The norm that a node of `model`'s graph stands for, and the convolution it alone reads.

    None for every other node, and for a norm that keeps no statistics.
    """
    norm = _module_of(model, node)
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
        return None
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node) or len(source.users) != 1:
        return None
    conv = _module_of(model, source)
    return (conv, norm) if isinstance(conv, nn.Conv2d) else None


def _module_of(model: nn.Module, node: fx.Node) -> nn.Module | None:
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None

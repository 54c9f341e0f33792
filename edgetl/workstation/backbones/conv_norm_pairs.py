"""Finding pairs of a convolution and the batch norm that follows it, by tracing the network."""

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Tracer(fx.Tracer):
    """Traces convolutions, linear layers, batch norms and their subclasses as single nodes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        traced_as_leaf = isinstance(m, (nn.Conv2d, nn.Linear, _BatchNorm))
        return traced_as_leaf or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module) -> fx.Graph:
    """Trace a network in its current mode (training or eval); returns its graph."""
    return _Tracer().trace(model)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a network has any batch norm."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def conv_and_norm(model: nn.Module, node: fx.Node) -> tuple[nn.Conv2d, _BatchNorm] | None:
    """The convolution and batch norm of a graph node, if the node is such a norm.

    Args:
        model: the traced network.
        node: a node of its graph.

    Returns None unless the node is a batch norm with running statistics whose input is a
    convolution that has no other user.
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

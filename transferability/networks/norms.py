"""Batch norm: statistics of the global batch in several processes, the target's statistics, and folding."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed.nn.functional as collective
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.utils.fusion import fuse_conv_bn_eval

from transferability.files import Refused
from transferability.networks.cut import CutLayer, set_channels_last

SHARED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


# ------------------------------------------------------------------------------------------ several processes


class GlobalBatchNorm(_BatchNorm):
    """Batch norm whose statistics in training are those of the global batch, of which each process has a share.

    Ioffe and Szegedy 2015. All processes have shares of the same size. Its own sums and torch's all-reduce, because
    torch's synchronised batch norm does not run on CPUs. The backward pass adds up the processes' gradients too.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        count = input.numel() // input.shape[1] * torch.distributed.get_world_size()
        shape = [1, -1] + [1] * (input.ndim - 2)
        mean = _summed(input.sum(axes)) / count
        centred = input - mean.view(shape)
        variance = _summed((centred * centred).sum(axes)) / count
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked.add_(1)
                share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean.detach(), share)
                self.running_var.lerp_(variance.detach() * (count / (count - 1)), share)
        normalised = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is None:
            return normalised
        return normalised * self.weight.view(shape) + self.bias.view(shape)


def _summed(x: Tensor) -> Tensor:
    summed: Tensor = collective.all_reduce(x)  # type: ignore[no-untyped-call]
    return summed


def share_statistics(networks: nn.Module) -> None:
    """Replaces every batch norm of `networks` by one with the global batch's statistics. Its tensors stay the same.

    Refused: norms with statistics of other kinds, which would differ from process to process.
    """
    for module in list(networks.modules()):
        for name, child in list(module.named_children()):
            if not isinstance(child, _NormBase) or not child.track_running_stats:
                continue
            if type(child) is GlobalBatchNorm:
                continue
            if type(child) not in SHARED:
                raise Refused(f"{type(child).__name__} keeps statistics that several processes cannot share; use one")
            shared = GlobalBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
            shared.__dict__.update(child.__dict__)
            module._modules[name] = shared


def refuse_no_statistics(network: nn.Module) -> None:
    """Refuses batch norms without running statistics: each process would normalise by its own share of the batch."""
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise Refused(f"{type(module).__name__} without running statistics cannot be trained by several processes")


# ------------------------------------------------------------------------------------------ the target's statistics


@torch.no_grad()
def estimate_statistics(layers: Sequence[CutLayer], batches: Callable[[], Iterable[Tensor]]) -> None:
    """Sets the statistics of all norms of frozen `layers` to those of the images of `batches`, from the input up.

    Each norm sees what comes out of the norms below it with their new statistics. One pass over the images for each
    norm: exact means and variances, in float64, which do not depend on the batches.
    batches: called for each pass; (b, 3, c, c) float32 each.
    """
    for end, layer in enumerate(layers, 1):
        layer.eval()
        for norm in _in_order_of_use(layer, layers[:end], batches):
            _estimate(norm, layers[:end], batches)


class _Reached(Exception):
    """The norm whose input was wanted has seen it."""


def _in_order_of_use(
    layer: CutLayer, layers: Sequence[CutLayer], batches: Callable[[], Iterable[Tensor]]
) -> list[_NormBase]:
    """The norms with statistics of a layer, in the order in which they are used."""
    order: list[_NormBase] = []
    norms = [module for module in layer.modules() if isinstance(module, _NormBase) and module.running_mean is not None]
    hooks = [norm.register_forward_pre_hook(lambda norm, _: order.append(norm)) for norm in norms]  # type: ignore[arg-type,func-returns-value]
    x = next(iter(batches()))[:2]
    for other in layers:
        x = other(x)
    for hook in hooks:
        hook.remove()
    return list(dict.fromkeys(order))


def _estimate(norm: _NormBase, layers: Sequence[CutLayer], batches: Callable[[], Iterable[Tensor]]) -> None:
    count, total, squares = 0, torch.zeros(()), torch.zeros(())

    def add(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        nonlocal count, total, squares
        x = arguments[0].double()
        axes = [axis for axis in range(x.ndim) if axis != 1]
        count += x.numel() // x.shape[1]
        total, squares = total + x.sum(axes), squares + (x * x).sum(axes)
        raise _Reached

    hook = norm.register_forward_pre_hook(add)
    for x in batches():
        try:
            for layer in layers:
                x = layer(x)
        except _Reached:
            pass
    hook.remove()
    assert norm.running_mean is not None and norm.running_var is not None
    mean = total / count
    norm.running_mean.copy_(mean)
    norm.running_var.copy_((squares / count - mean * mean) * (count / max(1, count - 1)))


# ------------------------------------------------------------------------------------------ folding


def folded(layer: CutLayer) -> CutLayer:
    """A frozen layer with each batch norm that follows a convolution folded into it: the same up to rounding.

    `layer` is left as it is. Where nothing can be folded, or its trace in training is another, it is returned itself.
    """
    graph = layer.evaluation
    if not isinstance(graph, fx.GraphModule) or layer.training_graph is not None:
        return layer
    copied = fx.GraphModule(graph, _copied(graph.graph))
    modules: dict[Any, Any] = dict(copied.named_modules())
    pairs = [
        (node.args[0], node)
        for node in copied.graph.nodes
        if node.op == "call_module"
        and type(modules[node.target]) in SHARED
        and isinstance(node.args[0], fx.Node)
        and node.args[0].op == "call_module"
        and type(modules[node.args[0].target]) is nn.Conv2d
        and len(node.args[0].users) == 1
    ]
    if not pairs:
        return layer
    for convolution, norm in pairs:
        fused = fuse_conv_bn_eval(modules[convolution.target].eval(), modules[norm.target].eval())
        copied.add_submodule(str(convolution.target), fused)
        norm.replace_all_uses_with(convolution)
        copied.graph.erase_node(norm)
    copied.delete_all_unused_submodules()
    copied.recompile()
    result = CutLayer((), copied)
    set_channels_last(result)
    result.frozen, result.is_random, result.protects = True, layer.is_random, layer.protects
    return result.requires_grad_(False)


def _copied(graph: fx.Graph) -> fx.Graph:
    copy = fx.Graph()
    copy.output(copy.graph_copy(graph, {}))
    return copy

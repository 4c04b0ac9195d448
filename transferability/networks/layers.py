"""Layers as torch modules: those that `caffenet.py` describes, and any network's; and how their weights are drawn."""

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferability.draws import normal
from transferability.networks.caffenet import Architecture, Conv, Linear, shapes
from transferability.networks.chain import Chain
from transferability.networks.cut import CutLayer, drawn_weights, empty_layers, whole

LRN_SIZE, LRN_ALPHA, LRN_BETA = 5, 1e-4, 0.75


class LocalResponseNorm(torch.autograd.Function):
    """y = x d^-beta, d = 1 + alpha/size * (sum of x² over `size` neighbouring channels). Krizhevsky et al. 2012.

    The sum over channels is a 1x1 convolution with a band matrix, and the gradient is in closed form: with
    u = g d^-beta, dx = u - 2 alpha beta / size * x * band(u x / d). Several times faster on a CPU than
    `F.local_response_norm`, which agrees to rounding (tests). d is in float32 at least: in bfloat16 it would be 1.
    """

    @staticmethod
    def band(x: Tensor) -> Tensor:
        channels = torch.arange(x.shape[1], device=x.device)
        near = (channels[:, None] - channels[None, :]).abs() <= LRN_SIZE // 2
        return F.conv2d(x, near.to(x.dtype)[:, :, None, None])

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        wide = x if x.dtype == torch.float64 else x.float()
        with torch.autocast(x.device.type, enabled=False):
            d = LocalResponseNorm.band(wide * wide).mul_(LRN_ALPHA / LRN_SIZE).add_(1)
            scale = d.pow(-LRN_BETA)
        ctx.save_for_backward(wide, d, scale)
        return (wide * scale).to(x.dtype)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        x, d, scale = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            u = gradients[0].to(x.dtype) * scale
            dx = u - (2 * LRN_ALPHA * LRN_BETA / LRN_SIZE) * x * LocalResponseNorm.band(u * x / d)
        return dx.to(gradients[0].dtype)


class ConvLayer(nn.Module):
    """Convolution, ReLU, pooling, normalisation. (batch, C, H, W) → (batch, channels, H', W'), channels last.

    ungrouped: a grouped convolution is computed as one convolution per group (`training/forms.py`).
    """

    dropout = 0.0

    def __init__(self, spec: Conv, channels: int, ungrouped: bool = False) -> None:
        super().__init__()
        self.spec, self.ungrouped = spec, ungrouped and spec.groups > 1
        self.weight = nn.Parameter(torch.empty(spec.channels, channels // spec.groups, spec.kernel, spec.kernel))
        self.bias = nn.Parameter(torch.empty(spec.channels))

    def forward(self, x: Tensor) -> Tensor:
        spec = self.spec
        if self.ungrouped:
            parts = zip(
                x.chunk(spec.groups, 1), self.weight.chunk(spec.groups), self.bias.chunk(spec.groups), strict=True
            )
            x = torch.cat([F.conv2d(part, weight, bias, spec.stride, spec.pad) for part, weight, bias in parts], 1)
        else:
            x = F.conv2d(x, self.weight, self.bias, spec.stride, spec.pad, 1, spec.groups)
        if spec.pool:
            # Before the ReLU, not after as in Caffe: the same values and gradients (both are monotone), and the
            # ReLU has a quarter of the work.
            x = F.max_pool2d(x, spec.pool_window, spec.pool_stride, ceil_mode=True)
        x = F.relu_(x)
        return LocalResponseNorm.apply(x) if spec.lrn else x  # type: ignore[no-any-return, no-untyped-call]


class LinearLayer(nn.Module):
    """Fully connected, with ReLU except in the last layer. (batch, ...) → (batch, outputs).

    Its dropout is applied in `training/fleet.py`, where the address of the mask is known.
    """

    def __init__(self, spec: Linear, inputs: int, classes: int) -> None:
        super().__init__()
        self.last = spec.outputs is None
        self.dropout = spec.dropout
        outputs = classes if spec.outputs is None else spec.outputs
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x.flatten(1), self.weight, self.bias)
        return x if self.last else F.relu_(x)


Layer = ConvLayer | LinearLayer | CutLayer


def build(architecture: Architecture | Chain, classes: int, ungrouped: bool = False) -> Iterator[tuple[str, Layer]]:
    """The named layers of a network with `classes` outputs, bottom to top, their weights not yet set."""
    if isinstance(architecture, Chain):
        yield from empty_layers(architecture, classes)
        return
    sizes = shapes(architecture)
    for (name, spec), (channels, side) in zip(architecture.layers, sizes, strict=False):
        if isinstance(spec, Conv):
            # The weights are channels-last too: else each step would convert them.
            yield name, ConvLayer(spec, channels, ungrouped).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        else:
            yield name, LinearLayer(spec, channels * side * side, classes)


def in_one_piece(architecture: Architecture | Chain, classes: int) -> nn.Module:
    """The network as its own class has it, its weights not yet set; CaffeNet and its sisters as a Sequential."""
    if isinstance(architecture, Chain):
        return whole(architecture, classes)
    return nn.Sequential(OrderedDict(build(architecture, classes)))


def tensors(name: str, layer: Layer) -> dict[str, Tensor]:
    """The parameters and buffers of layer `name` of a network, under their names in the network's file of weights."""
    if isinstance(layer, CutLayer):
        return layer.tensors()
    return {f"{name}.{parameter}": value for parameter, value in layer.named_parameters()}


@torch.no_grad()
def copy(name: str, layer: Layer, weights: Mapping[str, Tensor]) -> None:
    """Sets the parameters and buffers of layer `name` to those of `weights`: every one, of the same shape."""
    for key, value in tensors(name, layer).items():
        source = weights[key]
        if source.shape != value.shape:
            raise ValueError(f"{key} is {tuple(source.shape)}, not {tuple(value.shape)}")
        value.copy_(source)


def draw(
    architecture: Architecture | Chain, name: str, layer: Layer, classes: int, initialisation: str, *owner: str | int
) -> None:
    """Sets layer `name` of a network to its first values. owner: of the draw, the beginning of its address.

    CaffeNet and its sisters: as the recipe's `initialisation` says. Any other network: as its own code draws them.
    """
    if isinstance(layer, CutLayer):
        assert isinstance(architecture, Chain)
        copy(name, layer, drawn_weights(architecture, classes, *owner))
    else:
        assert isinstance(architecture, Architecture)
        draw_layer(layer, dict(architecture.layers)[name], initialisation, *owner, name)


@torch.no_grad()
def draw_layer(layer: ConvLayer | LinearLayer, spec: Conv | Linear, initialisation: str, *address: str | int) -> None:
    """Sets a layer's weights and biases to their first values, as the recipe's `initialisation` says.

    `address`: of the draw of its weights; the biases are constants.
    """
    if initialisation == "paper":
        std, bias = spec.std, spec.bias
    else:
        std, bias = math.sqrt(2 / layer.weight[0].numel()), 0.0
        if isinstance(spec, Linear) and spec.outputs is None:
            std /= 10  # the first loss is then ln(classes)
    # Drawn in the order of a plain tensor: memory formats must not change the draw.
    layer.weight.copy_(normal(layer.weight.shape, std, *address))
    layer.bias.fill_(bias)

"""Layers against independent float64 references, gradients included; first weights; Caffe's momentum."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from transferability.draws import normal
from transferability.networks.caffenet import Architecture, Conv, Linear, caffenet, small_caffenet
from transferability.networks.layers import ConvLayer, LocalResponseNorm, build, draw_layer
from transferability.recipe import PAPER
from transferability.training.fleet import scale_momentum, set_rate

torch.set_num_threads(1)


def lrn(x: torch.Tensor) -> torch.Tensor:
    return LocalResponseNorm.apply(x)  # type: ignore[no-any-return, no-untyped-call]


# ---------------------------------------------------------------------------------------------- CaffeNet


def test_caffenet_is_built_exactly() -> None:
    """Parameters, the maps at 227 pixels, and what is in each layer, with 1,000 outputs."""
    layers = dict(build(caffenet(), 1000))
    counts = {name: sum(p.numel() for p in layer.parameters()) for name, layer in layers.items()}
    assert counts == {
        "conv1": 34_944,
        "conv2": 307_456,
        "conv3": 885_120,
        "conv4": 663_936,
        "conv5": 442_624,
        "fc6": 37_752_832,
        "fc7": 16_781_312,
        "fc8": 4_097_000,
    }
    assert sum(counts.values()) == 60_965_224
    for layer in layers.values():
        nn.init.zeros_(layer.weight), nn.init.ones_(layer.bias)
    x = torch.zeros(1, 3, 227, 227)
    conv1 = layers["conv1"]
    assert F.conv2d(x, conv1.weight, conv1.bias, 4).shape[2:] == (55, 55)
    maps = []
    with torch.no_grad():
        for layer in layers.values():
            x = layer(x)
            maps.append(tuple(x.shape[1:]))
    assert maps == [(96, 27, 27), (256, 13, 13), (384, 13, 13), (384, 13, 13), (256, 6, 6), (4096,), (4096,), (1000,)]


def naive_conv(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, pad: int, groups: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    n, channels, height, width = x.shape
    kernel, share = w.shape[2], w.shape[0] // groups
    rows, columns = (height - kernel) // stride + 1, (width - kernel) // stride + 1
    out = np.empty((n, w.shape[0], rows, columns))
    for o in range(w.shape[0]):
        first = (o // share) * (channels // groups)
        for i in range(rows):
            for j in range(columns):
                y, z = i * stride, j * stride
                window = x[:, first : first + channels // groups, y : y + kernel, z : z + kernel]
                out[:, o, i, j] = (window * w[o]).sum((1, 2, 3)) + b[o]
    return out


def naive_pool(x: np.ndarray) -> np.ndarray:
    """Caffe's max-pooling 3/2: rounds up, the last window is cut off at the edge."""
    side = math.ceil((x.shape[2] - 3) / 2) + 1
    out = np.empty((*x.shape[:2], side, side))
    for i in range(side):
        for j in range(side):
            out[:, :, i, j] = x[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((2, 3))
    return out


def naive_lrn(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for c in range(x.shape[1]):
        near = x[:, max(0, c - 2) : c + 3]
        out[:, c] = x[:, c] / (1 + 1e-4 / 5 * (near**2).sum(1)) ** 0.75
    return out


def numeric_gradient(f: object, x: np.ndarray, g: np.ndarray, places: np.ndarray, h: float) -> np.ndarray:
    """d sum(f(x) g) / dx at some places, by central differences."""
    out = np.empty(len(places))
    for i, place in enumerate(places):
        for sign in (1, -1):
            moved = x.copy()
            moved.flat[place] += sign * h
            out[i] = (out[i] if sign < 0 else 0) + sign * (f(moved) * g).sum() / (2 * h)  # type: ignore[operator]
    return out


@pytest.mark.parametrize(
    ("spec", "side"),
    [
        (Conv(8, 11, stride=4, pool=True, lrn=True), 31),  # 6 before pooling, rounded up to 3
        (Conv(8, 5, pad=2, groups=2, pool=True, lrn=True, bias=1.0), 8),
        (Conv(6, 3, pad=1), 5),
        (Conv(6, 3, pad=1, groups=2, pool=True), 6),
    ],
)
def test_a_convolution_layer_in_caffes_order(spec: Conv, side: int) -> None:
    """Convolution, ReLU, pooling, normalisation in this order, against loops in float64; with gradients."""
    layer = ConvLayer(spec, 4).double()
    rng = np.random.default_rng(0)
    w, b = rng.normal(0, 3, layer.weight.shape), rng.normal(0, 1, layer.bias.shape)
    x = rng.normal(0, 5, (2, 4, side, side))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(w)), layer.bias.copy_(torch.from_numpy(b))

    def reference(x: np.ndarray, w: np.ndarray = w) -> np.ndarray:
        y = np.maximum(naive_conv(x, w, b, spec.stride, spec.pad, spec.groups), 0)
        y = naive_pool(y) if spec.pool else y
        return naive_lrn(y) if spec.lrn else y

    given = torch.from_numpy(x).requires_grad_()
    got = layer(given)
    expected = reference(x)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-10, atol=1e-10)
    g = rng.normal(0, 1, expected.shape)
    got.backward(torch.from_numpy(g))
    places = rng.choice(x.size, 12, replace=False)
    np.testing.assert_allclose(
        given.grad.numpy().flat[places], numeric_gradient(reference, x, g, places, 1e-6), rtol=1e-5, atol=1e-5
    )
    places = rng.choice(w.size, 12, replace=False)
    np.testing.assert_allclose(
        layer.weight.grad.numpy().flat[places],
        numeric_gradient(lambda moved: reference(x, moved), w, g, places, 1e-6),
        rtol=1e-5,
        atol=1e-4,
    )


# ---------------------------------------------------------------------------------------------- LRN


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("size", [1.0, 100.0])
def test_lrn_values_and_gradients(channels: int, size: float) -> None:
    """Against the formula in numpy, and its gradient written out: also where the normalisation is strong."""
    rng = np.random.default_rng(channels)
    x, g = rng.normal(0, size, (2, channels, 3, 4)), rng.normal(0, 1, (2, channels, 3, 4))
    given = torch.from_numpy(x).requires_grad_()
    got = lrn(given)
    got.backward(torch.from_numpy(g))
    np.testing.assert_allclose(got.detach().numpy(), naive_lrn(x), rtol=1e-12, atol=0)

    gradient = np.zeros_like(x)  # dy_c/dx_k = [c = k] d_c^-3/4 - 3/4 d_c^-7/4 x_c 2 (1e-4/5) x_k for |c - k| <= 2
    for c in range(channels):
        d = 1 + 1e-4 / 5 * (x[:, max(0, c - 2) : c + 3] ** 2).sum(1)
        for k in range(max(0, c - 2), min(channels, c + 3)):
            gradient[:, k] -= g[:, c] * 0.75 * d**-1.75 * x[:, c] * 2 * 1e-4 / 5 * x[:, k]
        gradient[:, c] += g[:, c] * d**-0.75
    np.testing.assert_allclose(given.grad.numpy(), gradient, rtol=1e-10, atol=1e-13)
    assert torch.autograd.gradcheck(lrn, (torch.from_numpy(x).requires_grad_(),))


def test_lrn_in_float32_is_torchs_and_in_bfloat16_is_computed_in_float32() -> None:
    x = torch.randn(2, 16, 5, 5, generator=torch.Generator().manual_seed(0)) * 200
    np.testing.assert_allclose(lrn(x), F.local_response_norm(x, 5, 1e-4, 0.75, 1.0), rtol=1e-5)
    low = (x / 20).bfloat16()  # d is 1.0 to 1.02: in bfloat16 it would round to 1 and do nothing
    assert lrn(low).dtype == torch.bfloat16
    np.testing.assert_array_equal(lrn(low).float(), lrn(low.float()).bfloat16().float())
    strong = (x * 2).bfloat16().requires_grad_()
    lrn(strong).sum().backward()
    assert strong.grad is not None and strong.grad.dtype == torch.bfloat16 and strong.grad.isfinite().all()


# ---------------------------------------------------------------------------------------------- pooling


@pytest.mark.parametrize("side", [3, 4, 5, 6, 7, 12, 13])
def test_pooling_before_the_relu_is_pooling_after_it(side: int) -> None:
    """The layer pools first: bit for bit the values and gradients of Caffe's order, negative maps and ties included."""
    x = torch.randn(3, 6, side, side, generator=torch.Generator().manual_seed(side))
    x = (x * 2).round() / 2 - 0.5  # many ties, zeros and wholly negative windows
    x[0] -= 4
    layer = ConvLayer(Conv(6, 1, groups=6, pool=True), 6)
    with torch.no_grad():
        nn.init.ones_(layer.weight), nn.init.zeros_(layer.bias)
    first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
    got = layer(first)
    expected = F.max_pool2d(F.relu(second), 3, 2, ceil_mode=True)
    assert torch.equal(got, expected)
    np.testing.assert_array_equal(got.detach().double().numpy(), np.maximum(naive_pool(x.double().numpy()), 0))
    g = torch.randn(got.shape, generator=torch.Generator().manual_seed(1))
    got.backward(g), expected.backward(g)
    assert torch.equal(first.grad, second.grad)
    assert not first.grad[0].any()  # a wholly negative map has no gradient


# ---------------------------------------------------------------------------------------------- first weights

MIDDLING = Architecture(
    "middling",
    14,
    (
        ("conv1", Conv(64, 5, std=0.02, bias=0.25)),
        ("conv2", Conv(64, 5, groups=2, std=0.01, bias=1.0)),
        ("fc3", Linear(128, dropout=0.5, std=0.005, bias=1.0)),
        ("fc4", Linear(None, std=0.01)),
    ),
)


@pytest.mark.parametrize("initialisation", ["paper", "variance-preserving"])
def test_first_weights(initialisation: str) -> None:
    """Standard deviations within four standard errors, biases exactly; the fan-in of grouped layers is a group's."""
    fans = {"conv1": 75, "conv2": 32 * 25, "fc3": 64 * 6 * 6, "fc4": 128}
    for (name, layer), (_, spec) in zip(build(MIDDLING, 50), MIDDLING.layers, strict=True):
        draw_layer(layer, spec, initialisation, "test", name)
        if initialisation == "paper":
            std, bias = spec.std, spec.bias
        else:
            std, bias = math.sqrt(2 / fans[name]) / (10 if name == "fc4" else 1), 0.0
        weight = layer.weight.detach().double()
        assert weight.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * weight.numel()))
        assert weight.mean().item() == pytest.approx(0, abs=4 * std / math.sqrt(weight.numel()))
        assert layer.bias.detach().tolist() == [bias] * len(layer.bias)


def test_fillers_of_the_paper() -> None:
    """As in protocol.md, through the recipe of the paper: std 0.01 (fc6, fc7 0.005); biases 0 1 0 1 1 1 1 0."""
    stds, biases = [], []
    for (name, layer), (_, spec) in zip(build(caffenet(), 500), caffenet().layers, strict=True):
        if name in ("fc6", "fc7"):  # a slice will do: drawing 38 million takes long
            layer.weight = nn.Parameter(torch.empty(64, 4096))
        draw_layer(layer, spec, PAPER.initialisation, "paper", name)
        stds.append(float(layer.weight.detach().std()))
        biases.append(set(layer.bias.tolist()))
    assert stds == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01], rel=0.02)
    assert biases == [{0}, {1}, {0}, {1}, {1}, {1}, {1}, {0}]


def test_a_draw_depends_on_its_address_alone() -> None:
    def drawn(*address: str) -> torch.Tensor:
        layer = dict(build(MIDDLING, 50))["conv1"]
        draw_layer(layer, MIDDLING.layers[0][1], "paper", *address)
        return layer.weight.detach().contiguous()

    assert torch.equal(drawn("a"), drawn("a")) and not torch.equal(drawn("a"), drawn("b"))
    # Channels-last memory must not change which number goes where.
    plain = normal((64, 3, 5, 5), 0.02, "a")
    assert torch.equal(drawn("a"), plain)


def test_variance_is_preserved_through_the_network() -> None:
    """With He's initialisation the features of a deep small network keep their size; the first loss is ln(classes)."""
    net = small_caffenet(28, 0.25)
    x = torch.randn(32, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    sizes = []
    with torch.no_grad():
        for (name, layer), (_, spec) in zip(build(net, 20), net.layers, strict=True):
            draw_layer(layer, spec, "variance-preserving", "variance", name)
            x = layer(x)
            sizes.append(float(x.pow(2).mean()))
    assert all(0.2 < after / before < 5 for before, after in pairwise(sizes[:-1]))
    loss = F.cross_entropy(x, torch.arange(32) % 20)
    assert float(loss) == pytest.approx(math.log(20), rel=0.1)


# ---------------------------------------------------------------------------------------------- momentum


def test_momentum_is_caffes_across_drops() -> None:
    """Against Caffe's update written out: V = mu V + rate mult (g + decay w), w = w - V; biases twice, no decay.

    The optimiser is driven as the fleet drives it: rates set and buffers scaled before every step.
    """
    recipe = replace(PAPER, steps=30, drop_every=7, rate=0.1)
    rng = np.random.default_rng(0)
    target = rng.normal(0, 1, (4, 3))
    w, b = rng.normal(0, 1, (4, 3)), rng.normal(0, 1, 4)
    slow = w.copy()
    modules = [nn.Parameter(torch.from_numpy(each.copy())) for each in (w, b, slow)]
    optimiser = torch.optim.SGD(
        [
            {"params": [modules[0]], "multiple": 1.0, "weight_decay": recipe.decay, "lr": 0.0},
            {"params": [modules[1]], "multiple": recipe.bias_rate, "weight_decay": 0.0, "lr": 0.0},
            {"params": [modules[2]], "multiple": 0.1, "weight_decay": recipe.decay, "lr": 0.0},
        ],
        lr=0.0,
        momentum=recipe.momentum,
        fused=True,
    )
    velocity = [np.zeros_like(each) for each in (w, b, slow)]
    for step in range(recipe.steps):
        rate = recipe.rate_at(step)
        gradients = [w - target + step % 3, b - 1, slow * 2]
        for parameter, gradient in zip(modules, gradients, strict=True):
            parameter.grad = torch.from_numpy(gradient.copy())
        set_rate(optimiser, rate)
        if step and recipe.schedule == "step":
            scale_momentum(optimiser, recipe.rate_at(step - 1) / rate)
        optimiser.step()
        # Caffe: sgd_solver's ComputeUpdateValue and Blob::Update.
        for value, v, gradient, multiple, decay in zip(
            (w, b, slow), velocity, gradients, (1, 2, 0.1), (1, 0, 1), strict=True
        ):
            v *= 0.9
            v += rate * multiple * (gradient + 5e-4 * decay * value)
            value -= v
        for parameter, value in zip(modules, (w, b, slow), strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=1e-12, atol=1e-14)
    assert recipe.rate_at(0) / recipe.rate_at(29) == pytest.approx(1e4)

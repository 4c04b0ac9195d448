"""The architectures as data: CaffeNet's numbers, and its small sisters."""

import itertools
import re

import pytest
import torch
import torch.nn.functional as F

from transferability.files import Refused
from transferability.networks.caffenet import (
    Architecture,
    Conv,
    Linear,
    caffenet,
    cnn,
    pooled,
    shapes,
    small_caffenet,
    small_cnn,
)
from transferability.networks.facts import layer_facts

NAMES = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")


def parameters(architecture: Architecture, classes: int) -> int:
    """Weights and biases, counted from the specifications alone."""
    total = 0
    for (_, spec), (channels, side) in zip(architecture.layers, shapes(architecture), strict=False):
        if isinstance(spec, Conv):
            total += spec.channels * (channels // spec.groups) * spec.kernel**2 + spec.channels
        else:
            outputs = spec.outputs or classes
            total += outputs * channels * side * side + outputs
    return total


def test_too_small_a_picture_for_the_layers_is_refused() -> None:
    assert [side for _, side in shapes(small_caffenet(15, 0.25))] == [15, 4, 2, 2, 2, 1, 1, 1, 1]
    with pytest.raises(Refused, match=r"caffenet-14-0\.25 sees 14 pixels: conv5 has no pixel left of them"):
        shapes(small_caffenet(14, 0.25))


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ([("fc", "Linear(0)"), ("last", "Linear(None)")], "Linear: outputs is 0; write a whole number from 1 up"),
        ([("conv", "Conv(0, 3)"), ("last", "Linear(None)")], "Conv: channels is 0"),
        ([("conv", "Conv(8, 3, stride=0)"), ("last", "Linear(None)")], "Conv: stride is 0"),
        ([("conv", "Conv(8, 3, groups=3)"), ("last", "Linear(None)")], "8 channels do not divide into 3 groups"),
        ([("conv", "Conv(8, 3, groups=2)"), ("last", "Linear(None)")], "conv has 2 groups for 3 channels below it"),
        ([("fc", "Linear(9, dropout=1.0)"), ("last", "Linear(None)")], "dropout is 1.0"),
        ([("conv", "Conv(8, 3)"), ("conv", "Conv(8, 3)"), ("last", "Linear(None)")], "two layers are named conv"),
        ([("conv", "Conv(8, 3)"), ("last", "Linear(10)")], "the last layer, and no other, has to be Linear(None)"),
        ([("first", "Linear(None)"), ("last", "Linear(None)")], "the last layer, and no other, has to be"),
        (
            [("fc", "Linear(9)"), ("conv", "Conv(8, 3)"), ("last", "Linear(None)")],
            "conv is a Conv behind the Linear fc",
        ),
        ([], "the last layer, and no other, has to be"),
    ],
)
def test_layers_that_cannot_be_trained_are_refused_when_they_are_written(
    layers: list[tuple[str, str]], why: str
) -> None:
    with pytest.raises(Refused, match=re.escape(why)):
        shapes(Architecture("mine", 28, tuple((name, eval(spec)) for name, spec in layers)))


def test_caffenet() -> None:
    net = caffenet()
    assert tuple(name for name, _ in net.layers) == NAMES
    assert (net.name, net.crop, net.depth) == ("caffenet", 227, 8)
    assert parameters(net, 1000) == 60_965_224
    # Outputs of the layers: after pooling where there is pooling. conv1's own map is 55.
    assert shapes(net) == [(3, 227), (96, 27), (256, 13), (384, 13), (384, 13), (256, 6), (4096, 1), (4096, 1), (0, 1)]
    assert (227 - 11) // 4 + 1 == 55 and pooled(55) == 27
    specs = dict(net.layers)
    convs = [specs[name] for name in NAMES[:5]]
    assert [(c.kernel, c.stride, c.pad, c.groups) for c in convs if isinstance(c, Conv)] == [
        (11, 4, 0, 1),
        (5, 1, 2, 2),
        (3, 1, 1, 1),
        (3, 1, 1, 2),
        (3, 1, 1, 2),
    ]
    assert [c.pool for c in convs if isinstance(c, Conv)] == [True, True, False, False, True]
    assert [c.lrn for c in convs if isinstance(c, Conv)] == [True, True, False, False, False]
    assert [spec.std for _, spec in net.layers] == [0.01, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.01]
    assert [spec.bias for _, spec in net.layers] == [0, 1, 0, 1, 1, 1, 1, 0]
    assert [spec.dropout for _, spec in net.layers if isinstance(spec, Linear)] == [0.5, 0.5, 0]


def test_pooling_rounds_up() -> None:
    """Against a count: Caffe's windows start every 2 pixels, as long as they begin inside and cover something new."""
    for side in range(3, 60):
        starts = 1
        while (starts - 1) * 2 + 3 < side:
            starts += 1
        assert pooled(side) == starts
    assert [pooled(side) for side in (55, 27, 13, 6, 28)] == [27, 13, 6, 3, 14]


def test_sisters_have_the_same_layers_at_every_size_and_width() -> None:
    for crop, width, fc_width in itertools.product((28, 56), (0.05, 0.1, 0.5, 1.0), (None, 0.25)):
        net = small_caffenet(crop, width, fc_width)
        assert tuple(name for name, _ in net.layers) == NAMES
        for (_, spec), (channels, side) in zip(net.layers, shapes(net), strict=False):
            assert side >= 1 and channels >= 3
            if isinstance(spec, Conv):
                assert spec.channels % spec.groups == 0 and channels % spec.groups == 0
                assert spec.channels % 8 == 0  # for the sake of speed
        assert [isinstance(spec, Conv) for _, spec in net.layers] == [True] * 5 + [False] * 3


@pytest.mark.parametrize(
    ("crop", "width", "fc_width", "expected"),
    [
        (28, 0.1, None, "caffenet-28-0.1"),
        (56, 0.5, 0.25, "caffenet-56-0.5-0.25"),
    ],
)
def test_width_and_name(crop: int, width: float, fc_width: float | None, expected: str) -> None:
    net = small_caffenet(crop, width, fc_width)
    assert net.name == expected
    conv1, fc6 = net.layers[0][1], net.layers[5][1]
    assert isinstance(conv1, Conv) and conv1.channels == max(8, round(96 * width / 8) * 8)
    assert isinstance(fc6, Linear) and fc6.outputs == round(1024 * (fc_width or width) / 16) * 16


@pytest.mark.parametrize(
    ("kind", "sides", "counts"),
    [
        (
            "F",
            (224, 27, 13, 13, 13, 6),
            (23_296, 409_856, 590_080, 590_080, 590_080, 37_752_832, 16_781_312, 4_097_000),
        ),
        (
            "M",
            (224, 54, 13, 13, 13, 6),
            (14_208, 614_656, 1_180_160, 2_359_808, 2_359_808, 75_501_568, 16_781_312, 4_097_000),
        ),
        (
            "S",
            (224, 37, 18, 18, 18, 6),
            (14_208, 614_656, 1_180_160, 2_359_808, 2_359_808, 75_501_568, 16_781_312, 4_097_000),
        ),
    ],
)
def test_chatfields_three_networks(kind: str, sides: tuple[int, ...], counts: tuple[int, ...]) -> None:
    """Chatfield et al. 2014, table 1. The parameters, from its kernels and channels: 64 x (3 x 11 x 11) + 64, ..."""
    network = cnn(kind)
    assert tuple(name for name, _ in network.layers) == NAMES
    assert tuple(side for _, side in shapes(network)[:6]) == sides
    assert tuple(layer.parameters for layer in layer_facts(network, 1000)) == counts
    assert parameters(network, 1000) == sum(counts)


def test_an_unknown_speed_is_refused() -> None:
    with pytest.raises(Refused, match="no network CNN-X; write F"):
        cnn("X")


@pytest.mark.parametrize("crop", [28, 56])
def test_small_sisters_are_fast_medium_and_slow(crop: int) -> None:
    costs = [sum(layer.operations for layer in layer_facts(small_cnn(kind, crop, 0.25), 100)) for kind in "FMS"]
    assert costs == sorted(costs) and costs[2] > 2 * costs[0]


@pytest.mark.parametrize("side", range(2, 40))
@pytest.mark.parametrize(("window", "stride"), [(3, 2), (3, 3), (2, 2), (2, 3), (1, 2)])
def test_pooled_sides_are_those_of_torch(side: int, window: int, stride: int) -> None:
    if side >= window:
        x = torch.zeros(1, 1, side, side)
        assert pooled(side, window, stride) == F.max_pool2d(x, window, stride, ceil_mode=True).shape[-1]

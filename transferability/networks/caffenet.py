"""CaffeNet, CNN-F, CNN-M, CNN-S and small sisters, as ordered, named layers conv1 … fc8.

Data only: `layers.py` builds them.

One *layer* is what the paper counts: a convolution or a fully connected layer with the ReLU, pooling and
normalisation that follow it. A network's depth is the number of its layers.
"""

from dataclasses import dataclass
from itertools import pairwise

from transferability.files import Refused


@dataclass(frozen=True)
class Conv:
    """Convolution, ReLU, then (if asked for) max-pooling and local response normalisation, in Caffe's order.

    channels: channels of its output.
    kernel: side of its square kernel.
    stride: stride of the convolution.
    pad: zeros at each side of the input.
    groups: groups of the convolution.
    pool: max-pooling, rounded up: 3x3 with stride 2, unless the next two say something else.
    pool_window: side of its windows.
    pool_stride: its stride.
    lrn: local response normalisation after the pooling.
    std: standard deviation of the weights, for initialisation "paper".
    bias: first value of the biases, for initialisation "paper".
    """

    channels: int
    kernel: int
    stride: int = 1
    pad: int = 0
    groups: int = 1
    pool: bool = False
    lrn: bool = False
    std: float = 0.01
    bias: float = 0.0
    pool_window: int = 3
    pool_stride: int = 2

    def __post_init__(self) -> None:
        least = {"channels": 1, "kernel": 1, "stride": 1, "pad": 0, "groups": 1, "pool_window": 1, "pool_stride": 1}
        for field, value in least.items():
            _refuse_below(self, field, value)
        if self.channels % self.groups:
            raise Refused(f"Conv: {self.channels} channels do not divide into {self.groups} groups")

    def output_side(self, side: int) -> int:
        """Side of the output, before pooling, for an input of `side` pixels."""
        return (side + 2 * self.pad - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Linear:
    """Fully connected layer, then ReLU and dropout; the last layer has neither.

    outputs: number of outputs; None marks the last layer, which has one per class.
    dropout: share of the outputs that are dropped in training.
    std: standard deviation of the weights, for initialisation "paper".
    bias: first value of the biases, for initialisation "paper".
    """

    outputs: int | None
    dropout: float = 0.0
    std: float = 0.01
    bias: float = 0.0

    def __post_init__(self) -> None:
        if self.outputs is not None:
            _refuse_below(self, "outputs", 1)
        if not 0 <= self.dropout < 1:
            raise Refused(f"Linear: dropout is {self.dropout!r}; write a share from 0 to below 1")


LayerSpec = Conv | Linear


def _refuse_below(spec: object, field: str, least: int) -> None:
    value = getattr(spec, field)
    if type(value) is not int or value < least:
        raise Refused(f"{type(spec).__name__}: {field} is {value!r}; write a whole number from {least} up")


@dataclass(frozen=True)
class Architecture:
    """A network as data.

    name: a word for people.
    crop: side of its square input, in pixels; the recipe's has to be the same.
    layers: pairs of a name and a Conv or Linear, from bottom to top.
    """

    name: str
    crop: int
    layers: tuple[tuple[str, LayerSpec], ...]

    def __post_init__(self) -> None:
        _refuse_below(self, "crop", 1)
        names = [name for name, _ in self.layers]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise Refused(f"{self.name}: two layers are named {min(repeated)}; give each a name of its own")
        last = [name for name, spec in self.layers if isinstance(spec, Linear) and spec.outputs is None]
        if not names or last != names[-1:]:
            raise Refused(f"{self.name}: the last layer, and no other, has to be Linear(None), one output per class")
        for (below, spec), (name, above) in pairwise(self.layers):
            if isinstance(spec, Linear) and isinstance(above, Conv):
                raise Refused(f"{self.name}: {name} is a Conv behind the Linear {below}, which leaves no image")

    @property
    def depth(self) -> int:
        return len(self.layers)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers, bottom to top."""
        return tuple(name for name, _ in self.layers)


def shapes(architecture: Architecture) -> list[tuple[int, int]]:
    """(channels, side) of the input and of what each layer puts out; a fully connected layer has side 1.

    The last layer's channels are given as 0: they are the task's number of classes. Refused if the input is too
    small for the layers.
    """
    channels, side = 3, architecture.crop
    sizes = [(channels, side)]
    for name, spec in architecture.layers:
        if isinstance(spec, Conv):
            if channels % spec.groups:
                raise Refused(f"{architecture.name}: {name} has {spec.groups} groups for {channels} channels below it")
            channels, side = spec.channels, spec.output_side(side)
            if spec.pool:
                side = pooled(side, spec.pool_window, spec.pool_stride)
            if side < 1:
                raise Refused(
                    f"{architecture.name} sees {architecture.crop} pixels: {name} has no pixel left of them; "
                    "see more, or pool less"
                )
        else:
            channels, side = spec.outputs or 0, 1
        sizes.append((channels, side))
    return sizes


def pooled(side: int, window: int = 3, stride: int = 2) -> int:
    """Side of a map after max-pooling that rounds up, as in Caffe: 55 → 27, 13 → 6, 6 → 3 for 3x3 with stride 2."""
    places = -(-(side - window) // stride) + 1
    return places - ((places - 1) * stride >= side)  # no window begins outside of the map


def caffenet() -> Architecture:
    """The network of the paper (supplement; Caffe's reference network): 60,965,224 parameters with 1,000 outputs.

    # Paper: the authors gave fc8 1,000 outputs even for halves of 500 classes; here it has one output a class.
    """
    return Architecture(
        "caffenet",
        227,
        (
            ("conv1", Conv(96, 11, stride=4, pool=True, lrn=True)),
            ("conv2", Conv(256, 5, pad=2, groups=2, pool=True, lrn=True, bias=1.0)),
            ("conv3", Conv(384, 3, pad=1)),
            ("conv4", Conv(384, 3, pad=1, groups=2, bias=1.0)),
            ("conv5", Conv(256, 3, pad=1, groups=2, pool=True, bias=1.0)),
            ("fc6", Linear(4096, dropout=0.5, std=0.005, bias=1.0)),
            ("fc7", Linear(4096, dropout=0.5, std=0.005, bias=1.0)),
            ("fc8", Linear(None)),
        ),
    )


def small_caffenet(crop: int, width: float, fc_width: float | None = None, dropout: float = 0.5) -> Architecture:
    """A sister of CaffeNet for images of 32 (crop 28) or 64 (crop 56) pixels.

    `width` multiplies the numbers of channels, `fc_width` (default: `width`) those of fc6 and fc7, whose full
    width is 1,024.

    # Paper: no local response normalisation (with inputs of unit variance its alpha of 1e-4 does nothing),
    # and conv1 is 5x5, stride 2, in place of 11x11, stride 4; below 56 pixels conv2 is 3x3 in place of 5x5.
    """

    def channels(full: int) -> int:
        return max(8, round(full * width / 8) * 8)

    def outputs(full: int) -> int:
        return max(16, round(full * (width if fc_width is None else fc_width) / 16) * 16)

    conv2 = 5 if crop >= 56 else 3
    return Architecture(
        f"caffenet-{crop}-{width:g}" + ("" if fc_width is None else f"-{fc_width:g}"),
        crop,
        (
            ("conv1", Conv(channels(96), 5, stride=2, pad=2, pool=True)),
            ("conv2", Conv(channels(256), conv2, pad=conv2 // 2, groups=2, pool=True)),
            ("conv3", Conv(channels(384), 3, pad=1)),
            ("conv4", Conv(channels(384), 3, pad=1, groups=2)),
            ("conv5", Conv(channels(256), 3, pad=1, groups=2, pool=True)),
            ("fc6", Linear(outputs(1024), dropout=dropout)),
            ("fc7", Linear(outputs(1024), dropout=dropout)),
            ("fc8", Linear(None)),
        ),
    )


def cnn(kind: str) -> Architecture:
    """CNN-F, CNN-M or CNN-S (fast, medium, slow) of Chatfield et al. 2014, table 1: 224 pixels, 1,000 outputs there.

    # Paper: pooling is said to be of factor 2 or 3; the windows (3x3, in CNN-S 3x3 with stride 3 and 2x2) are those of
    # the authors' models for Caffe. Local response normalisation comes after the pooling and has CaffeNet's constants
    # (theirs: before it, k 2, alpha 5e-4).
    """
    if kind not in ("F", "M", "S"):
        raise Refused(f"no network CNN-{kind}; write F (fast), M (medium) or S (slow)")
    conv1, conv2, wide, last = {
        "F": (
            Conv(64, 11, stride=4, pool=True, lrn=True),
            Conv(256, 5, pad=2, pool=True, lrn=True, bias=1.0),
            256,
            2,
        ),
        "M": (
            Conv(96, 7, stride=2, pool=True, lrn=True),
            Conv(256, 5, stride=2, pad=1, pool=True, lrn=True, bias=1.0),
            512,
            2,
        ),
        "S": (
            Conv(96, 7, stride=2, pool=True, lrn=True, pool_stride=3),
            Conv(256, 5, pad=1, pool=True, bias=1.0, pool_window=2),
            512,
            3,
        ),
    }[kind]
    return Architecture(
        f"cnn-{kind.lower()}",
        224,
        (
            ("conv1", conv1),
            ("conv2", conv2),
            ("conv3", Conv(wide, 3, pad=1)),
            ("conv4", Conv(wide, 3, pad=1, bias=1.0)),
            ("conv5", Conv(wide, 3, pad=1, pool=True, bias=1.0, pool_stride=last)),
            ("fc6", Linear(4096, dropout=0.5, std=0.005, bias=1.0)),
            ("fc7", Linear(4096, dropout=0.5, std=0.005, bias=1.0)),
            ("fc8", Linear(None)),
        ),
    )


def small_cnn(kind: str, crop: int, width: float, dropout: float = 0.5) -> Architecture:
    """A sister of CNN-F, -M or -S for images of 32 (crop 28) or 64 (crop 56) pixels.

    They differ as the large ones do: F has twice the first stride of the others, M the stride 2 in conv2, S the larger
    maps; F is narrower. `width` multiplies the channels, and the 1,024 outputs of fc6 and fc7.

    # Paper: no local response normalisation; conv1 is 5x5 with stride 2 (F) or 1, conv2 is 3x3 below 56 pixels.
    """
    large = dict(cnn(kind).layers)
    kernel = 5 if crop >= 56 else 3

    def channels(name: str) -> int:
        spec = large[name]
        assert isinstance(spec, Conv)
        return max(8, round(spec.channels * width / 8) * 8)

    slow = kind == "S"
    hidden = Linear(max(16, round(1024 * width / 16) * 16), dropout=dropout)
    return Architecture(
        f"cnn-{kind.lower()}-{crop}-{width:g}",
        crop,
        (
            ("conv1", Conv(channels("conv1"), 5, 2 if kind == "F" else 1, 2, pool=True, pool_stride=3 if slow else 2)),
            (
                "conv2",
                Conv(
                    channels("conv2"),
                    kernel,
                    2 if kind == "M" else 1,
                    kernel // 2,
                    pool=True,
                    pool_window=2 if slow else 3,
                ),
            ),
            ("conv3", Conv(channels("conv3"), 3, pad=1)),
            ("conv4", Conv(channels("conv4"), 3, pad=1)),
            ("conv5", Conv(channels("conv5"), 3, pad=1, pool=True, pool_stride=3 if slow else 2)),
            ("fc6", hidden),
            ("fc7", hidden),
            ("fc8", Linear(None)),
        ),
    )

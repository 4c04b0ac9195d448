"""Any network is a chain: where it is cut, that the chain is the network to the bit, what is refused and why."""

import pickle
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command
from project import HELPERS
from residual import Block, residual
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import SwinTransformer

from transferability.draws import normal
from transferability.files import Refused
from transferability.networks.addressed import AddressedDraws, InitialDraws
from transferability.networks.chain import Chain
from transferability.networks.cut import (
    CHECKED_CLASSES,
    chain,
    checked_layers,
    cut,
    drawn_layers,
    empty_layers,
    module_text,
    whole,
)
from transferability.networks.facts import layer_facts
from transferability.networks.layers import build, copy
from transferability.study import load_study

torch.set_num_threads(1)
ROWS = torch.tensor([4, 0, 7])


def images(crop: int, count: int = 3) -> Tensor:
    return normal((count, 3, crop, crop), 1.0, "images").to(memory_format=torch.channels_last)


def set_layers(network: Chain, classes: int = 10) -> list[nn.Module]:
    """The layers as a fleet has them, with the weights that are drawn at the address "test"."""
    weights = whole(network, classes, "test").state_dict()
    layers = []
    for name, layer in build(network, classes):
        copy(name, layer, weights)
        layers.append(layer)
    return layers


def passed(layers: Sequence[nn.Module], x: Tensor, rows: Tensor = ROWS) -> Tensor:
    with AddressedDraws(rows, "test"):
        for layer in layers:
            x = layer(x)
    return x


def assert_same(network: Chain) -> None:
    """In evaluation and in training, chain and network have the same outputs; in training, buffers and gradients."""
    layers, whole_network = set_layers(network), whole(network, 10, "test")
    for training in (False, True):
        for module in (*layers, whole_network):
            module.train(training)
        outputs = [passed(chained, images(network.crop)) for chained in (layers, [whole_network])]
        assert torch.equal(*outputs), "training" if training else "evaluation"
        assert outputs[0].shape == (3, 10)
    for output in outputs:
        (output * normal((3, 10), 1.0, "gradient")).sum().backward()  # type: ignore[no-untyped-call]
    state = {**dict(whole_network.named_parameters()), **dict(whole_network.named_buffers())}
    seen = set()
    for layer in layers:
        for name, value in layer.tensors().items():  # type: ignore[operator]
            assert torch.equal(value, state[name]), name
            if isinstance(value, nn.Parameter):
                assert value.grad is not None and torch.equal(value.grad, state[name].grad), name
            seen.add(name)
    assert seen == whole_network.state_dict().keys()


# ------------------------------------------------------------------------------------------ every family

# The smallest member of each family of torchvision → its smallest input, how many layers it has as blocks and as
# points, and the first and the last two of its blocks.
FAMILIES = {
    "squeezenet1_1": (32, 10, 31, "features.0 features.3 … features.12 classifier.1"),
    "resnet18": (32, 10, 23, "conv1 layer1.0 … layer4.1 fc"),
    "mobilenet_v3_small": (32, 15, 59, "features.0.0 features.1 … classifier.0 classifier.3"),
    "shufflenet_v2_x0_5": (32, 19, 41, "conv1.0 stage2.0 … conv5.0 fc"),
    "mnasnet0_5": (32, 21, 72, "layers.0 layers.3 … layers.14 classifier.1"),
    "mobilenet_v2": (32, 20, 73, "features.0.0 features.1 … features.18.0 classifier.1"),
    "regnet_y_400mf": (32, 18, 38, "stem.0 trunk_output.block1.block1-0 … trunk_output.block4.block4-5 fc"),
    "efficientnet_b0": (32, 19, 79, "features.0.0 features.1.0 … features.8.0 classifier.1"),
    "densenet121": (32, 9, 25, "features.conv0 features.denseblock1 … features.denseblock4 classifier"),
    "resnext50_32x4d": (32, 18, 39, "conv1 layer1.0 … layer4.2 fc"),
    "vit_b_32": (32, 14, 32, "conv_proj encoder.layers.encoder_layer_0 … encoder.layers.encoder_layer_11 heads.head"),
    "swin_t": (32, 17, 41, "features.0.0 features.1.0 … features.7.1 head"),
    "swin_v2_t": (32, 17, 41, "features.0.0 features.1.0 … features.7.1 head"),
    "convnext_tiny": (32, 23, 40, "features.0.0 features.1.0 … features.7.2 classifier.2"),
    "googlenet": (32, 13, 26, "conv1.conv conv2.conv … inception5b fc"),
    "inception_v3": (96, 17, 32, "Conv2d_1a_3x3.conv Conv2d_2a_3x3.conv … Mixed_7c fc"),
    "alexnet": (64, 8, 22, "features.0 features.3 … classifier.4 classifier.6"),
    "vgg11": (32, 11, 30, "features.0 features.3 … classifier.3 classifier.6"),
}
# Whose gradients are compared too: the others would take too long, and are checked as they are whenever they are used.
WITH_GRADIENTS = (
    *("squeezenet1_1", "resnet18", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5"),
    *("regnet_y_400mf", "efficientnet_b0", "googlenet", "swin_t"),
)
# Of layers that others have, too, with 20 to 129 million weights that take long to draw: `make chains` compares them.
ONLY_CUT = ("vgg11", "alexnet", "resnext50_32x4d", "inception_v3")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_chain_is_its_network(name: str) -> None:
    crop, blocks, points, ends = FAMILIES[name]
    network = chain(f"torchvision:{name}", crop)
    names = network.layer_names
    assert (len(names), f"{names[0]} {names[1]} … {names[-2]} {names[-1]}") == (blocks, ends)
    assert chain(f"torchvision:{name}", crop, "points").depth == points
    if name in WITH_GRADIENTS:
        assert_same(network)
    elif name not in ONLY_CUT:
        assert len(checked_layers(network)) == blocks


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_cut_at_every_point_it_is_still_its_network(name: str) -> None:
    assert_same(chain(f"torchvision:{name}", FAMILIES[name][0], "points"))


def test_blocks_are_what_people_call_so() -> None:
    convolutions = [f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)]
    assert chain("torchvision:vgg19", 32).layer_names == (*convolutions, *(f"classifier.{i}" for i in (0, 3, 6)))
    residuals = [f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)]
    assert chain("torchvision:resnet18", 32).layer_names == ("conv1", *residuals, "fc")
    encoder = [f"encoder.layers.encoder_layer_{i}" for i in range(12)]
    assert chain("torchvision:vit_b_32", 32).layer_names == ("conv_proj", *encoder, "heads.head")


# ------------------------------------------------------------------------------------------ where it is cut


def test_own_names_end_layers() -> None:
    network = chain("torchvision:resnet18", 32, ["maxpool", "layer1", "layer3.0", "fc"])
    assert network.layer_names == ("maxpool", "layer1", "layer3.0", "fc")
    assert_same(network)
    assert chain("torchvision:resnet18", 32, ["layer1", "layer4"]).layer_names == ("layer1", "layer4")  # and the head
    with pytest.raises(Refused) as error:
        chain("torchvision:resnet18", 32, ["layer1", "layer5"])
    assert str(error.value) == (
        "resnet18: no layer can end at 'layer5'; the nearest names are layer4, layer3, layer2 "
        "(`transferability layers torchvision:resnet18 --points` lists all)"
    )
    with pytest.raises(Refused, match=r"^resnet18: layer 'layer1' ends below the one before it; list them from bottom"):
        chain("torchvision:resnet18", 32, ["layer2", "layer1"])
    with pytest.raises(Refused, match=r"lists all\)$") as error:
        chain(residual, 14, ["stem"])
    assert "(with layers='points', `transferability layers EXPERIMENT` lists all)" in str(error.value)


class Branching(nn.Module):
    """Cannot be traced: what it does depends on the values of its input."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if x.mean() > 0:
            x = -x
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


def parts(classes: int) -> list[tuple[str, nn.Module]]:
    top = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(6, classes))
    return [("stem", nn.Conv2d(3, 4, 3)), ("block", Block(4, 6, 1, 0.3)), ("top", top)]


def test_what_cannot_be_traced_may_come_as_named_parts() -> None:
    network = chain(parts, 12)
    assert network.layer_names == ("stem", "block", "top")
    assert_same(network)
    with pytest.raises(Refused, match="is a list of parts, which are its layers; leave `layers` out"):
        chain(parts, 12, ["stem"])
    line = next(i for i, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "if x.mean() > 0" in text)
    with pytest.raises(Refused) as error:
        chain(Branching, 12)
    assert str(error.value).startswith(f"Branching cannot be cut: {__file__}:{line}: `if x.mean() > 0:` (")
    assert str(error.value).endswith("; give it as a list of named parts")


class Tied(nn.Module):
    """Uses one convolution twice, and a constant that is no part of its state."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem, self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, classes)
        self.register_buffer("scale", torch.full((4, 1, 1), 0.5), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x) * self.scale
        x = self.conv(F.relu(self.conv(x)))
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


def test_layers_do_not_share_weights_and_keep_constants() -> None:
    network = chain(Tied, 12, "points")
    owners = [name for layer in cut(network).templates for name in layer.tensors()]
    assert sorted(owners) == sorted(Tied(10).state_dict()) and "scale" not in owners
    assert network.layer_names == ("stem", "mul", "conv_2", "mean", "fc")  # and not behind the convolution's first use
    assert_same(network)


def in_place(classes: int) -> nn.Module:
    block = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3))
    return nn.Sequential(nn.Conv2d(3, 4, 3), block, nn.Flatten(), nn.Linear(4 * 8 * 8, classes))


class Masked(nn.Module):
    """A layer with a buffer of five dimensions, as the windows of timm's Swin have."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)
        self.register_buffer("mask", torch.ones(1, 4, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.stem(x)[..., None] * self.mask).mean((2, 3, 4)))  # type: ignore[no-any-return]


def test_buffers_of_five_dimensions_stay_as_they_are() -> None:
    network = chain(Masked, 12)
    assert_same(network)
    tensors = {name: value for layer in set_layers(network) for name, value in layer.tensors().items()}
    assert tensors["stem.weight"].is_contiguous(memory_format=torch.channels_last)
    assert tensors["mask"].shape == (1, 4, 1, 1, 1)


def test_a_layer_that_writes_into_its_input_works_on_a_copy() -> None:
    layers = set_layers(chain(in_place, 12, ["0", "1", "3"]))
    x = layers[0](images(12)).detach()
    before = x.clone()
    layers[1](x)
    assert (before < 0).any() and torch.equal(x, before)
    assert [layer.protects for layer in layers] == [False, True, False]


# ------------------------------------------------------------------------------------------ draws


def narrow_swin(classes: int) -> nn.Module:
    """torchvision's swin_t with an eighth of its channels."""
    heads = {"depths": [2, 2, 6, 2], "num_heads": [1, 2, 4, 8], "window_size": [7, 7], "num_classes": classes}
    return SwinTransformer([4, 4], embed_dim=12, dropout=0.3, stochastic_depth_prob=0.2, **heads)


def test_dropout_and_stochastic_depth_do_not_depend_on_the_neighbours() -> None:
    """Layers of a network without batch statistics, so that images are computed each by itself."""
    network = chain(narrow_swin, FAMILIES["swin_t"][0])
    layers = [layer.train() for layer in set_layers(network)]
    assert any(layer.is_random for layer in layers)
    rows, x = torch.tensor([3, 8, 1, 6]), images(network.crop, 4)
    with torch.no_grad():
        together = passed(layers, x, rows)
        halves = torch.cat([passed(layers, x[half], rows[half]) for half in (slice(0, 2), slice(2, 4))])
        others = torch.cat([passed(layers, x[half], rows[half] + 1) for half in (slice(0, 2), slice(2, 4))])
    assert torch.allclose(together, halves, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together, others, rtol=1e-2, atol=1e-3)


def test_masks_are_of_the_row_and_keep_the_mean() -> None:
    rows = torch.tensor([5, 2, 9, 0])
    with AddressedDraws(rows, "a") as draws:
        whole_batch = F.dropout(torch.ones(4, 1000), 0.25)
        windows = F.dropout(torch.ones(8, 10), 0.25)  # two windows per image
    with AddressedDraws(rows[2:], "a"):
        half = F.dropout(torch.ones(2, 1000), 0.25)
        half_windows = F.dropout(torch.ones(4, 10), 0.25)
    assert draws.count == 2
    assert torch.equal(whole_batch[2:], half) and torch.equal(windows[4:], half_windows)
    assert set(whole_batch.unique().tolist()) == {0.0, np.float32(1 / 0.75)}
    assert (whole_batch == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    with AddressedDraws(rows, "b"):
        assert not torch.equal(F.dropout(torch.ones(4, 1000), 0.25), whole_batch)


def test_first_weights_are_functions_of_the_address_alone() -> None:
    def drawn(seed: int, *address: str | int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        with InitialDraws(*address):
            return {
                "linear": nn.Linear(30, 20).weight.detach(),
                "again": nn.Linear(30, 20).weight.detach(),
                "truncated": nn.init.trunc_normal_(torch.empty(50, 40), std=0.02),
                "randn": torch.randn(50, 40),
                "rand": torch.rand(50, 40),
            }

    first, same, other = drawn(0, "a", 1), drawn(7, "a", 1), drawn(0, "a", 2)
    for name, value in first.items():
        assert torch.equal(value, same[name]) and not torch.equal(value, other[name]), name
    assert not torch.equal(first["linear"], first["again"])
    bound = 30**-0.5
    assert first["linear"].abs().max().item() == pytest.approx(bound, rel=0.02)
    assert first["randn"].std().item() == pytest.approx(1.0, abs=0.05) and first["rand"].min() >= 0
    assert first["truncated"].std().item() == pytest.approx(0.02, rel=0.05)
    layers = drawn_layers(chain(residual, 14), 3, "x", 0)
    assert torch.equal(
        layers[0].tensors()["0.0.weight"], whole(chain(residual, 14), 3, "x", 0).state_dict()["0.0.weight"]
    )


# ------------------------------------------------------------------------------------------ refusals


def flat(*layers: Callable[[], nn.Module]) -> Callable[[int], nn.Module]:
    """A network of a convolution, these modules, and a linear layer."""

    def network(classes: int) -> nn.Module:
        made = [make() for make in layers]
        return nn.Sequential(nn.Conv2d(3, 4, 3), *made, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))

    return network


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) if self.training else x


class NumpyDrawn(nn.Conv2d):
    def __init__(self) -> None:
        super().__init__(4, 4, 1)
        self.weight.data.copy_(torch.from_numpy(np.random.default_rng().normal(size=(4, 4, 1, 1))))


class Attention(nn.Module):
    """Attention over places whose dropout sees the images behind another dimension."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(flat, flat, flat, dropout_p=0.5).transpose(1, 2).reshape(x.shape)


class TwoOutputs(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(x)
        return self.fc(x.mean((2, 3))), x


def no_scores(classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, classes, 3))


def named_twice(classes: int) -> list[tuple[str, nn.Module]]:
    return [("a", nn.Flatten()), ("a", nn.Linear(3 * 12 * 12, classes))]


def with_dots(classes: int) -> list[tuple[str, nn.Module]]:
    return [("stem.conv", nn.Flatten()), ("head", nn.Linear(3 * 12 * 12, classes))]


def tied_parts(classes: int) -> list[tuple[str, nn.Module]]:
    shared = nn.Linear(3 * 12 * 12, 3 * 12 * 12)
    return [("low", nn.Sequential(nn.Flatten(), shared)), ("high", shared), ("head", nn.Linear(3 * 12 * 12, classes))]


class DropsAlways(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x)


REFUSALS: dict[str, tuple[Any, str]] = {
    "several outputs": (TwoOutputs, "TwoOutputs puts out 2 values in evaluation, not class scores"),
    "no class scores": (
        no_scores,
        "no_scores puts out (3, 10, 10, 10) for 3 images and 10 classes, not class scores (3, 10)",
    ),
    "noise": (
        flat(Noisy),
        "network: randn_like.default draws numbers that cannot be addressed; dropout and stochastic depth can",
    ),
    "weights drawn by NumPy": (
        flat(NumpyDrawn),
        "network: two first draws of its weights differ; draw them by torch's functions alone",
    ),
    "draws that are no image's": (
        flat(Attention),
        "network: numbers of the shape (1, 3, 100, 100) are drawn, which cannot be addressed by image",
    ),
    "a nothing": (
        lambda classes: None,
        "<lambda> returns NoneType; return an nn.Module, or pairs of name and nn.Module",
    ),
    "parts of one name": (named_twice, "named_twice: two parts have the same name; give each a name of its own"),
    "a part with a dot": (with_dots, "with_dots: a part is named 'stem.conv'; give it a name without dots"),
    "parts that share weights": (tied_parts, "tied_parts: parts low and high share weights; make them one part"),
    "lazy modules": (
        flat(partial(nn.LazyConv2d, 4, 1)),
        "network: 1.weight is of a lazy module; build it with the number of its inputs",
    ),
    "the old weight norm": (
        flat(lambda: nn.utils.weight_norm(nn.Conv2d(4, 4, 1))),
        "network: its layers cannot be copied (RuntimeError: Only Tensors created explicitly by the user",
    ),
    "draws in evaluation": (
        flat(DropsAlways),
        "network draws numbers in evaluation too; hand `self.training` on to its dropout",
    ),
    "weights drawn by a permutation": (
        flat(lambda: (torch.randperm(3), nn.ReLU())[1]),
        "network: its first weights are drawn by randperm.default; draw them by normal_, uniform_ or their like",
    ),
    "no such library": ("keras:resnet", "no network 'keras:resnet'; write torchvision:NAME, timm:NAME, or a function"),
    "no such network": ("torchvision:resnt18", "no network 'torchvision:resnt18'; the nearest names are resnet18,"),
    "no such timm network": ("timm:resnet10x", "no network 'timm:resnet10x'; the nearest names are resnet10t,"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_taken_is_refused_in_one_line(case: str) -> None:
    network, words = REFUSALS[case]
    with pytest.raises(Refused) as error:
        checked_layers(chain(network, 12))
    assert str(error.value).startswith(words) and "\n" not in str(error.value)


def test_a_network_that_ignores_the_classes_is_refused() -> None:
    asked = chain(lambda classes: flat()(CHECKED_CLASSES), 12)
    with pytest.raises(Refused, match="has as many outputs for 4 classes as for 10"):
        list(empty_layers(asked, 4))
    assert len(list(empty_layers(asked, CHECKED_CLASSES))) == 2


FOUND_AGAIN = """
import functools
from torch import nn
from transferability.networks.cut import chain
from transferability.recipe import Recipe
from transferability.study import Study, network
def function(classes, width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
class Network(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.network = function(classes)
    def forward(self, x):
        return self.network(x)
a_lambda = lambda classes: function(classes)
part = functools.partial(function, width=3)
recipe = Recipe("r", steps=1, batch=1, rate=0.1, crop=12, validate_every=1)
study = Study("s", "d", chain(NETWORK, crop=12), (network("random-0/baseA", recipe),))
"""


@pytest.mark.parametrize("network", ["function", "Network"])
def test_worker_processes_find_what_an_experiment_file_defines(network: str, tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text(FOUND_AGAIN.replace("NETWORK", network))
    architecture = load_study(tmp_path / "file.py").architecture
    assert isinstance(architecture, Chain)
    found = pickle.loads(pickle.dumps(architecture))
    assert found.name == network and cut(found).signature == architecture.signature


@pytest.mark.parametrize("network", ["a_lambda", "part"])
def test_what_worker_processes_cannot_find_is_refused(network: str, tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text(FOUND_AGAIN.replace("NETWORK", network))
    with pytest.raises(Refused, match="worker processes cannot find it again; define it by `def` at the top level"):
        pickle.dumps(load_study(tmp_path / "file.py").architecture)


def test_dropout_within_the_kernel_of_attention_is_refused_by_name() -> None:
    x = torch.randn(3, 2, 8, 16)
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with AddressedDraws(ROWS, "a") as draws:
        attention(x, x, x, 0.0)
        with pytest.raises(
            Refused, match=r"^attention with dropout inside \(_scaled.*\) cannot be addressed; leave its"
        ):
            torch.ops.aten._scaled_dot_product_efficient_attention(x, x, x, None, False, 0.5)
    assert draws.count == 0


def test_bad_options_and_sizes_are_refused() -> None:
    with pytest.raises(Refused, match=r"^alexnet cannot take images of 32 x 32 pixels \(.*\); it takes 64$"):
        checked_layers(chain("torchvision:alexnet", 32))
    with pytest.raises(Refused, match=r"^resnet18: it cannot be built \(.*wide.*\)$"):
        chain("torchvision:resnet18", 32, wide=3)
    with pytest.raises(Refused, match=r"^residual: crop is 0; write a whole number from 1 up$"):
        chain(residual, 0)
    with pytest.raises(Refused, match=r"^residual: layers is 'all'; write 'blocks', 'points' or a list of names$"):
        chain(residual, 14, "all")
    with pytest.raises(Refused, match=r"^residual: p is a list; hand on a tuple, or build it inside$"):
        chain(residual, 14, p=[0.1])


def test_timm_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        Refused, match=r"^timm:resnet10t: timm is not installed; pip install 'transferability\[timm\]'$"
    ):
        chain("timm:resnet10t", 33)


# ------------------------------------------------------------------------------------------ timm, records, files


@pytest.mark.parametrize(("name", "crop", "depth"), [("resnet10t", 32, 8), ("vit_tiny_patch16_224", 32, 14)])
def test_networks_of_timm(name: str, crop: int, depth: int) -> None:
    pytest.importorskip("timm")
    network = chain(f"timm:{name}", crop, drop_rate=0.2)
    assert network.depth == depth
    assert_same(network)


def test_the_record_says_what_the_network_is() -> None:
    network = chain(residual, 14, p=0.1)
    assert network.record == {
        "crop": 14,
        "network": "residual",
        "options": {"p": "0.1"},
        "layers": ["0.0", "1", "2", "3.2"],
        "signature": network.signature,
    }
    assert re.fullmatch("[0-9a-f]{16}", network.signature)
    assert chain(residual, 14, p=0.2).signature != network.signature
    assert chain(residual, 14, ["1", "3.2"], p=0.1).signature != network.signature
    made = replace(network, options={"activation": lambda: None}).record["options"]
    assert made["activation"].endswith("<lambda>>")  # where it lies in memory is no fact of the network


def test_facts_are_counted() -> None:
    stem, block, wide, top = layer_facts(chain(residual, 14), 5)
    assert [fact.shape for fact in (stem, block, wide, top)] == [(8, 14, 14), (8, 14, 14), (12, 7, 7), (5,)]
    assert stem.parameters == 3 * 8 * 9 + 16 and stem.buffers == 17
    assert stem.operations == 2 * 14 * 14 * 8 * 27 and top.operations == 2 * 12 * 5
    assert wide.operations == 2 * 49 * 12 * (9 * 8 + 9 * 12 + 8)


# ------------------------------------------------------------------------------------------ the command


def test_the_command_lists_the_layers_of_an_experiment(tmp_path: Path, command: Command) -> None:
    experiment = tmp_path / "mine.py"
    experiment.write_text(
        f"import sys\nsys.path.insert(0, {str(HELPERS)!r})\n"
        "from residual import residual_study\nstudy = residual_study(['baseA', 'baseB'])\n"
    )
    code, output, errors = command("layers", experiment, "--classes", 5, "--batch", 2, "--csv", tmp_path / "layers.csv")
    assert code == 0, errors
    lines = output.splitlines()
    assert lines[0].split() == ["n", "layer", "output", "parameters", "MFLOP", "ms"]
    assert [line.split()[:4] for line in lines[1:5]] == [
        ["1", "0.0", "8x14x14", "232"],
        ["2", "1", "8x14x14", "1,184"],
        ["3", "2", "12x7x7", "2,304"],
        ["4", "3.2", "5", "65"],
    ]
    assert "residual, 14 x 14 pixels" in output and "batch 2, 1 thread." in output
    assert load_study(experiment).architecture.layer_names == ("0.0", "1", "2", "3.2")

    from transferability.plots.layer_times import read_layers, shares

    table = read_layers(tmp_path / "layers.csv")
    assert list(table["kind"]) == ["convolutional"] * 3 + ["fully connected"]
    assert (table["milliseconds"] > 0).all() and shares(table).sum() == pytest.approx(1)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Refused, match=r"other\.csv is no table of layers: it lacks the column network, layer"):
        read_layers(tmp_path / "other.csv")


def test_the_command_refuses_in_one_line(command: Command) -> None:
    from transferability.launch.layers import network_of

    with pytest.raises(Refused) as error:
        network_of("resnet18", None, False)
    assert "write caffenet, cnn-f, cnn-m, cnn-s, torchvision:NAME, timm:NAME or an experiment file; the near" in str(
        error.value
    )
    assert "torchvision:resnet18" in str(error.value)
    with pytest.raises(Refused, match="--points: the layers of caffenet are given one by one; leave --points out"):
        network_of("caffenet", None, True)
    code, output, errors = command("layers", "torchvision:resnt18")
    assert (code, output, errors.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.LayerNorm(8), nn.BatchNorm2d(8, affine=False)]
)
def test_a_norm_has_the_same_text_under_every_version_of_torch(norm: nn.Module) -> None:
    before = module_text(norm)
    without = re.sub(", bias=(True|False)", "", norm.extra_repr())
    norm.extra_repr = lambda: without  # type: ignore[method-assign]  # as torch 2.11 prints it
    assert "bias" not in repr(norm) and module_text(norm) == before

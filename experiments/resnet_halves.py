"""The paper's question asked of a residual network: halves of Tiny ImageNet, a narrow ResNet at 32 pixels.

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability run experiments/resnet_halves.py
    python plots/figure2.py runs/resnet_halves/results.csv

Cost: one random split, two seeds, target B: 44 networks, about half an hour on two cores. The recipe is meant for 200
training images per class: five epochs of a half.

Ten layers: a stem, eight residual blocks with batch norm, and what gives the classes. Selffer and transfer networks are
frozen at every second cut, and fine-tuned at two of them. A frozen batch norm keeps its source's statistics; in the
networks of variant `target` it has the target's instead, estimated from the target's training images.

Expect no dip of BnB at middle layers: what was reported so far of networks with residual connections and batch norm
hardly shows one. Expect specificity at the upper blocks.
"""

from dataclasses import replace
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from transferability.networks.cut import chain
from transferability.recipe import Recipe
from transferability.study import Network, Study, grid


class Block(nn.Module):
    """He et al. 2016, figure 2: two 3x3 convolutions with batch norm, added to their input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.short = nn.Sequential()
        if inputs != outputs:
            self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(self.short(x) + y)


def narrow_resnet(classes: int) -> nn.Module:
    """A stem that halves the image, eight blocks of 16 to 128 channels, average pooling, one output per class."""
    widths = (16, 16, 16, 32, 32, 64, 64, 128, 128)
    blocks = [Block(a, b, 1 if a == b else 2) for a, b in pairwise(widths)]
    stem = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))


architecture = chain(narrow_resnet, crop=28)
recipe = Recipe("resnet-halves", steps=1500, batch=64, rate=0.05, warmup=100, crop=28, shrink=2, validate_every=250)
of_target = replace(recipe, name="resnet-halves-target", frozen_norms="target")


def networks(recipe: Recipe, target: str, kinds: tuple[str, ...], cuts: tuple[int, ...]) -> list[Network]:
    """Those of the kinds that are cut at `cuts`, or nowhere, for both seeds."""
    chosen = grid(recipe, architecture.depth, ["random-0"], (0, 1), target, kinds)
    return [network for network in chosen if network.treatment.n in (0, architecture.depth, *cuts)]


study = Study(
    name="resnet_halves",
    data="tiny-imagenet",
    architecture=architecture,
    networks=(
        *networks(recipe, "A", ("base",), ()),
        *networks(recipe, "B", ("base", "BnB", "AnB", "B8B+"), (1, 3, 5, 7, 9)),
        *networks(recipe, "B", ("BnB+", "AnB+"), (3, 7)),
        *(replace(network, variant="target") for network in networks(of_target, "B", ("AnB",), (1, 3, 5, 7, 9))),
    ),
)

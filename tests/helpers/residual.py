"""A small network with all that other networks have and CaffeNet has not: residual blocks, norms, stochastic depth."""

from collections.abc import Sequence
from typing import Any

from tiny import RECIPE, full_name
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from transferability.networks.cut import chain
from transferability.recipe import Recipe
from transferability.study import Study, network


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, p: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.short = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.drop, self.skip = nn.Dropout(p), StochasticDepth(p, "row")
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.drop(self.relu(self.norm1(self.conv1(x))))))
        return self.relu(self.short(x) + self.skip(y))  # type: ignore[no-any-return]


def residual(classes: int, p: float = 0.2) -> nn.Module:
    """Four layers: a stem, two blocks, and what gives the classes."""
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    top = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, classes))
    return nn.Sequential(stem, Block(8, 8, 1, p), Block(8, 12, 2, p), top)


def residual_study(names: Sequence[str], recipe: Recipe = RECIPE, name: str = "residual", **options: Any) -> Study:
    """The study of the networks that are named like `A3B+` or `random-0/A3B+`."""
    networks = tuple(network(full_name(short), recipe) for short in names)
    return Study(name, "tiny", chain(residual, recipe.crop, **options), networks)

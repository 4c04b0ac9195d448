"""Fully connected layers beside a network: domain classifiers, maps from features to what classes are like."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from transferability.draws import normal


class Dense(nn.Sequential):
    """(b, …) → (b, last size), float32: fully connected layers with a ReLU between them.

    sizes: of the input, of each layer's output. Weights are drawn as a network's are (He et al. 2015; the last layer's
    std divided by 10), for an owner; name: of the draw.
    """

    dropout = 0.0  # what a fleet asks of each layer

    def __init__(self, sizes: Sequence[int], owner: str, name: str) -> None:
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            linear, is_last = nn.Linear(inputs, outputs), i == len(sizes) - 2
            with torch.no_grad():
                std = (2 / inputs) ** 0.5 / (10 if is_last else 1)
                linear.weight.copy_(normal((outputs, inputs), std, "weights", owner, name, i))
                linear.bias.zero_()
            layers += [linear] if is_last else [linear, nn.ReLU()]
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = super().forward(x.flatten(1))
        return outputs.float()

"""Random features with their signal preserved, against the paper's filler: how much of the fall is the filler?

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability run experiments/random_features.py
    python plots/figure3.py runs/random_features/results.csv

Tiny ImageNet at 32 pixels, random-0, both targets, three seeds. The first n layers are random and never trained, the
others are trained, by the recipe of `tiny_imagenet_cpu.py`. Two variants: (none) random layers that preserve the
variance of the signal; `filler`: random layers with the paper's Gaussian weights and constant biases, on inputs of 0 to
255 minus the mean image, for which they were made. The trained layers are the same in both: with the paper's filler in
all layers, networks of this size do not start to learn (`dip.py` has one).

Cost: 90 networks, about 40 minutes on two cores (estimated; they were trained on an H100).

Expect a slow fall with the signal preserved, from 18 % at n = 1 to 5 to 8 % at n = 6, 7; with the filler about the same
to n = 3, two points lower there, 2 % at n = 4, and chance (1 %) from n = 5 on.
"""

from dataclasses import replace

from tiny_imagenet_cpu import architecture, recipe

from transferability.recipe import Recipe
from transferability.study import Network, Study, grid

SEEDS = (0, 1, 2)


def networks(recipe: Recipe, variant: str, kinds: tuple[str, ...]) -> list[Network]:
    chosen = grid(recipe, architecture.depth, ["random-0"], SEEDS, kinds=kinds)
    return [replace(network, variant=variant) for network in chosen]


filler = replace(recipe, name="filler", random_layers="paper", scale=1.0)
study = Study(
    name="random_features",
    data="tiny-imagenet",
    architecture=architecture,
    networks=(*networks(recipe, "", ("base", "RnB")), *networks(filler, "filler", ("RnB",))),
)

"""Tiny ImageNet at 64 pixels on a GPU: all five splits, three seeds, every treatment.

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability submit experiments/tiny_imagenet.py         # or `transferability run`

Cost: 1,125 networks; `transferability plan` says what that is in hours. 15,000 steps of 256 are 77 epochs of a
half with the full set's 500 images a class.

Bases, all four treatments, random features, B8B+ and a base with twice the steps. Fifteen units (split x seed), so
every mean over the random splits has an interval from twelve. Not run by the authors of this file yet.
"""

from dataclasses import replace

from transferability.networks import small_caffenet
from transferability.recipe import Recipe, long
from transferability.study import Study, grid

SPLITS = ["random-0", "random-1", "random-2", "random-3", "manmade-natural"]
SEEDS = (0, 1, 2)
architecture = small_caffenet(crop=56, width=0.5, dropout=0.5)
recipe = Recipe(name="tiny-imagenet", steps=15_000, batch=256, rate=0.02, warmup=500, crop=56, validate_every=500)

kinds = ("base", "BnB", "BnB+", "AnB", "AnB+", "RnB", "B8B+")
networks = grid(recipe, architecture.depth, SPLITS, SEEDS, kinds=kinds)
networks += [
    replace(each, variant="long") for each in grid(long(recipe), architecture.depth, SPLITS, SEEDS, kinds=("base",))
]

study = Study(name="tiny_imagenet", data="tiny-imagenet", architecture=architecture, networks=tuple(networks))

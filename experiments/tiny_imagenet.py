"""Tiny ImageNet at 64 pixels on a GPU: all five splits, three seeds, every treatment.

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability submit experiments/tiny_imagenet.py         # or `transferability run`

Cost: 1,140 networks; `transferability plan experiments/tiny_imagenet.py` estimates the hours. 15,000 steps of 256
images are 77 epochs of a half of the full set (500 images per class).

Bases, all four treatments, random features, B8B+ and a base with twice the steps. Fifteen units (split x seed), of
which twelve are on random splits. Not run yet, so there are no numbers to expect.
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
    replace(network, variant="long")
    for network in grid(long(recipe), architecture.depth, SPLITS, SEEDS, kinds=("base",))
]

study = Study(name="tiny_imagenet", data="tiny-imagenet", architecture=architecture, networks=tuple(networks))

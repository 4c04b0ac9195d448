"""Demo study: the whole grid of the paper in six minutes, on images that the package draws itself.

    transferability pack demo data/demo
    transferability run experiments/demo.py
    python plots/figure2.py runs/demo/results.csv

`make demo` runs all three. Cost: 148 networks, about six minutes on two cores.

Splits random-0 and manmade-natural, both directions, seed 0: bases, the four treatments at n = 1 … 7, B8B+ and
random features. The images and this recipe were adjusted on seed 0 until the paper's effects showed, so the demo
illustrates the figures and is not evidence for the effects. `demo_seeds.py` repeats it with seeds that were not
used for tuning.
"""

from transferability.networks import small_caffenet
from transferability.recipe import Recipe
from transferability.study import Network, Study, grid

architecture = small_caffenet(crop=28, width=0.25, dropout=0.0)
recipe = Recipe(name="demo", steps=480, batch=64, rate=0.04, warmup=50, crop=28, validate_every=240)


def demo(seeds: tuple[int, ...]) -> tuple[Network, ...]:
    kinds = ("base", "BnB", "BnB+", "AnB", "AnB+", "RnB", "B8B+")
    return tuple(grid(recipe, architecture.depth, ["random-0", "manmade-natural"], seeds, kinds=kinds))


study = Study(name="demo", data="demo", architecture=architecture, networks=demo(seeds=(0,)))

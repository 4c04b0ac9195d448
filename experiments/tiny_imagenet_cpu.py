"""Tiny ImageNet at 32 pixels on two cores: the paper's grid on real pictures, in half an hour a split.

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability run experiments/tiny_imagenet_cpu.py --only 'random-0/*'
    python plots/figure2.py runs/tiny_imagenet_cpu/results.csv

Cost: 72 networks a split (random-0, manmade-natural), about 30 minutes each on two cores. The packed 64-pixel
pictures are averaged to 32 when they are loaded. Written for 200 training images a class (4,500 steps of 64 are 14
epochs of a half); with all 500 of the full set they are 6 epochs.

Expect bases at about .22 top-1 (chance is .01), AnB below BnB from n = 5 on, and BnB+ and AnB+ at or above
their base. Do not expect the dip of BnB at n = 3 … 5: so small a network, trained so briefly, hardly shows it.
"""

from transferability.networks import small_caffenet
from transferability.recipe import Recipe
from transferability.study import Study, grid

architecture = small_caffenet(crop=28, width=0.25, dropout=0.1)
recipe = Recipe(
    name="tiny-imagenet-cpu", steps=4500, batch=64, rate=0.03, warmup=200, crop=28, shrink=2, validate_every=750
)
kinds = ("base", "BnB", "BnB+", "AnB", "AnB+", "RnB")

study = Study(
    name="tiny_imagenet_cpu",
    data="tiny-imagenet",
    architecture=architecture,
    networks=tuple(grid(recipe, architecture.depth, ["random-0", "manmade-natural"], kinds=kinds)),
)

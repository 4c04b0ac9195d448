"""Tiny ImageNet at 32 pixels on two cores: the paper's grid on real images, split by split.

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability run experiments/tiny_imagenet_cpu.py --only 'random-0/*'
    transferability run experiments/tiny_imagenet_cpu.py --only 'random-1/*'              # and so on
    transferability run experiments/tiny_imagenet_cpu.py --only 'manmade-natural/*/seed-0'
    python plots/figure2.py runs/tiny_imagenet_cpu/results.csv

Cost: 532 networks: 76 for each of seven pairs of split and seed, each of which takes about 35 minutes on two cores.
The packed 64-pixel images are averaged to 32 pixels when they are loaded. The recipe is meant for 200 training images
per class (4,500 steps of 64 images are 14 epochs of a half); with all 500 of the full set it is 6 epochs.

Four random splits with seed 0 give four units, man-made/natural with three seeds gives three: enough for intervals.
Controls for training twice: B8B+ (all layers copied and trained) and a base with twice the steps.

Expect bases at .21 to .24 top-1 (chance is .01; man-made/natural .16 and .26), AnB at n = 7 three points below its
base, six on man-made/natural, and BnB+ and AnB+ both three points above it. Do not expect the dip of BnB at n = 3 … 5:
these networks are trained briefly, and BnB gains by its second training (`dip.py`).
"""

from dataclasses import replace

from transferability.networks import small_caffenet
from transferability.recipe import Recipe, long
from transferability.study import Network, Study, grid

architecture = small_caffenet(crop=28, width=0.25, dropout=0.1)
recipe = Recipe(
    name="tiny-imagenet-cpu", steps=4500, batch=64, rate=0.03, warmup=200, crop=28, shrink=2, validate_every=750
)


def networks(splits: list[str], seeds: tuple[int, ...]) -> list[Network]:
    kinds = ("base", "BnB", "BnB+", "AnB", "AnB+", "RnB", "B8B+")
    longer = grid(long(recipe), architecture.depth, splits, seeds, kinds=("base",))
    return [
        *grid(recipe, architecture.depth, splits, seeds, kinds=kinds),
        *(replace(network, variant="long") for network in longer),
    ]


study = Study(
    name="tiny_imagenet_cpu",
    data="tiny-imagenet",
    architecture=architecture,
    networks=(
        *networks(["random-0", "random-1", "random-2", "random-3"], (0,)),
        *networks(["manmade-natural"], (0, 1, 2)),
    ),
)

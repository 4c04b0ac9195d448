"""Two tasks at once: does sharing the first n layers help or hurt, and whom?

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability run experiments/multitask.py
    python plots/multitask.py runs/multitask/results.csv

Halves of Tiny ImageNet at 28 pixels, 50 training images per class. A{n}B+@50@multitask and B{n}A+@50@multitask are the
two networks of one training, whose first n layers they share; n = 0 would be the bases, to the bit (a test), so it is
not trained again. A network sees as many images of its task as its base. Random halves: three, with seed 0, are three
units. A man-made, B natural: three seeds.

Cost: 48 networks, about 6 minutes on two cores.

Expect little, of bases at 5 to 12 %: on random halves, over both directions, -0.1, +0.5 and -0.1 points at n = 1, 4 and
7, within their intervals. Man-made classes gain by sharing seven layers with natural ones (+1.2), which do not (-0.9).
"""

from dataclasses import replace

from transferability.multitask import Multitask
from transferability.networks import small_caffenet
from transferability.recipe import Recipe
from transferability.study import Network, Study, grid

architecture = small_caffenet(crop=28, width=0.25, dropout=0.1)
recipe = Recipe("multitask", steps=500, batch=64, rate=0.03, warmup=50, crop=28, shrink=2, validate_every=250)
together = Multitask(**vars(recipe))


def networks(splits: list[str], seeds: tuple[int, ...]) -> list[Network]:
    bases = grid(recipe, architecture.depth, splits, seeds, kinds=("base",))
    pairs = grid(together, architecture.depth, splits, seeds, kinds=("AnB+",), cuts=(1, 4, 7))
    return [
        *(replace(network, images_per_class=50) for network in bases),
        *(replace(network, images_per_class=50, variant="multitask") for network in pairs),
    ]


study = Study(
    name="multitask",
    data="tiny-imagenet",
    architecture=architecture,
    networks=(
        *networks(["random-0", "random-1", "random-2"], (0,)),
        *networks(["manmade-natural"], (0, 1, 2)),
    ),
)

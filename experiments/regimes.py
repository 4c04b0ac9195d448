"""Little and much data, near and far: which way of using a network serves how many images per class?

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability pack 17flowers data/flowers17 --size 96 --centre-crop
    transferability run experiments/regimes.py
    python plots/regimes.py runs/regimes/results.csv runs/regimes-flowers17/results.csv

Two studies. `regimes`: Tiny ImageNet at 32 pixels, 5 to 200 images per class, drawn by the seed, the fewer among the
more; near: a random half from the other half; far: man-made from natural classes and the other way round.
`regimes-flowers17`: 5 to 40 flowers per class, from EfficientNet-Lite0, published (weights: `flowers17.py`). Both have
three seeds and six ways: from scratch; pure transfer at two n; n layers frozen and the rest of the copied ones
fine-tuned; all layers but the last fine-tuned at the full rate and at a tenth; handmade features (HOG) under a softmax.
The fewer images there are, the fewer steps, the same for all ways; A's bases are trained for 1,500 steps.

Cost: 264 networks, about 16 minutes on two cores; 64 networks, about 4 minutes.

Expect: pure transfer and top layers fine-tuned in front with 5 images per class of Tiny ImageNet, fine-tuning with 200;
on the flowers top layers fine-tuned throughout. Scratch is last everywhere, below HOG too: these courses are short.
"""

from dataclasses import replace

import flowers17
import tiny_imagenet_cpu

from transferability.readout import Readout
from transferability.recipe import Recipe
from transferability.study import Network, Study, grid
from transferability.treatment import parse

SEEDS = (0, 1, 2)
SPLITS = ("random-0", "manmade-natural")
STEPS = {5: 100, 50: 200, 200: 400}  # on Tiny ImageNet, by images per class
FLOWERS_STEPS = {5: 48, 20: 80, 40: 112}

SOURCE = replace(tiny_imagenet_cpu.recipe, name="regimes-source", steps=1500, validate_every=1500)


# As in the code of Felbo et al. 2017: the new layers until they fit, then a tenth of the rate.
CHAIN_THAW = {"chain_new": 0.5, "chain_rate": 0.1}


def short(recipe: Recipe, steps: int, images: int) -> Recipe:
    """The recipe, of so many steps, a tenth of which warm it up, and four validations."""
    name = f"{recipe.name}-{images}"
    return replace(recipe, name=name, steps=steps, warmup=steps // 10, validate_every=steps // 4)


def ways(split: str, images: int, recipe: Recipe, cuts: tuple[int, ...], targets: str = "AB") -> list[Network]:
    """The networks of every way at one number of images per class. cuts: ascending; the last one is also fine-tuned."""
    hog = Readout("hog", recipe.crop, "softmax", penalties=(10,), handmade="hog", shrink=recipe.shrink)
    networks = []
    for seed in SEEDS:
        for target in targets:
            source = "BA"["AB".index(target)]
            names = [f"base{target}", *(f"{source}{n}{target}" for n in cuts)]
            names += [f"{source}{n}{target}p{cuts[-1] - n}" for n in cuts[:-1]]
            names += [f"{source}{cuts[-1]}{target}+", f"{source}{cuts[-1]}{target}+0.1"]
            networks += [Network(split, parse(name), recipe, seed, images, drawn=True) for name in names]
            networks.append(Network(split, parse(f"R0{target}"), hog, seed, images, "hog", drawn=True))
    return networks


tiny = Study(
    "regimes",
    "tiny-imagenet",
    tiny_imagenet_cpu.architecture,
    (
        *grid(SOURCE, 8, SPLITS, SEEDS, kinds=("base",)),
        *(
            network
            for split in SPLITS
            for images, steps in STEPS.items()
            for network in ways(split, images, short(tiny_imagenet_cpu.recipe, steps, images), (5, 7))
        ),
    ),
)

lite0 = flowers17.studies[0]
flowers = Study(
    "regimes-flowers17",
    "flowers17",
    lite0.architecture,
    (
        lite0.networks[0],
        *(
            network
            for images, steps in FLOWERS_STEPS.items()
            for network in ways(
                flowers17.SPLIT, images, replace(short(flowers17.recipe, steps, images), batch=16), (13, 19), "B"
            )
        ),
    ),
    lite0.splits,
    validation=20,
)

studies = [tiny, flowers]

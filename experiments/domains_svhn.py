"""Other pairs of Ganin and Lempitsky's table: SVHN → MNIST, synthetic digits → SVHN, synthetic signs → GTSRB.

    transferability pack SVHN data/svhn --size 32
    transferability pack mnist.npz data/mnist32 --size 32
    transferability pack synthetic-digits.npz data/syndigits --size 32
    transferability pack synthetic-signs data/synsigns --size 40
    transferability pack GTSRB data/gtsrb --size 40
    transferability run experiments/domains_svhn.py
    python plots/domains.py runs/svhn-mnist/results.csv

Source only, target trained, DANN from scratch at every n and without strength. Classes are told apart by their ids: the
folders (or labels) of both sets have to have the same names. Published, source only, DANN, target trained
(Ganin and Lempitsky 2015, table 1): SVHN → MNIST 55, 74, 99; synthetic digits → SVHN 87, 91, 92; synthetic signs →
GTSRB 79, 89, 100.

Cost: 3 x 39 networks, about 10 minutes each on one GPU (the signs 16) by `transferability plan`. Nobody has run any;
SVHN, the synthetic digits and the signs are not small downloads.
"""

from dataclasses import replace

from transferability.adversarial import Adversarial
from transferability.networks.caffenet import Architecture, Conv, Linear
from transferability.recipe import Recipe
from transferability.splits import pair
from transferability.study import Study, grid

SEEDS = (0, 1, 2)


def study(split: str, a: str, b: str, crop: int) -> Study:
    """Ganin and Lempitsky's network for SVHN, figure 4, and their rates."""
    layers = (
        ("conv1", Conv(64, 5, pad=2, pool=True)),
        ("conv2", Conv(64, 5, pad=2, pool=True)),
        ("conv3", Conv(128, 5, pad=2)),
        ("fc4", Linear(3072, dropout=0.5)),
        ("fc5", Linear(2048, dropout=0.5)),
        ("fc6", Linear(None)),
    )
    architecture = Architecture("svhn", crop, layers)
    recipe = Recipe(
        split, steps=20_000, batch=64, rate=0.01, schedule="inverse", crop=crop, validate_every=1_000, mirror=False
    )
    dann = Adversarial(**{**vars(recipe), "name": "dann"}, hidden=(1024, 1024), start="fresh")
    off = replace(dann, name="off", strength=0.0)
    networks = [
        *grid(recipe, 6, [split], SEEDS, "AB", ("base",)),
        *grid(recipe, 6, [split], SEEDS, "B", ("A8B",)),
        *(replace(n, variant="dann") for n in grid(dann, 6, [split], SEEDS, "B", ("AnB+",))),
        *(replace(n, variant="off") for n in grid(off, 6, [split], SEEDS, "B", ("AnB+",))),
    ]
    return Study(split, a, architecture, tuple(networks), {split: pair(a, b)})


studies = [
    study("svhn-mnist", "svhn", "mnist32", 32),
    study("syndigits-svhn", "syndigits", "svhn", 32),
    study("synsigns-gtsrb", "synsigns", "gtsrb", 40),
]

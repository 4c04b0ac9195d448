"""Digits of one kind, judged on another: at which layer should the domains be made alike, and by which method?

    transferability pack mnist.npz data/mnist --size 28        # or a folder with MNIST's files, as torchvision has it
    transferability pack usps data/usps --size 28
    transferability pack mnist.npz data/mnistm --size 28 --over photographs      # a folder or a zip of photographs
    transferability run experiments/digits.py
    python plots/domains.py runs/digits/results.csv
    python plots/aligned_layers.py runs/digits/curves.csv --split mnist-mnistm

MNIST → USPS and back, both at 28 pixels, and MNIST → MNIST-M. Three seeds. Source only (A5B) and target trained
(baseB); DANN from scratch (@dann; Ganin and Lempitsky have it at n = 2) and ADDA (@adda; Tzeng et al.: n = 4) at
every n; subspaces aligned at every n (@aligned), and A's subspace for both domains (@unaligned). DANN
from A's base is in `aligned_layers.py`.

Published: MNIST → MNIST-M, source only 52 %, aligned 57, DANN 77, target trained 96 (Ganin and Lempitsky 2015, table
1); MNIST → USPS, source only 75, DANN 77, ADDA 89; USPS → MNIST, 57, 73, 90 (Tzeng et al. 2017, table 2). Theirs are
other networks, many more steps and, of MNIST, ten times the pictures or, for ADDA, 2,000 and 1,800 of each.

Cost: 195 networks, about 40 minutes on two busy cores.

Expect: ADDA at n = 4 covers almost half of the gap between MNIST and USPS; DANN gains next to nothing in so few steps
and covers two fifths of the gap to MNIST-M in ten times as many (@dann-long); aligned subspaces gain a little, of
MNIST-M. docs/domains.md has the numbers.
"""

from dataclasses import replace

from transferability.adda import Adda
from transferability.adversarial import Adversarial
from transferability.aligned import Aligned
from transferability.networks.caffenet import Architecture, Conv, Linear
from transferability.recipe import Recipe
from transferability.splits import pair
from transferability.study import Network, Study, grid

# Ganin and Lempitsky's network for MNIST, figure 4.
architecture = Architecture(
    "digits",
    28,
    (
        ("conv1", Conv(32, 5, pool=True, pool_window=2)),
        ("conv2", Conv(48, 5, pool=True, pool_window=2)),
        ("fc3", Linear(100)),
        ("fc4", Linear(100)),
        ("fc5", Linear(None)),
    ),
)
SEEDS = (0, 1, 2)
MORE = tuple(range(3, 9))  # of the one cell that is compared with a plain implementation (benchmarks/plain_dann.py)
recipe = Recipe("digits", steps=400, batch=64, rate=0.01, schedule="inverse", crop=28, validate_every=100, mirror=False)
# Paper: gradients are not clipped. Without that DANN stays at chance here at n = 3 and 4; the norm was chosen by the
# loss on the source's training images alone, of a seed that is not here.
dann = Adversarial(**{**vars(recipe), "name": "dann", "clip": 3.0}, hidden=(100,), start="fresh")
# Adam at a rate that stays, as Tzeng et al. have it.
adam = {"optimiser": "adamw", "momentum": 0.5, "rate": 2e-4, "decay": 0.0, "schedule": "step", "drop_every": 400}
adda = Adda(**{**vars(recipe), **adam, "name": "adda"})
aligned = Aligned("aligned", crop=28)


def method(
    word: str, how: Recipe, split: str, targets: str, cuts: tuple[int, ...], seeds: tuple[int, ...] = SEEDS
) -> list[Network]:
    kind = "AnB" if isinstance(how, Aligned) else "AnB+"
    networks = grid(how, architecture.depth, [split], seeds, targets, (kind,), cuts)
    return [replace(network, variant=word) for network in networks]


def of_pair(split: str, targets: str) -> list[Network]:
    cuts = (1, 2, 3, 4)
    return [
        *grid(recipe, architecture.depth, [split], SEEDS, "AB", ("base",)),
        *grid(recipe, architecture.depth, [split], SEEDS, targets, ("A8B",)),
        *method("dann", dann, split, targets, cuts),
        *method("adda", adda, split, targets, cuts),
        *method("aligned", aligned, split, targets, cuts),
        *method("unaligned", replace(aligned, name="unaligned", subspace="source"), split, targets, cuts),
    ]


# Three seeds did not decide the comparison of docs/domains.md: six more of that cell.
compared = [
    *grid(recipe, architecture.depth, ["mnist-mnistm"], MORE, "AB", ("base",)),
    *grid(recipe, architecture.depth, ["mnist-mnistm"], MORE, "B", ("A8B",)),
    *method("dann", dann, "mnist-mnistm", "B", (2,), MORE),
]
# Ganin and Lempitsky train for many more steps: ten times as many, at their n, beside the same without strength.
long = replace(dann, name="dann-long", steps=4000, validate_every=1000)
longer = [
    *method("dann-long", long, "mnist-mnistm", "B", (2,)),
    *method("off-long", replace(long, name="off-long", strength=0.0), "mnist-mnistm", "B", (2,)),
]
study = Study(
    name="digits",
    data="mnist",
    architecture=architecture,
    networks=(*of_pair("mnist-usps", "AB"), *of_pair("mnist-mnistm", "B"), *compared, *longer),
    splits={"mnist-usps": pair("mnist", "usps"), "mnist-mnistm": pair("mnist", "mnistm")},
)

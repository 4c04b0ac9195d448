"""A packed set of two domains, and studies of it that are small enough to be trained in a test. Torch-free."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from tiny import RECIPE, TINY

from transferability.adda import Adda
from transferability.adversarial import Adversarial
from transferability.aligned import Aligned
from transferability.classes import ImageClass
from transferability.data.packed import ImageSet, PackedImages, write_packed
from transferability.networks.caffenet import Architecture
from transferability.networks.chain import Chain
from transferability.recipe import Recipe
from transferability.splits import domains
from transferability.study import Study, network

DOMAINS = ("photo", "sketch")
SPLIT = "photo-sketch"
CLASSES = 4
FIELDS = {**asdict(RECIPE), "rate": 0.02}
METHODS: dict[str, Recipe] = {
    "dann": Adversarial(**FIELDS, hidden=(6,)),
    "scratch": Adversarial(**FIELDS, hidden=(), start="fresh"),
    "adda": Adda(**FIELDS, hidden=(6,)),
    "aligned": Aligned(RECIPE.name, crop=RECIPE.crop, dimensions=5),
}


def named(short: str) -> str:
    """The full name of a network on the split of the two domains."""
    return f"{SPLIT}/{short}/seed-0"


def write_domains(
    folder: Path, train: int = 8, val: int = 5, order: Sequence[int] = (), pixels: int = 16
) -> PackedImages:
    """Photos of noise on the colour of a class, and sketches: the same, inverted in the second half of the colours.

    train, val: images of each class in each domain. order: a permutation of the training sketches, which are dealt to
    the classes in it: their labels, scrambled.
    """
    draw = np.random.default_rng(0)
    colours = draw.integers(60, 196, (CLASSES, 1, 1, 1, 3))

    def images(each: int, order: Sequence[int]) -> ImageSet:
        noise = draw.integers(-50, 51, (CLASSES, 2, each, pixels, pixels, 3))
        drawn = np.clip(colours[:, None] + noise, 0, 255).astype(np.uint8)
        drawn[:, 1, ..., 1:] = 255 - drawn[:, 1, ..., 1:]
        sketches = drawn[:, 1].reshape(-1, pixels, pixels, 3)
        if len(order):
            drawn[:, 1] = sketches[list(order)].reshape(CLASSES, each, pixels, pixels, 3)
        labels, kinds = np.repeat(np.arange(CLASSES), 2 * each), np.tile(np.repeat([0, 1], each), CLASSES)
        return ImageSet(drawn.reshape(-1, pixels, pixels, 3), labels, domains=kinds)

    table = [ImageClass(c, f"c{c}", f"class {c}", "") for c in range(CLASSES)]
    return write_packed(folder, "tiny", table, images(train, order), images(val, ()), DOMAINS)


def scramble_sketches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on packed sets and runs lie in `folder`; training sketches are dealt to the classes at random."""
    write_domains(folder / "data" / "tiny", order=np.random.default_rng(1).permutation(4 * 8).tolist())
    monkeypatch.setenv("TRANSFERABILITY_DATA", str(folder / "data"))
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(folder / "runs"))


def domain_study(
    names: Sequence[str],
    recipe: Recipe = RECIPE,
    architecture: Architecture | Chain = TINY,
    name: str = "tiny",
    methods: Mapping[str, Recipe] | None = None,
) -> Study:
    """The study of the networks that are named like `A3B`, on the split of the two domains.

    methods: recipes by the variants that stand for them: those of `A3B+@dann` and the like.
    """
    networks = []
    for short in names:
        text, _, variant = short.partition("@")
        word = "" if variant.isdigit() else variant
        plain = short if variant.isdigit() else text
        networks.append(network(f"{SPLIT}/{plain}/seed-0", (methods or {}).get(word, recipe), word))
    return Study(name, "tiny", architecture, tuple(networks), {SPLIT: domains(*DOMAINS)})


def method_study(*names: str) -> Study:
    """The study of baseA and of networks whose variants are of `METHODS`."""
    return domain_study(["baseA", *names], methods=METHODS)

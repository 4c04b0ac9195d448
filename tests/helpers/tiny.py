"""A packed set, a network and studies that are small enough to be trained in a test. Torch-free."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from transferability.classes import ImageClass
from transferability.data.packed import ImageSet, PackedImages, write_packed
from transferability.networks.caffenet import Architecture, Conv, Linear
from transferability.recipe import Recipe
from transferability.results.table import COLUMNS
from transferability.splits import task_classes
from transferability.study import Study, network

if TYPE_CHECKING:
    from transferability.data.tasks import Normalisation, Task

# Four layers with all that CaffeNet has: groups, pooling, normalisation, two fully connected layers, dropout.
TINY = Architecture(
    "tiny",
    14,
    (
        ("conv1", Conv(8, 3, pad=1, pool=True, lrn=True, std=0.1)),
        ("conv2", Conv(8, 3, pad=1, groups=2, pool=True, std=0.1, bias=1.0)),
        ("fc3", Linear(16, dropout=0.5, std=0.1, bias=1.0)),
        ("fc4", Linear(None)),
    ),
)
RECIPE = Recipe("tiny", steps=12, batch=8, rate=0.05, crop=14, validate_every=6)

EXPERIMENT = """import sys
sys.path.insert(0, {helpers!r})
from dataclasses import replace
from tiny import RECIPE, tiny_study
study = tiny_study({names!r}, replace(RECIPE, **{changes!r}))
"""


def write_table(table: pd.DataFrame, path: Path) -> None:
    """A results.csv with the rows of `table`."""
    table[list(COLUMNS)].to_csv(path, index=False)


def write_tiny(
    folder: Path, pixels: int = 16, classes: int = 12, train: int = 5, val: int = 4, seed: int = 0
) -> PackedImages:
    """A packed set of noise on a colour of its own for each class; the first half man-made, the rest natural.

    No two classes have equally many images: class c has `train` + c % 3 and `val` + c % 2.
    """
    draw = np.random.default_rng(seed)
    table = [
        ImageClass(c, f"c{c:03}", f"class {c}", "man-made" if c < classes // 2 else "natural") for c in range(classes)
    ]
    colours = draw.integers(0, 256, (classes, 1, 1, 3))

    def images(each: int, more: int) -> ImageSet:
        labels = np.repeat(np.arange(classes), [each + c % more for c in range(classes)])
        noise = draw.integers(-80, 81, (len(labels), pixels, pixels, 3))
        return ImageSet(np.clip(colours[labels] + noise, 0, 255).astype(np.uint8), labels.astype(np.int64))

    return write_packed(folder, "tiny", table, images(train, 3), images(val, 2))


def task_of(packed: PackedImages, split: str, letter: str) -> "Task":
    """A task of one of the paper's splits."""
    from transferability.data.tasks import Task

    return Task(split, letter, packed, task_classes(packed.classes, split, letter))


def grey(tasks: str, mean: np.ndarray | None = None, scale: float = RECIPE.scale) -> "dict[str, Normalisation]":
    """Each task minus the same mean image: 0 everywhere if none is given."""
    from transferability.data.tasks import Normalisation

    return dict.fromkeys(tasks, Normalisation(np.zeros((16, 16, 3), np.float32) if mean is None else mean, scale))


def tiny_study(
    names: Sequence[str], recipe: Recipe = RECIPE, architecture: Architecture = TINY, name: str = "tiny"
) -> Study:
    """The study of the networks that are named like `random-0/A3B+` or, on split random-0, `A3B+`."""
    return Study(name, "tiny", architecture, tuple(network(full_name(short), recipe) for short in names))


def full_name(name: str) -> str:
    """`A3B+` → `random-0/A3B+/seed-0`; what says more keeps it."""
    split = name if "/" in name else f"random-0/{name}"
    return split if "/seed-" in split else f"{split}/seed-0"


def write_experiment(path: Path, names: Sequence[str], **changes: Any) -> Path:
    """An experiment file of the tiny study of `names`; `changes` to the fields of its recipe."""
    path.write_text(EXPERIMENT.format(helpers=str(Path(__file__).parent), names=list(names), changes=changes))
    return path

"""`ask` and `predict`: pictures and minutes to an answer, from a tiny network with random weights."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from commands import Command
from PIL import Image

from transferability.networks.cut import chain, drawn_weights

NETWORK = "timm:test_resnet"
NORMALISED = ("--mean", "127,127,127", "--std", "64,64,64", "--in-order")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    drawn = drawn_weights(chain(NETWORK, 32), 1000, "weights")
    safetensors.torch.save_file({key: value.contiguous() for key, value in drawn.items()}, file)
    return file


def pictures(folder: Path, classes: int, each: int, told_apart: bool, side: int = 40) -> Path:
    """Noise; on a colour of the class if the classes can be told apart."""
    draw = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class-{label}").mkdir(parents=True)
        colour = draw.integers(60, 200, 3) if told_apart else np.full(3, 128)
        for number in range(each):
            pixels = np.clip(colour + draw.normal(0, 30, (side, side, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"class-{label}" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def here(module_roots: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(module_roots)
        yield module_roots


def arguments(source: Path, weights: Path, minutes: float) -> tuple[object, ...]:
    usual = ("--network", NETWORK, "--weights", weights, *NORMALISED, "--size", 32, "--workers", 1)
    return ("ask", source, *usual, "--minutes", minutes)


def test_it_tells_classes_apart_and_hands_over_what_does(here: Path, weights: Path, command: Command) -> None:
    source = pictures(here / "colours", 3, 12, True)
    code, out, err = command(*arguments(source, weights, 0.5))
    print(out, err)
    assert code == 0

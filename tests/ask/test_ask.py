"""`ask` and `predict`: pictures and minutes to an answer, from a tiny network with random weights."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from commands import Command
from PIL import Image

from transferability.ask import asking, plan
from transferability.networks.cut import chain, drawn_weights

NETWORK = "timm:test_resnet"
NORMALISED = ("--mean", "127,127,127", "--std", "64,64,64")


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
        patch.setattr(plan, "MOST_SEEDS", 3)  # what is tried is then no matter of speed
        patch.setattr(plan, "FEWEST_STEPS", 8)
        patch.setattr(plan, "STEPS", 8)
        yield module_roots


def stopped_at(piece: int) -> Callable[..., None]:
    """`asking.train_piece`, which is interrupted before its piece number `piece`, from 0."""
    whole, count = asking.train_piece, iter(range(100))

    def train(*arguments: Any) -> None:
        if next(count) == piece:
            raise KeyboardInterrupt
        whole(*arguments)

    return train


def arguments(source: Path, weights: Path, minutes: float) -> tuple[object, ...]:
    usual = ("--network", NETWORK, "--weights", weights, *NORMALISED, "--size", 32, "--workers", 1)
    return ("ask", source, *usual, "--minutes", minutes)


def written(here: Path, source: Path) -> Path:
    return here / "runs" / f"{source.name}-test-resnet"


def test_it_goes_on_after_a_kill_and_hands_over_what_tells_classes_apart(
    here: Path, weights: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = pictures(here / "colours", 3, 12, True)
    (source / "class-0" / "notes.png").write_bytes(b"no picture")
    with monkeypatch.context() as patch:
        patch.setattr(asking, "train_piece", stopped_at(2))
        code, _, err = command(*arguments(source, weights, 60))
        assert code == 130 and "run the same command again" in err
    done = {file: file.stat().st_mtime_ns for file in written(here, source).rglob("result.json")}
    assert len(done) > 3
    code, out, err = command(*arguments(source, weights, 60))
    assert code == 0, err
    assert all(file.stat().st_mtime_ns == changed for file, changed in done.items())
    assert "36 pictures in 3 classes" in err and "notes.png" in err and "best so far" in err
    assert not out.startswith("Cannot tell") and "minus best" in out and "scratch" in out
    assert all(len(line) <= 80 for line in out.splitlines() if str(here) not in line), out
    code, again, _ = command(*arguments(source, weights, 60))
    assert code == 0 and again.partition("\n\n")[0] == out.partition("\n\n")[0]


def test_what_it_wrote_is_a_study_a_page_and_a_network(here: Path, weights: Path, command: Command) -> None:
    """After the test above."""
    source, folder = here / "colours", written(here, here / "colours")
    assert command("status", "experiments/asked/colours.py")[0] == 0
    page = (folder / "report.html").read_text()
    assert 'id="answer"' in page and "Top-1 at each layer" in page
    best = folder / "best.safetensors"
    code, out, _ = command("predict", best, source / "class-1" / "3.png", source / "class-2" / "4.png")
    assert code == 0 and [re.search(r"png: (class-\d)", line)[1] for line in out.splitlines()] == ["class-1", "class-2"]


def test_of_twelve_pictures_that_are_noise_it_cannot_tell(here: Path, weights: Path, command: Command) -> None:
    source = pictures(here / "noise", 2, 6, False)
    shutil.copy(source / "class-0" / "0.png", source / "class-1" / "0.png")
    code, out, err = command(*arguments(source, weights, 0.3))  # readouts alone, which come whatever the time
    assert code == 0 and out.startswith("Cannot tell") and "left out for lack of time" in " ".join(out.split())
    pytest.importorskip("imagehash")
    assert "1 pairs look the same" in err and "different classes" in err


@pytest.mark.parametrize(
    ("classes", "each", "network", "said"),
    [
        (1, 5, NETWORK, "one class only"),
        (3, 1, NETWORK, "one picture only"),
        (2, 2, NETWORK, "at least 3 are needed"),
        (0, 0, NETWORK, "no"),
        (2, 3, "resnet81", "nearest names are"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_line(
    here: Path, tmp_path: Path, command: Command, classes: int, each: int, network: str, said: str
) -> None:
    source = pictures(tmp_path / "few", classes, each, True)
    if not classes:
        source.mkdir()
        Image.new("RGB", (8, 8)).save(source / "lonely.png")
    code, _, err = command("ask", source, "--network", network)
    assert code == 2 and said in err and len(err.splitlines()) == 1

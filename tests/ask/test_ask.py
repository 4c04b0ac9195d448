"""`ask` and `predict`: pictures and minutes to an answer, about a tiny network."""

import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from commands import Command
from PIL import Image
from project import PROJECT
from torch import Tensor
from waiting import LIMIT

from transferability.ask import asking, plan
from transferability.ask.answer import candidates
from transferability.ask.best import hand_over, load
from transferability.ask.words import sentence
from transferability.data import demo
from transferability.files import Refused
from transferability.networks.cut import chain, drawn_weights
from transferability.networks.layers import in_one_piece
from transferability.report import gather as gathering
from transferability.runs.paths import study_folder
from transferability.study import load_study

NETWORK, OTHER = "timm:test_resnet", "timm:test_efficientnet"
NORMALISED = ("--mean", "127,127,127", "--std", "64,64,64")
CROP = 28
SHOWN = (3, 9, 11, 12)  # of the demo's classes: leaf, clouds, ripples, checkerboard
LABELS = np.arange(64) % len(SHOWN)


def stored(network: str, tensors: dict[str, Tensor], folder: Path) -> Path:
    file = folder / f"{network.partition(':')[2]}.safetensors"
    safetensors.torch.save_file({key: value.contiguous() for key, value in tensors.items()}, file)
    return file


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network that learned the demo's classes, from other pictures than those that are asked about."""
    architecture, draw = chain(NETWORK, CROP), np.random.default_rng(0)
    network = in_one_piece(architecture, 1000)
    network.load_state_dict(drawn_weights(architecture, 1000, "weights"))
    labels = np.arange(600) % len(SHOWN)
    painted = np.stack([demo.paint(SHOWN[label], 1000 + number) for number, label in enumerate(labels)])
    pixels = (torch.from_numpy(painted).permute(0, 3, 1, 2).float() - 127) / 64
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.003)
    for _ in range(100):
        rows, (y, x) = draw.integers(0, len(labels), 32), draw.integers(0, 32 - CROP, 2)
        scores = network(pixels[rows, :, y : y + CROP, x : x + CROP])
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels[rows])).backward()
        optimiser.step()
    return stored(NETWORK, network.state_dict(), tmp_path_factory.mktemp("weights"))


def pictures(folder: Path, labels: np.ndarray, side: int = 32) -> Path:
    """The demo's pictures of four classes, as many of each, in class folders. labels: (n,), the class that is said.
    side: in pixels."""
    for number, label in enumerate(labels):
        file = folder / f"class-{label}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(demo.paint(SHOWN[number % len(SHOWN)], number)).resize((side, side)).save(file)
    return folder


@pytest.fixture(scope="module")
def here(module_roots: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(module_roots)
        patch.setattr(plan, "MOST_SEEDS", 3)  # what is tried is then no matter of speed
        patch.setattr(plan, "FEWEST_STEPS", 8)
        patch.setattr(plan, "STEPS", 8)
        patch.setattr(gathering, "draw_figures", lambda *_: ([], []))  # tests/report draws them
        yield module_roots


# As above, in a process that is killed in the middle of the step that is given.
KILLED = """
import os, signal, sys
from transferability import cli
from transferability.ask import plan
from transferability.training import fleet

plan.MOST_SEEDS, plan.FEWEST_STEPS, plan.STEPS = 3, 8, 8
left, original = int(sys.argv.pop(1)), fleet.FleetModule.training_step

def training_step(self, batch, index):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, batch, index)

fleet.FleetModule.training_step = training_step
cli.main()
"""


def arguments(source: Path, weights: Path, minutes: float, *more: object) -> tuple[object, ...]:
    """more: options; of those that may be repeated, behind the usual ones."""
    usual = ("--network", NETWORK, "--weights", weights, *NORMALISED, "--size", CROP, "--workers", 1)
    return ("ask", source, *usual, "--minutes", minutes, *more)


def written(here: Path, name: str) -> Path:
    return here / "runs" / f"{name}-test-resnet"


@pytest.fixture(scope="module")
def killed(here: Path, weights: Path) -> dict[Path, int]:
    """Asks about the demo's pictures, until a SIGKILL in the 20th step: results by then, with their times."""
    source = pictures(here / "demo", LABELS)
    (source / "class-0" / "notes.png").write_bytes(b"no picture")
    path = os.pathsep.join(sys.path)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, "20", *map(str, arguments(source, weights, 60))],
        cwd=here,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return {file: file.stat().st_mtime_ns for file in written(here, "demo").rglob("result.json")}


def test_killed_it_goes_on_and_tells_the_demos_classes_apart(
    here: Path, weights: Path, killed: dict[Path, int], command: Command
) -> None:
    source = here / "demo"
    assert len(killed) > 3 and not any("A1B+" in str(file) for file in killed)
    code, out, err = command(*arguments(source, weights, 60))
    assert code == 0, err
    assert all(file.stat().st_mtime_ns == changed for file, changed in killed.items())
    assert "64 pictures in 4 classes, 16 each" in err and "notes.png" in err and "best so far" in err
    assert not out.startswith("Cannot tell") and "minus best" in out and "scratch" in out
    assert all(len(line) <= 80 for line in out.splitlines() if str(here) not in line), out
    stale, own = (written(here, "demo") / name for name in ("best.onnx", "best.txt"))
    stale.write_text("of an earlier winner")
    own.touch()
    code, again, _ = command(*arguments(source, weights, 60))
    assert code == 0 and again.partition("\n\n")[0] == out.partition("\n\n")[0]
    assert own.exists() and not (stale.exists() and stale.read_bytes() == b"of an earlier winner")


def test_with_random_labels_it_reports_chance(here: Path, weights: Path, command: Command) -> None:
    """The same pictures; readouts alone, which come whatever the time."""
    labels = np.random.default_rng(0).permutation(LABELS)
    code, out, _ = command(*arguments(pictures(here / "random", labels), weights, 0.1, "--first-seed", 7))
    text = " ".join(out.split())
    assert code == 0 and text.startswith("Cannot tell") and "cannot be told from chance (25.0 %" in text
    assert "left out for lack of time" in text
    seeds = {file.name for file in written(here, "random").glob("*/*@linear/seed-*")}
    assert seeds == {"seed-7", "seed-8", "seed-9"}


def test_of_twelve_pictures_it_cannot_tell(here: Path, weights: Path, command: Command) -> None:
    code, out, err = command(*arguments(pictures(here / "twelve", LABELS[:12] % 2), weights, 0.1))
    assert code == 0 and out.startswith("Cannot tell") and "12 pictures in 2 classes, 6 each" in err


def test_where_training_has_to_see_small_pictures_classifiers_see_larger_ones(
    here: Path, weights: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SHARE", 0)
    monkeypatch.setattr(plan, "LARGER_SHARE", 1e6)
    source = pictures(here / "larger", LABELS[:32], side=112)
    usual = ("--network", NETWORK, "--weights", weights, *NORMALISED, "--workers", 1)
    code, out, err = command("ask", source, *usual, "--minutes", 0.1)
    assert code == 0 and "see 64 x 64 pixels" in err and "tried at 96 x 96 pixels, too" in err
    assert "64 pixels: linear classifiers on layers" in err and "96 pixels: linear classifiers on layers" in err
    assert all(len(line) <= 80 for line in out.splitlines() if str(here) not in line), out
    assert sorted(re.findall(r"^\d  (\d+) pixels +\d", out, re.M)) == ["64", "96"]
    assert "64 pixels: freeze" in " ".join(out.split()) and "96 pixels: freeze" not in " ".join(out.split())
    assert "networks that are trained see" not in " ".join(out.split())  # there are none
    left_out = " ".join(out.split()).partition("left out for lack of time")[2]
    assert "64 pixels: linear classifiers on layers" not in left_out  # which were
    for crop, folder in ((64, written(here, "larger")), (96, here / "runs" / "larger-test-resnet-96")):
        study = load_study(f"experiments/asked/larger.py:{folder.name}")
        assert study.architecture.crop == crop and study.data == f"larger-{math.ceil(crop * 8 / 7)}"
        if (file := folder / "best.safetensors").exists():
            assert load(file).preprocessing.crop == crop
    # Both judge the same pictures, so that they can be paired.
    small = sorted((here / "runs" / "larger-test-resnet").glob("*/*@linear/seed-0/predictions.npz"))
    assert 1 <= len(small) <= plan.LIKELIEST  # layers that are likeliest on larger pictures
    for file in small:
        large = here / "runs" / "larger-test-resnet-96" / file.relative_to(here / "runs" / "larger-test-resnet")
        assert np.load(file)["rows"].tolist() == np.load(large)["rows"].tolist()
    code, _, err = command("ask", source, *usual, "--minutes", 0.1, "--size", 64)  # of which the study is not
    assert code == 2 and "asks about" in err


def test_what_it_wrote_is_a_study_a_page_and_a_network(
    here: Path, weights: Path, killed: dict[Path, int], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first test."""
    monkeypatch.syspath_prepend(PROJECT / "benchmarks")
    from ask_again import answer_in

    source, folder = here / "demo", written(here, "demo")
    assert command("status", "experiments/asked/demo.py")[0] == 0
    page = (folder / "report.html").read_text()
    assert 'id="answer"' in page and "Top-1 at each layer" in page
    assert sentence(answer_in(Path("experiments/asked/demo.py"))) in page
    overlap = "These draws overlap, and the intervals do not allow for that"
    assert overlap in page and overlap in " ".join(command("results", "experiments/asked/demo.py")[1].split())
    shown = [next((source / f"class-{label}").glob("*.png")) for label in (1, 2)]
    code, out, _ = command("predict", folder / "best.safetensors", *shown)
    assert code == 0 and [re.search(r"png: (class-\d)", line)[1] for line in out.splitlines()] == ["class-1", "class-2"]


@pytest.mark.parametrize("rule", ["linear", "tuned"])
def test_what_is_handed_over_loads_where_it_came_from(
    here: Path, weights: Path, killed: dict[Path, int], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first test: best.py as it is written, on the original network's class and its keys; and ONNX."""
    study, folder = load_study("experiments/asked/demo.py"), study_folder("demo-test-resnet")
    chosen = next(one for one in candidates(study, folder)[0] if one.rule == rule)
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError:
        onnxruntime = None
    file, predictor = hand_over(study, folder, here / "data", chosen, onnxruntime is not None)
    picture = here / "demo" / "class-1" / "1.png"
    x = predictor.preprocessing(picture)
    expected = predictor.network(x)
    assert torch.equal(load(file).network(x), expected)
    original, now = safetensors.torch.load_file(weights), safetensors.torch.load_file(file)
    readout = {"readout.weight", "readout.bias"} if rule == "linear" else set()
    assert now.keys() - readout <= original.keys() and (readout or now.keys() == original.keys())
    if rule == "tuned":
        snippet = file.with_suffix(".py").read_text().partition("# Or,")[0]
        monkeypatch.chdir(file.parent)
        made: dict[str, torch.nn.Module] = {}
        exec(snippet, made)
        assert torch.allclose(made["network"](x), expected, atol=1e-5)
    if onnxruntime is not None:
        session = onnxruntime.InferenceSession(str(file.with_suffix(".onnx")), providers=["CPUExecutionProvider"])
        pixels = predictor.preprocessing.pixels(picture).contiguous().float().numpy()
        assert np.allclose(session.run(None, {"pixels": pixels})[0], expected, atol=1e-4)


def test_of_two_networks_and_pictures_that_judge_it_says_which_network(
    here: Path, weights: Path, command: Command
) -> None:
    """Readouts alone. Without draws of pictures, each is one number, with the interval of a share of 32 pictures."""
    source = here / "parts"
    pictures(source / "train", LABELS)
    pictures(source / "val", LABELS[:32])  # the same pictures
    random = stored(OTHER, drawn_weights(chain(OTHER, CROP), 1000, "weights"), here)
    both = ("--network", OTHER, "--weights", random)
    code, out, err = command(*arguments(source, weights, 0.1, *both))
    text = " ".join(out.split())
    assert code == 0 and "the validation part judges" in err
    assert re.match(r"Put a linear classifier on layer \d of \d \(timm:test_resnet\): [\d.]+ ± [\d.]+ %; put", text), (
        text
    )
    assert "top-1 % at each layer (parts-test-resnet)" in text and "(parts-test-efficientnet)" in text
    pytest.importorskip("imagehash")
    assert "pairs look the same" in err and "one trains and the other judges: the answer is too good" in err


def test_tokens_and_a_size_that_the_weights_fix(here: Path, command: Command) -> None:
    """Of a ViT's first layers the class token is the same for every picture."""
    source, network = pictures(here / "tokens", LABELS[:12] % 2), "timm:test_vit"
    random = stored(network, drawn_weights(chain(network, 160), 1000, "weights"), here)
    usual = ("ask", source, "--network", network, "--weights", random, *NORMALISED, "--workers", 1, "--minutes", 0.1)
    code, _, err = command(*usual)
    assert code == 2 and "(1, 101, 64)" in err and "--size PIXELS says it" in err
    code, out, err = command(*usual, "--size", 160)  # under the same name: nothing was read before
    assert code == 0 and "failed" not in err and re.search(r"^1 +\d", out, re.M)


def test_what_workers_fail_at_is_said_in_words(here: Path, command: Command) -> None:
    source = pictures(here / "failing", LABELS[:12] % 2)
    wrong = stored(OTHER, drawn_weights(chain(OTHER, CROP), 1000, "weights"), here)
    usual = ("ask", source, "--network", NETWORK, "--weights", wrong, *NORMALISED, "--size", CROP, "--minutes", 0.1)
    code, _, err = command(*usual, "--workers", 2)
    assert code == 2 and "tensors fit" in err and "no layer of timm:test_resnet could be read" in err
    assert "Traceback" not in err and not Path("experiments/asked/failing.py").exists()
    code, _, err = command(*usual, "--network", NETWORK, "--weights", wrong)
    assert code == 2 and "ask one after the other" in err and "Traceback" not in err


def test_a_later_failure_forgets_nothing(
    here: Path, weights: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the test of twelve pictures."""

    def fails(_: asking.Asking) -> None:
        raise Refused("the disk is full")

    monkeypatch.setattr(asking, "_work", fails)
    code, _, err = command(*arguments(here / "twelve", weights, 0.1))
    assert code == 2 and err.endswith("the disk is full\n")
    assert Path("experiments/asked/twelve.py").exists() and (written(here, "twelve") / "asked.json").exists()


def test_it_does_not_go_on_with_other_pictures(here: Path, weights: Path, command: Command) -> None:
    """After the test of random labels."""
    Image.new("RGB", (40, 40)).save(here / "random" / "class-0" / "more.png")
    code, _, err = command(*arguments(here / "random", weights, 0.1, "--first-seed", 7))
    assert code == 2 and "has 65 now" in err and "give --name" in err
    code, _, err = command(*arguments(here / "demo", weights, 0.1, "--name", "random"))
    assert code == 2 and "asks about" in err


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
    source = tmp_path / "few"
    source.mkdir()
    pictures(source, np.arange(classes * each) % max(1, classes))
    if not classes:
        Image.new("RGB", (8, 8)).save(source / "lonely.png")
    code, _, err = command("ask", source, "--network", network)
    assert code == 2 and said in err and len(err.splitlines()) == 1

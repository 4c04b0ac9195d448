"""How fast it is, side by side with what one would use otherwise, on this machine.

    python benchmarks/benchmark.py [ROW ...] [--repeats 7] [--csv FILE] [--quick]      (or: make bench)

Rows, all of them by default; each can be run alone:

    input     pictures a second: this package's stream; PIL and torchvision's transforms; decode_jpeg and v2; litdata
    fleet     seven frozen networks with a shared prefix, and all 28 treatments of a target, against one by one
    step      training steps under Lightning, with metrics and divergence checks, against a loop written by hand
    study     a whole study against one Lightning run a network (careful_user.py); needs data/demo, data/tiny-imagenet
    ddp       two fleets on two processes: side by side with one each, against one after the other with both (DDP)
    growth    time and memory of fleets of 1, 7, 28, 56; commands on studies of 10, 300, 10,000 networks
    logging   what offline logging to W&B costs

What is compared is measured in turn, A B A B …, in one run; the table has medians over the repeats with their lowest
and highest, and the median of the ratios of neighbours. One process with one thread, but for `study`. Runs everywhere:
`input` takes JPEGs from --pictures FOLDER, or draws some; the rest, but for `study`, trains on noise. litdata is an
extra: pip install '.[bench]'.

Cost: nearly two hours on two cores (`ddp` 50 minutes, `study` 27), two minutes with --quick, which shows that it runs
and measures nothing well.
"""

import argparse
import csv
import json
import math
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console
from rich.table import Table
from trained import train_fleet

from transferability.data.packed import ImageClass, ImageSet, PackedImages, open_packed, write_packed
from transferability.data.stream import Batch, TaskImages, TrainingBatches, task_images
from transferability.files import Refused, read_json
from transferability.launch.local import run_study
from transferability.recipe import Recipe
from transferability.runs.machine import Machine
from transferability.runs.paths import data_root, study_folder
from transferability.splits import task_classes
from transferability.study import Fleet, Network, Study, load_study, network, record
from transferability.training.device import most_memory
from transferability.training.fleet import FleetModule
from transferability.training.outcome import provenance
from transferability.training.tracking import Tracker
from transferability.training.trainer import quiet

HERE = Path(__file__).resolve().parent
EXPERIMENTS = HERE.parent / "experiments"
DEMO = load_study(EXPERIMENTS / "demo.py")
architecture, recipe = DEMO.architecture, DEMO.networks[0].recipe

OURS = "this package"


@dataclass(frozen=True)
class Line:
    """One line of the table. `times`: how many times better the first line of its case is, at the median pair."""

    row: str
    case: str
    way: str
    unit: str
    median: float
    low: float
    high: float
    repeats: int
    times: float | None = None
    times_low: float | None = None
    times_high: float | None = None


@dataclass(frozen=True)
class Options:
    repeats: int
    quick: bool
    pictures: Path | None
    whole: bool
    folder: Path  # scratch


def compared(row: str, case: str, unit: str, measured: Mapping[str, Sequence[float]], more: bool = True) -> list[Line]:
    """Lines of the ways that were measured in turn; the first is set against each other. `more`: more is better."""
    ours = next(iter(measured.values()))
    lines = []
    for place, (way, values) in enumerate(measured.items()):
        ratios = sorted(a / b if more else b / a for a, b in zip(ours, values, strict=False)) if place else []
        times = (median(ratios), ratios[0], ratios[-1]) if ratios else ()
        lines.append(Line(row, case, way, unit, median(values), min(values), max(values), len(values), *times))
    return lines


def in_turn(ways: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """The values of each way, measured A B A B …, after one round that does not count."""
    for way in ways.values():
        way()
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            measured[name].append(way())
    return measured


# ---------------------------------------------------------------------------------------------- input

BATCH = 256


def input_row(options: Options) -> Iterator[Line]:
    files = pictures(options)
    cases = ((256, 227, 2_000), (64, 56, 20_000), (32, 28, 20_000))
    for size, crop, count in cases:
        count = count // 10 if options.quick else count
        packed = memory_map(files, size, count, options.folder)
        jpegs = image_folder(files, size, options.folder)
        case = f"{crop} from {size}"
        plain, floats = our_batches(packed, crop, False), our_batches(packed, crop, True)
        seconds = 0.2 if options.quick else 1.0
        ways: dict[str, Iterator[int]] = {OURS: plain}
        ways |= {f"{way}, JPEGs of {size} pixels": each for way, each in readers(jpegs, crop, False, False).items()}
        if size == 256:  # and as torchvision's reference scripts do it: from the files as they were published
            whole = image_folder(files, None, options.folder)
            ways |= {f"{way}, JPEGs as published": each for way, each in readers(whole, crop, True, False).items()}
        stream = litdata_stream(packed, crop, options.folder)
        if stream is not None:
            ways["litdata, raw"] = stream
        timed = {way: partial(rate, each, seconds) for way, each in ways.items()}
        yield from compared("input", f"{case}, uint8", "images/s", in_turn(timed, options.repeats))
        if stream is None:
            yield Line("input", case, "litdata is not installed", "", math.nan, math.nan, math.nan, 0)
        ways = {OURS: floats}
        if size == 256:
            ways |= {f"{way}, JPEGs as published": each for way, each in readers(whole, crop, True, True).items()}
        else:
            ways |= {f"{way}, JPEGs of {size} pixels": each for way, each in readers(jpegs, crop, False, True).items()}
        timed = {way: partial(rate, each, seconds) for way, each in ways.items()}
        yield from compared("input", f"{case}, normalised float", "images/s", in_turn(timed, options.repeats))
        if size == 256:
            yield from compared("input", f"{case}, uint8, cold", "images/s", cold(packed, whole, crop, options))


def rate(batches: Iterator[int], seconds: float) -> float:
    """Images a second of an endless iterator of the numbers of images in its batches."""
    began, images = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        images += next(batches)
    return images / spent


def cold(packed: Path, folder: Path, crop: int, options: Options) -> dict[str, list[float]]:
    """Images a second of one pass over the pictures, after their pages were dropped from the page cache."""

    def one_pass(files: Sequence[Path], batches: Callable[[], Iterator[int]], images: int) -> float:
        for file in files:
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)
        endless = batches()
        began, seen = time.perf_counter(), 0
        while seen < images:
            seen += next(endless)
        return seen / (time.perf_counter() - began)

    files = sorted(folder.rglob("*.jpg"))
    count = len(np.load(packed, mmap_mode="r"))
    ways = {
        OURS: lambda: one_pass([packed], lambda: our_batches(packed, crop, False), count),
        "PIL, JPEGs as published": lambda: one_pass(
            files, lambda: readers(folder, crop, True, False)["PIL"], len(files)
        ),
    }
    return in_turn(ways, min(3, options.repeats))


def pictures(options: Options) -> list[Path]:
    """JPEG files: those below --pictures, or a hundred drawn ones, of 500 x 375 pixels and some 100 kB."""
    if options.pictures is not None:
        found = sorted(p for p in options.pictures.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
        if not found:
            raise Refused(f"{options.pictures}: there is no .jpg or .jpeg file")
        return found
    draw = np.random.default_rng(0)
    folder = options.folder / "drawn"
    folder.mkdir()
    for number in range(20 if options.quick else 100):
        smooth = Image.fromarray(draw.integers(0, 256, (12, 16, 3), np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        noisy = np.asarray(smooth, np.float32) + draw.normal(0, 14, (375, 500, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=92)
    return sorted(folder.iterdir())


def squashed(file: Path, size: int) -> Image.Image:
    with Image.open(file) as picture:
        return picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


def memory_map(files: Sequence[Path], size: int, count: int, folder: Path) -> Path:
    """A .npy of (count, size, size, 3) uint8, the pictures again and again."""
    path = folder / f"{size}.npy"
    small = np.stack([np.asarray(squashed(file, size)) for file in files[:count]])
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, size, size, 3))
    for start in range(0, count, len(small)):
        images[start : start + len(small)] = small[: count - start]
    images.flush()
    return path


def image_folder(files: Sequence[Path], size: int | None, folder: Path) -> Path:
    """The pictures for torchvision's ImageFolder: as they are (None), or as JPEGs of `size` pixels."""
    out = folder / f"jpegs-{size}"
    for number, file in enumerate(files):
        to = out / str(number % 10) / f"{number}.jpg"
        to.parent.mkdir(parents=True, exist_ok=True)
        if size is None:
            to.write_bytes(file.read_bytes())
        else:
            squashed(file, size).save(to, quality=90)
    return out


def our_batches(path: Path, crop: int, floats: bool) -> Iterator[int]:
    """The stream, shuffled, from the memory map; with `floats`, minus the mean image, scaled and mirrored."""
    images = np.load(path, mmap_mode="r")
    count, size = images.shape[:2]
    task = TaskImages(images, np.arange(count), np.zeros(count, np.int64))
    its = Recipe("input", steps=10**9, batch=BATCH, rate=0.1, crop=crop, validate_every=1)
    normaliser: Any = SimpleNamespace(mean_A=torch.full((size, size, 3), 117.0), recipe=its)
    for batch in TrainingBatches(task, its, "benchmark", 0, its.steps):
        x = FleetModule.pictures(normaliser, batch, "A") if floats else batch.pixels
        yield len(x)


def readers(folder: Path, crop: int, resized: bool, floats: bool) -> dict[str, Iterator[int]]:
    """torchvision's ImageFolder in a DataLoader: decoded by PIL, or by decode_jpeg with transforms v2.

    `resized`: RandomResizedCrop as in its reference scripts, else RandomCrop. `floats`: normalised float32.
    """
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms import v2

    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

    def cropped(kind: Any) -> Any:
        return kind.RandomResizedCrop(crop, antialias=True) if resized else kind.RandomCrop(crop)

    to_floats: list[Any] = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    by_pil = transforms.Compose(
        [cropped(transforms), transforms.RandomHorizontalFlip(), *(to_floats if floats else [transforms.PILToTensor()])]
    )
    more: list[Any] = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)] if floats else []
    by_v2 = v2.Compose([cropped(v2), v2.RandomHorizontalFlip(), *more])

    def endless(dataset: Any) -> Iterator[int]:
        loader = DataLoader(dataset, min(64, len(dataset)), shuffle=True)
        while True:
            for x, _ in loader:
                yield len(x)

    return {
        "PIL": endless(ImageFolder(str(folder), by_pil)),
        "decode_jpeg and v2": endless(
            ImageFolder(str(folder), by_v2, loader=lambda file: decode_jpeg(read_file(file), ImageReadMode.RGB))
        ),
    }


def litdata_stream(path: Path, crop: int, folder: Path) -> Iterator[int] | None:
    """litdata's streaming data set of the same uint8 pictures, uncompressed, shuffled, randomly cropped; or None."""
    try:
        import litdata
    except ImportError:
        return None
    images = np.load(path, mmap_mode="r")
    size = images.shape[1]
    out = folder / f"litdata-{size}"
    writer = litdata.streaming.Cache(str(out), chunk_bytes="64MB")
    for index in range(len(images)):
        writer[index] = {"image": torch.from_numpy(np.array(images[index])), "label": 0}
    writer.done()
    writer.merge()

    class Cropped(litdata.StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, index: Any) -> Any:
            sample = super().__getitem__(index)
            y, x = torch.randint(0, size - crop + 1, (2,)).tolist()
            return sample["image"][y : y + crop, x : x + crop], sample["label"]

    def endless() -> Iterator[int]:
        while True:
            for x, _ in litdata.StreamingDataLoader(Cropped(str(out), shuffle=True), batch_size=BATCH, num_workers=0):
                yield len(x)

    return endless()


# ---------------------------------------------------------------------------------------------- fleet, step


def noise(folder: Path) -> None:
    """A packed set of noise, as large in every way as a tenth of the demo's, where TRANSFERABILITY_DATA shows."""
    os.environ["TRANSFERABILITY_DATA"] = str(folder)
    if (folder / "noise").exists():
        return
    draw = np.random.default_rng(0)
    classes = [ImageClass(c, f"c{c:02}", f"c{c}", "man-made" if c < 10 else "natural") for c in range(20)]

    def images(each: int) -> ImageSet:
        pixels = draw.integers(0, 256, (20 * each, 32, 32, 3), np.uint8)
        return ImageSet(pixels, np.repeat(np.arange(20), each))

    write_packed(folder / "noise", "noise", classes, images(100), images(10))


def bench_study(names: Sequence[str], steps: int) -> Study:
    """The networks on split random-0 with the demo's recipe for `steps`, and the bases, of one step."""
    its = replace(recipe, name="benchmark", steps=steps, validate_every=steps)
    one = replace(its, steps=1, validate_every=1)
    bases = [network(f"random-0/base{task}", its if f"base{task}" in names else one) for task in "AB"]
    others = [network(f"random-0/{name}", its) for name in names if not name.startswith("base")]
    return Study("benchmark", "noise", architecture, (*bases, *others))


def trained(names: Sequence[str], steps: int, together: bool = True, machine: Machine | None = None) -> float:
    """Seconds of the `steps` training steps of `names`, as train_fleet counts them, in one fleet or one by one.

    Lightning, metrics and callbacks are in it; reading weights, checkpoints and all but one image of the validation
    are not.
    """
    study = bench_study(names, steps)
    machine = machine or Machine("cpu", most_validated=1)
    chosen = [each for each in study.networks if each.short_name in names]
    divided = [Fleet(tuple(chosen))] if together else [Fleet((each,)) for each in chosen]
    with tempfile.TemporaryDirectory() as runs:
        os.environ["TRANSFERABILITY_RUNS"] = runs
        for base in study.networks[:2]:
            if base not in chosen:
                train_fleet(study, Fleet((base,)), machine)
        for fleet in divided:
            train_fleet(study, fleet, machine)
        results = (study_folder(study.name).result(fleet.networks[0].name) for fleet in divided)
        return sum(float(read_json(file)["seconds"]) for file in results)


def treatments(*patterns: str) -> list[str]:
    """`*` is n = 1 … 7."""
    return [pattern.replace("*", str(n)) for pattern in patterns for n in range(1, architecture.depth)]


def fleet_row(options: Options) -> Iterator[Line]:
    noise(options.folder)
    cases = {
        "7 frozen networks, A1B to A7B": (treatments("A*B"), 10 if options.quick else 200),
        "28 treatments of a target": (treatments("A*B", "B*B", "A*B+", "B*B+"), 4 if options.quick else 60),
    }
    for case, (names, steps) in cases.items():
        ways = {"one fleet": partial(trained, names, steps), "one by one": partial(trained, names, steps, False)}
        measured = {
            way: [1000 * value / steps for value in values] for way, values in in_turn(ways, options.repeats).items()
        }
        yield from compared("fleet", case, "ms a step of all", measured, more=False)


def step_row(options: Options) -> Iterator[Line]:
    noise(options.folder)
    cases = {"a base alone": (["baseB"], 400), "a fleet of 7 frozen networks": (treatments("R*B"), 150)}
    for case, (names, steps) in cases.items():
        steps = steps // 20 if options.quick else steps
        images = steps * recipe.batch
        ways = {
            OURS: partial(trained, names, steps),
            "a loop written by hand": partial(by_hand, names, steps),
        }
        measured = in_turn(ways, 2 * options.repeats)
        speeds = {way: [images / seconds for seconds in values] for way, values in measured.items()}
        yield from compared("step", case, "images/s", speeds)


def by_hand(names: Sequence[str], steps: int) -> float:
    """Seconds of the same training in plain PyTorch: the same layers, batches and optimiser, and nothing else.

    For a lone base, or networks that freeze random layers: what one would write for just these.
    """
    study = bench_study(names, steps)
    chosen = tuple(each for each in study.networks if each.short_name in names)
    packed = open_packed(data_root() / "noise")
    classes = task_classes(packed.classes, "random-0", "B")
    mean = packed.train.images.mean(axis=0, dtype=np.float32)
    module = FleetModule(study, Fleet(chosen), len(classes), {}, {"B": mean})
    its = chosen[0].recipe
    networks = [list(layers.values()) for layers in module.networks]  # type: ignore[operator]
    prefix = list(module.prefixes["R"].values()) if len(module.prefixes) else []  # type: ignore[operator]
    frozen = [each.treatment.n for each in chosen]
    weights = [p for p in module.networks.parameters() if p.ndim > 1]
    biases = [p for p in module.networks.parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": its.decay}, {"params": biases, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=its.rate, momentum=its.momentum, fused=True)
    batches = TrainingBatches(task_images(packed.train, classes, None, 1), its, chosen[0].stream, 0, steps)
    shift = module.mean_B
    reach = torch.arange(its.crop)
    began = time.perf_counter()
    for step, batch in enumerate(batches):
        rate = its.rate_at(step)
        optimiser.param_groups[0]["lr"], optimiser.param_groups[1]["lr"] = rate, rate * its.bias_rate
        ys, xs = batch.ys[:, None] + reach, batch.xs[:, None] + reach
        x = (batch.pixels.float() - shift[ys[:, :, None], xs[:, None, :]].permute(0, 3, 1, 2)) * its.scale
        x = torch.where(batch.mirror[:, None, None, None], x.flip(3), x)
        features = [x]
        with torch.no_grad():
            for layer in prefix:
                features.append(layer(features[-1]))
        losses = []
        for n, layers in zip(frozen, networks, strict=True):
            x = features[n]
            for layer in layers:
                x = layer(x)
            losses.append(F.cross_entropy(x, batch.labels))
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        optimiser.step()
        if step % 50 == 0:
            float(losses[0].detach())  # one would print it
    return time.perf_counter() - began


# ---------------------------------------------------------------------------------------------- study


def study_row(options: Options) -> Iterator[Line]:
    """The whole study through `transferability run`; of the careful user's networks a sample, unless --whole."""
    data = data_root()
    for case, (its, longer) in studies(options).items():
        if not (data / its.data / "manifest.json").exists():
            raise Refused(
                f"{data / its.data} is not packed yet: see `transferability pack`, or leave out the row study"
            )
        folder = options.folder / its.name
        folder.mkdir()
        experiment = folder / "experiment.py"
        experiment.write_text(f"import pickle\n\nstudy = pickle.loads({pickle.dumps(its)!r})\n")
        pngs(open_packed(data / its.data), its, folder / "pictures")
        began = time.perf_counter()
        environment = {**os.environ, "TRANSFERABILITY_DATA": str(data), "TRANSFERABILITY_RUNS": str(folder / "runs")}
        words = ["-m", "transferability.cli", "run", str(experiment), "--accelerator", "cpu"]
        subprocess.run([sys.executable, *words], env=environment, check=True, stdout=subprocess.DEVNULL)
        ours = time.perf_counter() - began
        chosen = list(its.networks) if options.whole else sample(its.networks, options.quick)
        spent = careful_user(experiment, chosen, folder)
        what = "all of them" if options.whole else f"{len(chosen)} of them, each kind, scaled by their numbers"
        name, way = f"{case}: {len(its.networks)} networks", f"a careful user's ({what})"
        starting, training = (sum(spent[kind_of(each)][part] for each in its.networks) / 2 for part in (0, 1))
        yield from compared("study", name, "s", {OURS: [ours], way: [starting + training]}, more=False)
        if longer > 1:  # ours in full, the careful user's start of each process only once
            whole = {OURS: [longer * ours], way: [starting + longer * training]}
            yield from compared("study", f"{name}, calculated for all steps", "s", whole, more=False)


def studies(options: Options) -> dict[str, tuple[Study, int]]:
    """Studies, and how many times longer they would be in full."""
    tiny = load_study(EXPERIMENTS / "tiny_imagenet_cpu.py")
    full = tiny.networks[0].recipe
    if options.quick:
        few = replace(recipe, steps=24, validate_every=12)
        chosen = [replace(each, recipe=few) for each in DEMO.networks if each.split == "random-0"]
        return {"the demo, 24 of its 480 steps": (replace(DEMO, networks=tuple(chosen)), 20)}
    # Up to the first of its equal stretches' validation: all of them take so many times as long.
    short = replace(full, name="short", steps=full.validate_every)
    networks = tuple(replace(each, recipe=short) for each in tiny.networks if each.split == "random-0")
    return {
        "the demo": (DEMO, 1),
        f"Tiny ImageNet, random-0, {short.steps} of its {full.steps} steps": (
            replace(tiny, networks=networks),
            full.validations,
        ),
    }


def kind_of(each: Network) -> tuple[str, bool, int]:
    """Networks of one kind cost the careful user the same: kind, whether copied layers are trained, n of a sample."""
    treatment = each.treatment
    nearest = min((1, 4, 7), key=lambda n: (abs(n - treatment.n), n)) if treatment.n else 0
    return treatment.kind, bool(treatment.rate), nearest


def sample(networks: Sequence[Network], quick: bool) -> list[Network]:
    """The bases of one split, and for its target B one network of each kind."""
    split = networks[0].split
    here = [each for each in networks if each.split == split and each.seed == networks[0].seed]
    bases = [each for each in here if each.treatment.kind == "base"]
    first: dict[tuple[str, bool, int], Network] = {}
    for each in here:
        exact = each.treatment.n in (1, 4, 7) or kind_of(each) not in {
            kind_of(e) for e in here if e.treatment.n in (1, 4, 7)
        }
        if each.treatment.target == "B" and each.stage and exact:
            first.setdefault(kind_of(each), each)
    rest = list(first.values())
    return bases + (rest[::6] if quick else rest)


def careful_user(
    experiment: Path, chosen: Sequence[Network], folder: Path
) -> Mapping[tuple[str, bool, int], tuple[float, float]]:
    """Trains `chosen` by careful_user.py, two at a time.

    Kind of a network → its mean seconds: of starting and ending a process, of training and validation. A kind that
    is not among them (with --quick) has the mean of all.
    """
    spent: dict[tuple[str, bool, int], list[tuple[float, float]]] = {}

    def one(each: Network) -> None:
        script = str(HERE / "careful_user.py")
        places = ["--pictures", str(folder / "pictures" / each.split), "--out", str(folder / "careful")]
        began = time.perf_counter()
        words = [sys.executable, script, str(experiment), each.name, *places]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        training = float(json.loads(done.stdout.splitlines()[-1])["seconds"])
        spent.setdefault(kind_of(each), []).append((time.perf_counter() - began - training, training))

    for stage in (0, 1):
        with ThreadPoolExecutor(2) as two:
            list(two.map(one, [each for each in chosen if each.stage == stage]))

    def means(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
        return sum(a for a, _ in values) / len(values), sum(b for _, b in values) / len(values)

    overall = means([value for values in spent.values() for value in values])
    found = {kind: means(values) for kind, values in spent.items()}
    return defaultdict(lambda: overall, found)


def pngs(packed: PackedImages, its: Study, folder: Path) -> None:
    """The packed pictures, shrunk as the recipe says, as PNG files for ImageFolder: SPLIT/TASK/{train,val}/LABEL."""
    shrink = its.networks[0].recipe.shrink
    for split in dict.fromkeys(each.split for each in its.networks):
        for task in "AB":
            classes = task_classes(packed.classes, split, task)
            for name, images in (("train", packed.train), ("val", packed.val)):
                chosen = task_images(images, classes, None, shrink)
                for number, (row, label) in enumerate(zip(chosen.rows, chosen.labels, strict=True)):
                    to = folder / split / task / name / f"{label:03}" / f"{number}.png"
                    to.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(chosen.images[row]).save(to, compress_level=1)


# ---------------------------------------------------------------------------------------------- ddp


def ddp_row(options: Options) -> Iterator[Line]:
    """When one process for each fleet is faster than two processes for one fleet after the other."""
    noise(options.folder)
    fleets = {
        "a base a fleet": (["baseA", "baseB"], 25_600),
        "7 fine-tuned networks a fleet": (treatments("B*A+", "A*B+"), 5_120),
        "7 frozen networks a fleet": (treatments("B*A", "A*B"), 12_800),
    }
    for case, (names, images) in fleets.items():
        for batch in (32, 128, 512):
            steps = 2 if options.quick else images // batch
            ways = {
                "two fleets side by side": partial(on_two_processes, names, steps, batch, 1),
                "one after the other, DDP": partial(on_two_processes, names, steps, batch, 2),
            }
            measured = in_turn(ways, options.repeats)
            speeds = {way: [2 * steps * batch / seconds for seconds in values] for way, values in measured.items()}
            yield from compared("ddp", f"{case}, batch {batch}", "images/s", speeds)


def on_two_processes(names: Sequence[str], steps: int, batch: int, devices: int) -> float:
    """Seconds of both fleets' training, as train_fleet counts them, with `devices` processes for each fleet."""
    study = bench_study(names, steps)
    networks = tuple(replace(each, recipe=replace(each.recipe, batch=batch)) for each in study.networks)
    study = replace(study, networks=networks)
    with tempfile.TemporaryDirectory() as runs:
        os.environ["TRANSFERABILITY_RUNS"] = runs
        folder = study_folder(study.name)
        for base in study.networks[:2]:
            if base.short_name not in names:
                train_fleet(study, Fleet((base,)), Machine("cpu", most_validated=1))
        chosen = [each for each in study.networks if each.short_name in names]
        machine = Machine("cpu", devices=devices, most_validated=2)
        run_study(study, chosen, machine, 2 // devices, None, Console(quiet=True))
        by_fleet = {each.treatment.target: read_json(folder.result(each.name))["seconds"] for each in chosen}
    return float(max(by_fleet.values()) if devices == 1 else sum(by_fleet.values()))


# ---------------------------------------------------------------------------------------------- growth

FLEETS = (1, 7, 28, 56)
STUDIES = (10, 300, 10_000)


def growth_row(options: Options) -> Iterator[Line]:
    noise(options.folder)
    steps = 3 if options.quick else 30
    # Trained in all layers, so that all cost the same; their rates set them apart.
    names = treatments(*(f"A*B+{rate}" for rate in ("", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7")))
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in FLEETS}
    for _ in range(1 if options.quick else 3):
        for count in FLEETS:
            found[count].append(child("fleet_memory", names[:count], steps))
    for count in FLEETS:
        milliseconds = [1000 * seconds / steps / count for seconds, _ in found[count]]
        yield from compared("growth", f"a fleet of {count}", "ms a step a network", {"training": milliseconds})
        yield from compared("growth", f"a fleet of {count}", "MB", {"peak memory": [mb for _, mb in found[count]]})
    more = [(b - a) / (FLEETS[-1] - 1) for (_, a), (_, b) in zip(found[1], found[FLEETS[-1]], strict=True)]
    yield from compared("growth", f"each network from 2 to {FLEETS[-1]}", "MB", {"peak memory": more})
    yield from compared("growth", "one network", "MB", {"its weights, gradients, momentum, activations": [its_own()]})
    for count in (10, 300) if options.quick else STUDIES:
        folder = options.folder / f"study-{count}"
        experiment = fake_study(folder, count)
        environment = {**os.environ, "TRANSFERABILITY_RUNS": str(folder / "runs")}
        for command in ("plan", "status", "results"):
            seconds = []
            for _ in range(options.repeats):
                began = time.perf_counter()
                words = [sys.executable, "-m", "transferability.cli", command, str(experiment)]
                subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
                seconds.append(time.perf_counter() - began)
            yield from compared(
                "growth", f"a study of {count:,} networks", "s", {f"transferability {command}": seconds}
            )


def child(function: str, *words: Any) -> Any:
    """What a function of this file returns, called in a process of its own."""
    code = f"import json, sys, benchmark as b; print(json.dumps(b.{function}(*json.loads(sys.argv[1]))))"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(words)],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def fleet_memory(names: Sequence[str], steps: int) -> tuple[float, float]:
    """(seconds of the steps, peak memory in MB) of one fleet."""
    quiet()
    seconds = trained(names, steps)
    return seconds, most_memory(torch.device("cpu")) / 2**20


def its_own() -> float:
    """MB of one network: weights, gradients, momentum, and what its backward pass needs of a batch."""
    study = bench_study(["baseB"], 1)
    module = FleetModule(study, Fleet((study.networks[1],)), 10, {}, {"B": np.zeros((32, 32, 3), np.float32)})
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    zeros = torch.zeros(recipe.batch, dtype=torch.int64)
    pixels = torch.zeros(recipe.batch, 3, recipe.crop, recipe.crop, dtype=torch.uint8)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = module(Batch(pixels, zeros, zeros, zeros, zeros, zeros.bool()))
    weights = {p.untyped_storage().data_ptr(): p.nbytes for p in module.networks.parameters()}
    activations = sum(size for place, size in kept.items() if place not in weights)
    del logits
    return (3 * sum(weights.values()) + activations) / 2**20


def fake_study(folder: Path, count: int) -> Path:
    """An experiment file of `count` networks, all of them done: with results, of six validations, but no weights."""
    folder.mkdir()
    experiment = folder / "experiment.py"
    experiment.write_text(
        "from transferability.networks.caffenet import small_caffenet\n"
        "from transferability.recipe import Recipe\n"
        "from transferability.study import Study, grid\n"
        'recipe = Recipe("fake", steps=4500, batch=64, rate=0.03, warmup=200, crop=28, validate_every=750)\n'
        'splits = [f"random-{i}" for i in range(4)] + ["manmade-natural"]\n'
        f"networks = grid(recipe, 8, splits, range({-(-count // 290)}))\n"
        f"networks = sorted(networks, key=lambda network: network.order)[:{count}]\n"
        'study = Study("fake", "fake", small_caffenet(28, 0.25), tuple(networks))\n'
    )
    study = load_study(experiment)
    runs = os.environ.get("TRANSFERABILITY_RUNS")
    os.environ["TRANSFERABILITY_RUNS"] = str(folder / "runs")
    where = study_folder(study.name)
    if runs is not None:
        os.environ["TRANSFERABILITY_RUNS"] = runs
    draw = np.random.default_rng(0)
    about = provenance()
    keys = ("rate", "train_loss", "train_top1", "val_loss", "val_top1", "val_top5", "seconds")
    for each in study.networks:
        its = each.treatment
        series: dict[str, list[Any]] = {key: draw.random(6).tolist() for key in keys}
        series |= {"step": list(range(750, 4501, 750)), "val_images": [5000] * 6}
        file = where.result(each.name)
        file.parent.mkdir(parents=True)
        last = {key: values[-1] for key, values in series.items()}
        result = {
            "name": each.name,
            "study": study.name,
            "split": each.split,
            "network": each.short_name,
            "kind": its.kind,
            "source": its.source,
            "target": its.target,
            "n": its.n,
            "preserved": its.preserved,
            "plus": its.plus,
            "images_per_class": each.images_per_class,
            "variant": each.variant,
            "seed": each.seed,
            "diverged_at": None,
            **{
                key: last[key] for key in ("val_top1", "val_top5", "val_loss", "val_images", "train_loss", "train_top1")
            },
            "val_top1_best10": None,
            "steps": 4500,
            "images_seen": 288_000,
            "seconds": 60.0,
            "images_per_second": 4800.0,
            "series": series,
            "recipe": asdict(each.recipe),
            "record": record(study, each, "checksum"),
            "provenance": {**about, "devices": 1, "accelerator": "cpu", "fleet": [each.name], "finished": ""},
            "chance": 0.01,
            "weights_sha256": "0" * 64,
        }
        file.write_text(json.dumps(result, indent=1))
    return experiment


# ---------------------------------------------------------------------------------------------- logging


def logging_row(options: Options) -> Iterator[Line]:
    """Processor time of offline logging for a fleet of seven, as a share of that of the training itself."""
    noise(options.folder)
    try:
        import wandb  # noqa: F401
    except ImportError:
        yield Line("logging", "seven networks", "wandb is not installed", "", math.nan, math.nan, math.nan, 0)
        return
    shares: dict[str, list[float]] = {}
    for _ in range(1 if options.quick else min(3, options.repeats)):
        for what, share in child("logging_shares", 20 if options.quick else 400).items():
            shares.setdefault(what, []).append(share)
    for what, values in shares.items():
        unit = "s" if what.startswith("opening") else "% of the training"
        yield from compared("logging", "seven networks, --wandb offline", unit, {what: values})


def logging_shares(steps: int) -> dict[str, float]:
    """What logging took: of the training loop and of the thread that logs, in % of the training; of opening, in s."""
    quiet()
    spent = {"the training loop": 0.0, "the thread that logs": 0.0, "opening seven runs, once": 0.0}
    mutex = threading.Lock()

    def timed(method: str, what: str) -> None:
        inner = getattr(Tracker, method)

        def outer(*words: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return inner(*words, **options)
            finally:
                with mutex:
                    spent[what] += time.thread_time() - began

        setattr(Tracker, method, outer)

    for method in ("step", "validated", "state"):
        timed(method, "the training loop")
    timed("_send", "the thread that logs")
    timed("_open", "opening seven runs, once")
    began = time.process_time()
    trained(treatments("R*A"), steps, machine=Machine("cpu", wandb="offline"))
    total = time.process_time() - began
    spent["the thread that logs"] -= spent["opening seven runs, once"]
    training = total - sum(spent.values())
    return {what: value if what.startswith("opening") else 100 * value / training for what, value in spent.items()}


# ---------------------------------------------------------------------------------------------- the command

ROWS: dict[str, Callable[[Options], Iterator[Line]]] = {
    "input": input_row,
    "fleet": fleet_row,
    "step": step_row,
    "study": study_row,
    "ddp": ddp_row,
    "growth": growth_row,
    "logging": logging_row,
}


def number(value: float) -> str:
    """Three digits or all before the point: 0.0123, 1.23, 12.3, 12,345."""
    if value != value:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show(lines: Sequence[Line], title: str, console: Console) -> None:
    table = Table(title=title, box=None, title_justify="left")
    for column in ("row", "case", "way", "median", "lowest to highest", "unit", "times"):
        table.add_column(column, justify="right" if column in ("median", "lowest to highest", "times") else "left")
    before: tuple[str, str] = ("", "")
    for line in lines:
        times = ""
        if line.times is not None and line.times_low is not None and line.times_high is not None:
            times = f"{number(line.times)} ({number(line.times_low)} to {number(line.times_high)})"
        spread = f"{number(line.low)} to {number(line.high)}" if line.repeats > 1 else ""
        where = (line.row if line.row != before[0] else "", line.case if (line.row, line.case) != before else "")
        table.add_row(*where, line.way, number(line.median), spread, line.unit, times)
        before = line.row, line.case
    console.print(table)
    console.print("times: how many times better the first way of its case is, at the median pair (lowest to highest)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--repeats", type=int, default=None, help="rounds of each comparison (7; 2 with --quick)")
    parser.add_argument("--csv", type=Path, help="write the table here too")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="JPEGs for the row input")
    parser.add_argument("--whole", action="store_true", help="study: train all of the careful user's networks")
    parser.add_argument("--quick", action="store_true", help="two minutes: shows that it runs")
    words = parser.parse_args()
    console = Console(width=None if Console().is_terminal else 180, highlight=False)
    try:
        if unknown := [row for row in words.rows if row not in ROWS]:
            raise Refused(f"no row {unknown[0]!r}; write {', '.join(ROWS)}")
        repeats = words.repeats or (2 if words.quick else 7)
        quiet()
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that are started
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        torch.set_num_threads(1)
        about = provenance()
        machine = {
            "cpu": about["hardware"]["cpu"],
            "cores": len(os.sched_getaffinity(0)),
            "torch": torch.__version__,
            "commit": about["git_commit"],
        }
        lines: list[Line] = []
        for row in words.rows or ROWS:
            with tempfile.TemporaryDirectory() as scratch:
                kept = dict(os.environ)
                for line in ROWS[row](Options(repeats, words.quick, words.pictures, words.whole, Path(scratch))):
                    lines.append(line)
                    console.print(f"[dim]{line.row}: {line.case}: {line.way}: {number(line.median)} {line.unit}[/]")
                os.environ.clear()
                os.environ.update(kept)
            if words.csv is not None:  # after each row: what is measured is kept
                columns = [field.name for field in fields(Line)]
                words.csv.parent.mkdir(parents=True, exist_ok=True)
                with open(words.csv, "w", newline="", encoding="utf-8") as handle:
                    writer = csv.writer(handle, lineterminator="\n")
                    writer.writerow([*columns, *machine])
                    for line in lines:
                        values = [getattr(line, name) for name in columns]
                        shown = [f"{v:.6g}" if isinstance(v, float) else "" if v is None else v for v in values]
                        writer.writerow([*shown, *machine.values()])
        title = f"{machine['cpu']}, {machine['cores']} cores, torch {machine['torch']}, commit {machine['commit'][:7]}"
        show(lines, title, console)
    except Refused as error:
        print(f"benchmark: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

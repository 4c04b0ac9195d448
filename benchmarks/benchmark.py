"""How fast the package is, compared with what one would use otherwise, on this machine.

    python benchmarks/benchmark.py [ROW ...] [--repeats 7] [--csv FILE] [--quick]      (or: make bench)

Rows; without arguments all of them, one after the other:

    input     images per second: this package's stream; PIL and torchvision's transforms; decode_jpeg and v2; litdata
    fleet     seven frozen networks with a shared prefix, and all 28 treatments of a target, against one by one
    chain-step   ResNet-18 cut into layers, against a loop written by hand over torchvision's network
    chain-fleet  ResNet-18 frozen at every cut in one fleet, against one by one
    prefix    frozen layers of four networks: batch norm folded, channels first, bfloat16, against the plain form
    step      training steps under Lightning, with metrics and divergence checks, against a loop written by hand
    study     a whole study against one Lightning run per network (careful_user.py); needs data/demo, data/tiny-imagenet
    ddp       two fleets on two processes: one process for each, against both for one fleet after the other (DDP)
    growth    time and memory of fleets of 1, 7, 28, 56; commands on studies of 10, 300, 10,000 networks
    logging   what offline logging to W&B costs

What is compared is measured in turn, A B A B …, in one run. The table has medians over the repeats with the lowest and
the highest, and the median of the ratios of neighbours. One process with one thread, except for `study` and `ddp`. The
row `input` takes JPEGs from --pictures FOLDER, or draws some; `study` trains on packed sets, the other rows on noise.
litdata is an extra: pip install '.[bench]'.

Cost: nearly two hours on two cores (`ddp` 50 minutes, `study` 27), two minutes with --quick, which only shows that
everything runs.
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
from dataclasses import asdict, astuple, fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from chains import chain_fleet_row, chain_step_row, prefix_row
from lines import BY_HAND, OURS, Line, Options, compared, in_turn
from noise import DEMO, EXPERIMENTS, SMALL, by_hand, noise, noise_study, other_bases, train, trained, treatments
from PIL import Image
from rich.console import Console
from rich.table import Table

from transferability import available_cores
from transferability.data.packed import PackedImages, open_packed
from transferability.data.stream import Batch, TaskImages, TrainingBatches, task_images
from transferability.data.tasks import Normalisation, Task
from transferability.files import Refused
from transferability.launch.local import Job, run_study
from transferability.recipe import Recipe
from transferability.runs.ledger import pending
from transferability.runs.machine import Machine, set_thread_defaults
from transferability.runs.paths import StudyFolder, data_root
from transferability.runs.result import Result, read_result, write_result
from transferability.splits import task_classes
from transferability.study import Fleet, Network, Study, load_study, record
from transferability.training.device import most_memory
from transferability.training.fleet import FleetModule
from transferability.training.outcome import provenance
from transferability.training.tracking import Tracker
from transferability.training.trainer import quiet

BENCHMARKS = Path(__file__).resolve().parent


# ---------------------------------------------------------------------------------------------- input

BATCH = 256


def input_row(options: Options) -> Iterator[Line]:
    files = pictures(options)
    cases = ((256, 227, 2_000), (64, 56, 20_000), (32, 28, 20_000))
    seconds = 0.2 if options.quick else 1.0
    for size, crop, count in cases:
        packed = memory_map(files, size, count // 10 if options.quick else count, options.scratch)
        # Name → folder for ImageFolder, and whether it is read as in torchvision's reference scripts.
        folders = {f"JPEGs of {size} pixels": (image_folder(files, size, options.scratch), False)}
        if size == 256:
            folders["JPEGs as published"] = (image_folder(files, None, options.scratch), True)
        case = f"{crop} from {size}"
        ways: dict[str, Iterator[int]] = {OURS: our_batches(packed, crop, False)}
        for name, (folder, resized) in folders.items():
            ways |= {f"{way}, {name}": batches for way, batches in readers(folder, crop, resized, False).items()}
        stream = litdata_stream(packed, crop, options.scratch)
        if stream is not None:
            ways["litdata, raw"] = stream
        timed = {way: partial(rate, batches, seconds) for way, batches in ways.items()}
        yield from compared("input", f"{case}, uint8", "images/s", in_turn(timed, options.repeats))
        if stream is None:
            yield Line("input", case, "litdata is not installed", "", math.nan, math.nan, math.nan, 0)
        name, (folder, resized) = list(folders.items())[-1]
        ways = {OURS: our_batches(packed, crop, True)}
        ways |= {f"{way}, {name}": batches for way, batches in readers(folder, crop, resized, True).items()}
        timed = {way: partial(rate, batches, seconds) for way, batches in ways.items()}
        yield from compared("input", f"{case}, normalised float", "images/s", in_turn(timed, options.repeats))
        if size == 256:
            yield from compared("input", f"{case}, uint8, cold", "images/s", cold(packed, folder, crop, options))


def rate(batches: Iterator[int], seconds: float) -> float:
    """Images per second. batches: the numbers of images in the batches of an endless stream."""
    began, images = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        images += next(batches)
    return images / spent


def cold(packed: Path, folder: Path, crop: int, options: Options) -> dict[str, list[float]]:
    """Images per second of one pass over the images, after their pages were dropped from the page cache."""

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
        files = sorted(file for file in options.pictures.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg"))
        if not files:
            raise Refused(f"{options.pictures}: there is no .jpg or .jpeg file")
        return files
    random = np.random.default_rng(0)
    folder = options.scratch / "drawn"
    folder.mkdir()
    for number in range(20 if options.quick else 100):
        smooth = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        noisy = np.asarray(smooth, np.float32) + random.normal(0, 14, (375, 500, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=92)
    return sorted(folder.iterdir())


def squashed(file: Path, size: int) -> Image.Image:
    """The picture in a file, resized to a square."""
    with Image.open(file) as picture:
        return picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


def memory_map(files: Sequence[Path], size: int, count: int, folder: Path) -> Path:
    """A .npy of (count, size, size, 3) uint8: the pictures, repeated."""
    path = folder / f"{size}.npy"
    small = np.stack([np.asarray(squashed(file, size)) for file in files[:count]])
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, size, size, 3))
    for start in range(0, count, len(small)):
        images[start : start + len(small)] = small[: count - start]
    images.flush()
    return path


def image_folder(files: Sequence[Path], size: int | None, folder: Path) -> Path:
    """The pictures for torchvision's ImageFolder: as they are (None), or as JPEGs of `size` pixels."""
    root = folder / f"jpegs-{size}"
    for number, file in enumerate(files):
        copy = root / str(number % 10) / f"{number}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        if size is None:
            copy.write_bytes(file.read_bytes())
        else:
            squashed(file, size).save(copy, quality=90)
    return root


def our_batches(path: Path, crop: int, floats: bool) -> Iterator[int]:
    """The stream, shuffled, from the memory map. floats: minus the mean image, scaled and mirrored."""
    images = np.load(path, mmap_mode="r")
    count, size = images.shape[:2]
    task = TaskImages(images, np.arange(count), np.zeros(count, np.int64))
    endless = Recipe("input", steps=10**9, batch=BATCH, rate=0.1, crop=crop, validate_every=1)
    module: Any = SimpleNamespace(mean_A=torch.full((size, size, 3), 117.0), recipe=endless)
    for batch in TrainingBatches(task, endless, "benchmark", 0, endless.steps):
        yield len(FleetModule.normalised(module, batch, "A") if floats else batch.pixels)


def readers(folder: Path, crop: int, resized: bool, floats: bool) -> dict[str, Iterator[int]]:
    """torchvision's ImageFolder in a DataLoader: decoded by PIL, or by decode_jpeg with transforms v2.

    resized: RandomResizedCrop as in its reference scripts, else RandomCrop. floats: normalised float32.
    """
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms import v2

    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

    def cropped(version: Any) -> Any:
        return version.RandomResizedCrop(crop, antialias=True) if resized else version.RandomCrop(crop)

    to_floats: list[Any] = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    by_pil = transforms.Compose(
        [cropped(transforms), transforms.RandomHorizontalFlip(), *(to_floats if floats else [transforms.PILToTensor()])]
    )
    to_floats = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)] if floats else []
    by_v2 = v2.Compose([cropped(v2), v2.RandomHorizontalFlip(), *to_floats])

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
    """litdata's streaming data set of the same uint8 images, uncompressed, shuffled, randomly cropped.

    None if litdata is not installed.
    """
    try:
        import litdata
    except ImportError:
        return None
    images = np.load(path, mmap_mode="r")
    size = images.shape[1]
    chunks = str(folder / f"litdata-{size}")
    writer = litdata.streaming.Cache(chunks, chunk_bytes="64MB")
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
            for x, _ in litdata.StreamingDataLoader(Cropped(chunks, shuffle=True), batch_size=BATCH, num_workers=0):
                yield len(x)

    return endless()


# ---------------------------------------------------------------------------------------------- fleet, step


def fleet_row(options: Options) -> Iterator[Line]:
    data = noise(options.scratch)
    cases = {
        "7 frozen networks, A1B to A7B": (treatments("A*B"), 10 if options.quick else 200),
        "28 treatments of a target": (treatments("A*B", "B*B", "A*B+", "B*B+"), 4 if options.quick else 60),
    }
    for case, (names, steps) in cases.items():
        ways = {
            "one fleet": partial(trained, data, names, steps),
            "one by one": partial(trained, data, names, steps, together=False),
        }
        measured = {
            way: [1000 * value / steps for value in values] for way, values in in_turn(ways, options.repeats).items()
        }
        yield from compared("fleet", case, "ms per step of all", measured, more_is_better=False)


def step_row(options: Options) -> Iterator[Line]:
    data = noise(options.scratch)
    cases = {"a base alone": (["baseB"], 400), "a fleet of 7 frozen networks": (treatments("R*B"), 150)}
    for case, (names, steps) in cases.items():
        steps = steps // 20 if options.quick else steps
        images = steps * SMALL.recipe.batch
        ways = {
            OURS: partial(trained, data, names, steps),
            BY_HAND: partial(by_hand, data, names, steps),
        }
        measured = in_turn(ways, 2 * options.repeats)
        speeds = {way: [images / seconds for seconds in values] for way, values in measured.items()}
        yield from compared("step", case, "images/s", speeds)


# ---------------------------------------------------------------------------------------------- study


def study_row(options: Options) -> Iterator[Line]:
    """The whole study through `transferability run`; of the careful user's networks a sample, unless --whole."""
    for case, (study, times) in studies(options.quick).items():
        packed = options.data / study.data
        if not (packed / "manifest.json").exists():
            raise Refused(f"{packed} is not packed yet: see `transferability pack`, or leave out the row study")
        folder = options.scratch / study.name
        folder.mkdir()
        experiment = folder / "experiment.py"
        experiment.write_text(f"import pickle\n\nstudy = pickle.loads({pickle.dumps(study)!r})\n")
        pngs(open_packed(packed), study, folder / "pictures")
        began = time.perf_counter()
        command_line(["run", str(experiment), "--accelerator", "cpu"], folder / "runs", options.data)
        ours = time.perf_counter() - began
        chosen = list(study.networks) if options.whole else sample(study.networks, options.quick)
        spent = careful_user(experiment, chosen, folder)
        what = "all of them" if options.whole else f"{len(chosen)} of them, each kind, scaled by their numbers"
        name, way = f"{case}: {len(study.networks)} networks", f"a careful user's ({what})"
        # Two networks at a time.
        starting, training = (sum(spent[kind_of(member)][part] for member in study.networks) / 2 for part in (0, 1))
        yield from compared("study", name, "s", {OURS: [ours], way: [starting + training]}, more_is_better=False)
        if times > 1:  # ours times as much, of the careful user's only the training
            scaled = {OURS: [times * ours], way: [starting + times * training]}
            yield from compared("study", f"{name}, calculated for all steps", "s", scaled, more_is_better=False)


def command_line(arguments: Sequence[str], runs: Path, data: Path) -> None:
    """Runs `transferability` with these arguments in a process of its own."""
    environment = {**os.environ, "TRANSFERABILITY_DATA": str(data), "TRANSFERABILITY_RUNS": str(runs)}
    command = [sys.executable, "-m", "transferability.cli", *arguments]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def studies(quick: bool) -> dict[str, tuple[Study, int]]:
    """Case → a study, and how many times longer its training would be in full."""
    if quick:
        few = replace(SMALL.recipe, steps=24, validate_every=12)
        chosen = tuple(replace(member, recipe=few) for member in DEMO.networks if member.split == "random-0")
        return {"the demo, 24 of its 480 steps": (replace(DEMO, networks=chosen), 20)}
    tiny = load_study(EXPERIMENTS / "tiny_imagenet_cpu.py")
    full = tiny.networks[0].recipe
    # Up to the first validation; all stretches between validations are equally long.
    short = replace(full, name="short", steps=full.validate_every)
    chosen = tuple(replace(member, recipe=short) for member in tiny.networks if member.split == "random-0")
    return {
        "the demo": (DEMO, 1),
        f"Tiny ImageNet, random-0, {short.steps} of its {full.steps} steps": (
            replace(tiny, networks=chosen),
            full.validations,
        ),
    }


def kind_of(member: Network) -> tuple[str, bool, int]:
    """Networks of one kind cost the careful user the same: kind, whether copied layers are trained, n of a sample."""
    treatment = member.treatment
    nearest = min((1, 4, 7), key=lambda n: (abs(n - treatment.n), n)) if treatment.n else 0
    return treatment.kind, bool(treatment.rate), nearest


def sample(networks: Sequence[Network], quick: bool) -> list[Network]:
    """The bases of one split, and for its target B one network of each kind, with n = 1, 4 or 7 if there is one."""
    first = networks[0]
    members = [member for member in networks if (member.split, member.seed) == (first.split, first.seed)]
    exact = {kind_of(member) for member in members if member.treatment.n in (1, 4, 7)}
    kinds: dict[tuple[str, bool, int], Network] = {}
    for member in members:
        fits = member.treatment.n in (1, 4, 7) or kind_of(member) not in exact
        if member.treatment.target == "B" and member.stage and fits:
            kinds.setdefault(kind_of(member), member)
    treated = list(kinds.values())
    return [member for member in members if member.treatment.kind == "base"] + (treated[::6] if quick else treated)


def careful_user(
    experiment: Path, chosen: Sequence[Network], folder: Path
) -> Mapping[tuple[str, bool, int], tuple[float, float]]:
    """Trains `chosen` by careful_user.py, two at a time.

    Kind of a network → its mean seconds: of starting and ending a process, of training and validation. A kind that
    is not among them (with --quick) has the mean of all.
    """
    spent: dict[tuple[str, bool, int], list[tuple[float, float]]] = {}

    def train_by_user(member: Network) -> None:
        command = [sys.executable, str(BENCHMARKS / "careful_user.py"), str(experiment), member.name]
        command += ["--pictures", str(folder / "pictures" / member.split), "--out", str(folder / "careful")]
        began = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        training = float(json.loads(done.stdout.splitlines()[-1])["seconds"])
        spent.setdefault(kind_of(member), []).append((time.perf_counter() - began - training, training))

    for stage in (0, 1):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(train_by_user, [member for member in chosen if member.stage == stage]))

    def means(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
        return sum(a for a, _ in values) / len(values), sum(b for _, b in values) / len(values)

    overall = means([value for values in spent.values() for value in values])
    return defaultdict(lambda: overall, {kind: means(values) for kind, values in spent.items()})


def pngs(packed: PackedImages, study: Study, folder: Path) -> None:
    """The packed images, shrunk as the recipe says, as PNG files for ImageFolder: SPLIT/TASK/{train,val}/LABEL."""
    shrink = study.networks[0].recipe.shrink
    for split in dict.fromkeys(member.split for member in study.networks):
        for letter in "AB":
            task = Task(split, letter, packed, task_classes(packed.classes, split, letter))
            for part, images in (("train", task.training()), ("val", task.validation_images())):
                chosen = task_images(images, shrink)
                for number, (row, label) in enumerate(zip(chosen.rows, chosen.labels, strict=True)):
                    file = folder / split / letter / part / f"{label:03}" / f"{number}.png"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(chosen.images[row]).save(file, compress_level=1)


# ---------------------------------------------------------------------------------------------- ddp


def ddp_row(options: Options) -> Iterator[Line]:
    """When one process for each fleet is faster than two processes for one fleet after the other."""
    data = noise(options.scratch)
    fleets = {
        "one base per fleet": (["baseA", "baseB"], 25_600),
        "7 fine-tuned networks per fleet": (treatments("B*A+", "A*B+"), 5_120),
        "7 frozen networks per fleet": (treatments("B*A", "A*B"), 12_800),
    }
    for case, (names, images) in fleets.items():
        for batch in (32, 128, 512):
            steps = 2 if options.quick else images // batch
            ways = {
                "two fleets side by side": partial(on_two_processes, data, names, steps, batch, 1),
                "one after the other, DDP": partial(on_two_processes, data, names, steps, batch, 2),
            }
            measured = in_turn(ways, options.repeats)
            speeds = {way: [2 * steps * batch / seconds for seconds in values] for way, values in measured.items()}
            yield from compared("ddp", f"{case}, batch {batch}", "images/s", speeds)


def on_two_processes(data: Path, names: Sequence[str], steps: int, batch: int, devices: int) -> float:
    """Seconds of the training of two fleets, as result.json counts them, with `devices` processes for each fleet."""
    study, _ = noise_study(names, steps)
    networks = tuple(replace(member, recipe=replace(member.recipe, batch=batch)) for member in study.networks)
    study = replace(study, networks=networks)
    chosen = [member for member in networks if member.short_name in names]
    with tempfile.TemporaryDirectory() as folder:
        job = Job(study, StudyFolder(Path(folder)), data, Machine("cpu", devices=devices, most_validated=2))
        train(replace(job, machine=Machine("cpu", most_validated=1)), other_bases(study, chosen))
        waiting = pending(study, job.folder, chosen, None)
        run_study(job, chosen, waiting, 2 // devices, Console(quiet=True))
        seconds = [read_result(job.folder.result(fleet.networks[0].name)).seconds for fleet in waiting]
    return max(seconds) if devices == 1 else sum(seconds)


# ---------------------------------------------------------------------------------------------- growth

FLEETS = (1, 7, 28, 56)
STUDIES = (10, 300, 10_000)


def growth_row(options: Options) -> Iterator[Line]:
    data = noise(options.scratch)
    yield from fleet_growth(data, options)
    for count in (10, 300) if options.quick else STUDIES:
        folder = options.scratch / f"study-{count}"
        experiment = fake_study(folder, count)
        for command in ("plan", "status", "results"):
            seconds = []
            for _ in range(options.repeats):
                began = time.perf_counter()
                command_line([command, str(experiment)], folder / "runs", data)
                seconds.append(time.perf_counter() - began)
            ways = {f"transferability {command}": seconds}
            yield from compared("growth", f"a study of {count:,} networks", "s", ways)


def fleet_growth(data: Path, options: Options) -> Iterator[Line]:
    """Time and memory of fleets of different sizes."""
    steps = 3 if options.quick else 30
    # Trained in all layers, so that all cost the same; their rates set them apart.
    names = treatments(*(f"A*B+{rate}" for rate in ("", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7")))
    measured: dict[int, list[tuple[float, float]]] = {count: [] for count in FLEETS}
    for _ in range(1 if options.quick else 3):
        for count in FLEETS:
            measured[count].append(child("fleet_memory", str(data), names[:count], steps))
    for count in FLEETS:
        milliseconds = [1000 * seconds / steps / count for seconds, _ in measured[count]]
        peaks = [megabytes for _, megabytes in measured[count]]
        yield from compared("growth", f"a fleet of {count}", "ms per step and network", {"training": milliseconds})
        yield from compared("growth", f"a fleet of {count}", "MB", {"peak memory": peaks})
    pairs = zip(measured[1], measured[FLEETS[-1]], strict=True)
    growths = [(largest - smallest) / (FLEETS[-1] - 1) for (_, smallest), (_, largest) in pairs]
    yield from compared("growth", f"each network from 2 to {FLEETS[-1]}", "MB", {"peak memory": growths})
    needed = {"its weights, gradients, momentum, activations": [network_memory()]}
    yield from compared("growth", "one network", "MB", needed)


def child(function: str, *arguments: Any) -> Any:
    """What a function of this file returns, called in a process of its own. Arguments and result pass as JSON."""
    code = f"import json, sys, benchmark; print(json.dumps(benchmark.{function}(*json.loads(sys.argv[1]))))"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCHMARKS), *sys.path])},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def fleet_memory(data: str, names: Sequence[str], steps: int) -> tuple[float, float]:
    """(seconds of the steps, peak memory in MB) of one fleet."""
    quiet()
    seconds = trained(Path(data), names, steps)
    return seconds, most_memory(torch.device("cpu")) / 2**20


def network_memory() -> float:
    """MB of one network: weights, gradients, momentum, and what its backward pass needs of a batch."""
    study, chosen = noise_study(["baseB"], 1)
    module = FleetModule(
        study, Fleet(tuple(chosen)), 10, {}, {"B": Normalisation(np.zeros((32, 32, 3), np.float32), 1 / 64)}
    )
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    zeros = torch.zeros(SMALL.recipe.batch, dtype=torch.int64)
    pixels = torch.zeros(SMALL.recipe.batch, 3, SMALL.recipe.crop, SMALL.recipe.crop, dtype=torch.uint8)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = module(Batch(pixels, zeros, zeros, zeros, zeros, zeros.bool(), torch.empty(len(pixels), 0)))
    weights = {parameter.untyped_storage().data_ptr(): parameter.nbytes for parameter in module.networks.parameters()}
    activations = sum(size for address, size in kept.items() if address not in weights)
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
    study, origin, random = load_study(experiment), provenance(), np.random.default_rng(0)
    runs = StudyFolder(folder / "runs" / study.name)
    results = [fake_result(study, member, origin, random) for member in study.networks]
    with ThreadPoolExecutor(8) as pool:  # each file waits for the disk
        list(pool.map(lambda result: write_result(runs.result(result.name), result), results))
    return experiment


def fake_result(study: Study, member: Network, origin: Mapping[str, Any], random: np.random.Generator) -> Result:
    """A result of random numbers. origin: `provenance()`."""
    treatment = member.treatment
    keys = ("rate", "train_loss", "train_top1", "val_loss", "val_top1", "val_top5", "seconds")
    series: dict[str, list[Any]] = {key: random.random(6).tolist() for key in keys}
    series |= {"step": list(range(750, 4501, 750)), "val_images": [5000] * 6}
    finals = ("val_top1", "val_top5", "val_loss", "val_images", "train_loss", "train_top1")
    return Result(
        name=member.name,
        study=study.name,
        split=member.split,
        network=member.short_name,
        kind=treatment.kind,
        source=treatment.source,
        target=treatment.target,
        n=treatment.n,
        preserved=treatment.preserved,
        plus=treatment.plus,
        images_per_class=member.images_per_class,
        variant=member.variant,
        seed=member.seed,
        diverged_at=None,
        **{key: series[key][-1] for key in finals},
        val_top1_best10=None,
        steps=4500,
        images_seen=288_000,
        seconds=60.0,
        images_per_second=4800.0,
        series=series,
        recipe=asdict(member.recipe),
        record=record(study, member, {study.data: "checksum"}),
        provenance={**origin, "devices": 1, "accelerator": "cpu", "fleet": [member.name], "finished": ""},
        chance=0.01,
        classes=100,
        weights_sha256="0" * 64,
    )


# ---------------------------------------------------------------------------------------------- logging


def logging_row(options: Options) -> Iterator[Line]:
    """Processor time of offline logging for a fleet of seven, as a share of that of the training itself."""
    try:
        import wandb  # noqa: F401
    except ImportError:
        yield Line("logging", "seven networks", "wandb is not installed", "", math.nan, math.nan, math.nan, 0)
        return
    data = noise(options.scratch)
    shares: dict[str, list[float]] = {}
    for _ in range(1 if options.quick else min(3, options.repeats)):
        for part, share in child("logging_shares", str(data), 20 if options.quick else 400).items():
            shares.setdefault(part, []).append(share)
    for part, values in shares.items():
        unit = "s" if part.startswith("opening") else "% of the training"
        yield from compared("logging", "seven networks, --wandb offline", unit, {part: values})


def logging_shares(data: str, steps: int) -> dict[str, float]:
    """What logging took: of the training loop and of the thread that logs, in % of the training; of opening, in s."""
    quiet()
    spent = {"the training loop": 0.0, "the thread that logs": 0.0, "opening seven runs, once": 0.0}
    mutex = threading.Lock()

    def timed(method: str, part: str) -> None:
        inner = getattr(Tracker, method)

        def outer(*arguments: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return inner(*arguments, **options)
            finally:
                with mutex:
                    spent[part] += time.thread_time() - began

        setattr(Tracker, method, outer)

    for method in ("step", "validated", "state"):
        timed(method, "the training loop")
    timed("_send", "the thread that logs")
    timed("_open", "opening seven runs, once")
    began = time.process_time()
    trained(Path(data), treatments("R*A"), steps, machine=Machine("cpu", wandb="offline"))
    total = time.process_time() - began
    spent["the thread that logs"] -= spent["opening seven runs, once"]
    training = total - sum(spent.values())
    return {part: value if part.startswith("opening") else 100 * value / training for part, value in spent.items()}


# ---------------------------------------------------------------------------------------------- the command

ROWS: dict[str, Callable[[Options], Iterator[Line]]] = {
    "input": input_row,
    "fleet": fleet_row,
    "step": step_row,
    "chain-step": chain_step_row,
    "chain-fleet": chain_fleet_row,
    "prefix": prefix_row,
    "study": study_row,
    "ddp": ddp_row,
    "growth": growth_row,
    "logging": logging_row,
}

ONE_THREAD = {"fleet", "step", "chain-step", "chain-fleet", "prefix"}


def number(value: float) -> str:
    """Three digits, or all before the point: 0.0123, 1.23, 12.3, 12,345; "" for NaN."""
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show(lines: Sequence[Line], title: str, console: Console) -> None:
    """Prints the table."""
    table = Table(title=title, box=None, title_justify="left")
    for column in ("row", "case", "way", "median", "lowest to highest", "unit", "times"):
        table.add_column(column, justify="right" if column in ("median", "lowest to highest", "times") else "left")
    previous: tuple[str, str] = ("", "")
    for line in lines:
        times = ""
        if line.times is not None and line.times_low is not None and line.times_high is not None:
            times = f"{number(line.times)} ({number(line.times_low)} to {number(line.times_high)})"
        spread = f"{number(line.low)} to {number(line.high)}" if line.repeats > 1 else ""
        row = line.row if line.row != previous[0] else ""
        case = line.case if (line.row, line.case) != previous else ""
        table.add_row(row, case, line.way, number(line.median), spread, line.unit, times)
        previous = line.row, line.case
    console.print(table)
    console.print("times: how many times better the first way of its case is, at the median pair (lowest to highest)")


def write_csv(file: Path, lines: Sequence[Line], machine: Mapping[str, Any]) -> None:
    """Writes the table, with the machine in every row."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([*(field.name for field in fields(Line)), *machine])
        for line in lines:
            values = ["" if value is None else value for value in astuple(line)]
            cells = [f"{value:.6g}" if isinstance(value, float) else value for value in values]
            writer.writerow([*cells, *machine.values()])


def measure(arguments: argparse.Namespace, console: Console) -> None:
    """Measures the rows, prints the table and writes the CSV."""
    if unknown := [row for row in arguments.rows if row not in ROWS]:
        raise Refused(f"no row {unknown[0]!r}; write {', '.join(ROWS)}")
    repeats = arguments.repeats or (2 if arguments.quick else 7)
    origin = provenance()
    machine = {
        "cpu": origin["hardware"]["cpu"],
        "cores": available_cores(),
        "torch": torch.__version__,
        "commit": origin["git_commit"],
    }
    lines: list[Line] = []
    for row in arguments.rows or ROWS:
        with tempfile.TemporaryDirectory() as scratch:
            options = Options(repeats, arguments.quick, arguments.pictures, arguments.whole, data_root(), Path(scratch))
            for line in ROWS[row](options):
                lines.append(line)
                console.print(f"[dim]{line.row}: {line.case}: {line.way}: {number(line.median)} {line.unit}[/]")
        if arguments.csv is not None:  # after each row: a later one may fail
            write_csv(arguments.csv, lines, machine)
    title = f"{machine['cpu']}, {machine['cores']} cores, torch {machine['torch']}, commit {machine['commit'][:7]}"
    show(lines, title, console)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--repeats", type=int, default=None, help="rounds of each comparison (7; 2 with --quick)")
    parser.add_argument("--csv", type=Path, help="write the table here too")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="JPEGs for the row input")
    parser.add_argument("--whole", action="store_true", help="study: train all of the careful user's networks")
    parser.add_argument("--quick", action="store_true", help="two minutes: only shows that everything runs")
    parser.add_argument(
        "--processor",
        action="store_true",
        help="count processor time, on a busy machine (fleet, step, chain-*, prefix)",
    )
    arguments = parser.parse_args()
    quiet()
    if arguments.processor:
        if not {*arguments.rows} <= ONE_THREAD or not arguments.rows:
            parser.error(f"--processor is for rows of one thread: {', '.join(sorted(ONE_THREAD))}")
        time.perf_counter = time.monotonic = time.process_time
    set_thread_defaults()  # for the processes that are started
    torch.set_num_threads(1)
    try:
        measure(arguments, Console(width=None if Console().is_terminal else 180, highlight=False))
    except Refused as error:
        print(f"benchmark: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

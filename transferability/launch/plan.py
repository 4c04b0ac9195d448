"""A few steps of a fleet on the machine at hand: what the study takes (`plan --measure`), and its fastest form."""

import signal
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from rich.console import Console
from rich.progress import track

from transferability import available_cores
from transferability.data.loader import Prefetched, prefetch_threads, resident
from transferability.data.packed import known_classes, open_packed
from transferability.data.stream import ResidentImages, TaskImages, TrainingBatches, task_images
from transferability.files import in_words
from transferability.launch.local import FORMS, fleet_operations, hours
from transferability.launch.slurm import fleet_memory
from transferability.networks.caffenet import Conv
from transferability.networks.layers import build, draw
from transferability.runs.paths import data_root
from transferability.splits import task_classes
from transferability.study import Fleet, Study
from transferability.training.device import gpu_arithmetic, release_memory
from transferability.training.fleet import FleetModule

# Dense bfloat16, floating-point operations a second, by the vendor's data sheets.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12}
# On a CPU a step is measured with so few images that it takes about so many operations: some seconds.
CPU_STEP = 200e9
PATIENCE = 15.0  # bfloat16 takes ten times as long on a CPU without instructions for it
# How far a form's losses may be from the plain one's after the steps that come before the timed ones, and the norms
# of its gradients; relative.
TOLERANCE = {"float32": (1e-3, 1e-2), "bfloat16": (2e-2, 1e-1)}
GAIN = 0.97  # of the plain form's time: what takes longer is not worth another form


@dataclass(frozen=True)
class Kind:
    """Fleets that cost the same: same recipe, same number of classes, same treatments but for the letters."""

    fleets: tuple[Fleet, ...]
    classes: int

    @property
    def name(self) -> str:
        """`baseA`, or `A1A + 27`."""
        networks = self.fleets[0].networks
        return networks[0].short_name + (f" + {len(networks) - 1}" if len(networks) > 1 else "")


@dataclass(frozen=True)
class Measured:
    """A kind of fleet in one precision and form. batch: images a step, as measured. seconds: of a step.

    memory: bytes at most. losses: of each network, the mean over the steps before the timed ones. norms: of the
    gradient of each parameter in the last of them. `why`: why there are no numbers, or why they must not be used,
    in words.
    """

    kind: Kind
    precision: str
    batch: int
    form: str = "plain"
    seconds: float = 0.0
    memory: float = 0.0
    losses: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()
    why: str = ""

    @property
    def rate(self) -> float:
        """Images of the stream a second."""
        return self.batch / self.seconds if self.seconds else 0.0

    def hours(self) -> float:
        """Of one whole fleet."""
        recipe = self.kind.fleets[0].networks[0].recipe
        return recipe.steps * recipe.batch / self.rate / 3600 if self.rate else 0.0


def class_counts(study: Study) -> dict[tuple[str, str], int]:
    """(split, target) → number of classes; 100 where the classes of the data set are not known."""
    table = known_classes(data_root() / study.data)
    pairs = {(network.split, network.treatment.target) for network in study.networks}
    return {pair: 100 if table is None else len(task_classes(table, *pair)) for pair in pairs}


def kinds(divided: Sequence[Fleet], counts: dict[tuple[str, str], int]) -> list[Kind]:
    """`divided` by what it costs."""
    groups: dict[Any, list[Fleet]] = {}
    for fleet in divided:
        first = fleet.networks[0]
        classes = counts[first.split, first.treatment.target]
        alike = tuple(
            (treatment.kind, treatment.n, treatment.preserved, treatment.rate)
            for treatment in (network.treatment for network in fleet.networks)
        )
        groups.setdefault((first.recipe, first.images_per_class, classes, alike), []).append(fleet)
    return [Kind(tuple(group), key[2]) for key, group in groups.items()]


def makespan(measured: Sequence[Measured], devices: int) -> float:
    """Hours until all fleets are trained, each on one of `devices` as soon as one is free and its bases are done."""
    cost = {fleet: each.hours() for each in measured for fleet in each.kind.fleets}
    free = [0.0] * devices
    heapify(free)
    done: dict[str, float] = {}
    for fleet in sorted(cost, key=lambda fleet: (fleet.stage, -cost[fleet])):  # the long ones first
        ready = max((done.get(network.source_name or "", 0.0) for network in fleet.networks), default=0.0)
        end = max(heappop(free), ready) + cost[fleet]
        heappush(free, end)
        done.update({network.name: end for network in fleet.networks})
    return max(done.values())


# ------------------------------------------------------------------------------------------ measuring


class Clock(L.Callback):
    """Takes the time of `steps` steps after the first `warm`; of fewer, but one at least, after PATIENCE seconds.

    Before that, the losses of the steps until then and the norms of the last one's gradients.
    """

    def __init__(self, warm: int, steps: int) -> None:
        self.warm, self.steps = warm, steps
        self.begun = self.seconds = 0.0
        self.losses: tuple[float, ...] = ()
        self.norms: tuple[float, ...] = ()

    def on_train_start(self, trainer: Any, module: Any) -> None:
        # In the place of Lightning's handler, with which a process that is told to end looks as if it was done.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        done, now = batch_index + 1 - self.warm, time.perf_counter()
        late = done > 0 and now - self.begun > PATIENCE
        if done not in (0, self.steps) and not late:
            return
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if done:
            self.seconds = (now - self.begun) / done
            trainer.should_stop = True
        else:
            self.losses = tuple(module.training_tally.compute()[:, 1].tolist())
            self.norms = tuple(each.grad.norm().item() for each in module.parameters() if each.grad is not None)
            self.begun = time.perf_counter()


def pictures(study: Study, fleet: Fleet, classes: int) -> TaskImages:
    """The task's images; random ones of the right size if the set is not packed."""
    first, folder = fleet.networks[0], data_root() / study.data
    if (folder / "manifest.json").exists():
        packed = open_packed(folder)
        chosen = task_classes(packed.classes, first.split, first.treatment.target)
        return task_images(packed.train, chosen, first.images_per_class, first.recipe.shrink)
    side = first.recipe.crop * 256 // 227
    random = np.random.default_rng(0).integers(0, 256, (512, side, side, 3), dtype=np.uint8)
    return TaskImages(random, np.arange(512), np.arange(512) % classes)


def sample(study: Study, kind: Kind, device: torch.device) -> TaskImages | ResidentImages:
    """Some of the task's images, in memory: in the GPU's, if it holds all of them in training (`ImagesModule`)."""
    fleet = kind.fleets[0]
    images, recipe = pictures(study, fleet, kind.classes), fleet.networks[0].recipe
    some = np.unique(np.linspace(0, len(images.rows) - 1, max(512, 4 * recipe.batch)).astype(int))
    few = TaskImages(images.images[images.rows[some]], np.arange(len(some)), images.labels[some])
    if device.type != "cuda":
        return few
    fits = images.bytes + 1.5 * fleet_memory(study, fleet) <= free_memory(device)
    return resident(few, device) if fits else replace(few, pinned=True)


def measure(
    study: Study,
    kind: Kind,
    precision: str,
    batch: int,
    device: torch.device,
    images: TaskImages | ResidentImages,
    form: str = "plain",
    clock: Clock | None = None,
) -> Measured:
    """Trains a fleet of this kind, with weights and mean images that mean nothing, for a few steps on `images`."""
    gpu = device.type == "cuda"
    its = partial(Measured, kind, precision, batch, form)
    recipe = replace(kind.fleets[0].networks[0].recipe, batch=batch, precision=precision)
    fleet = Fleet(tuple(replace(network, recipe=recipe) for network in kind.fleets[0].networks))
    needed, there = fleet_memory(study, fleet), free_memory(device)
    if needed > there:
        return its(why=f"takes about {needed / 1e9:.0f} GB, {there / 1e9:.0f} are free")
    sources = {network.treatment.source for network in fleet.networks if network.source_name}
    weights: dict[str, torch.Tensor] = {}
    for (name, layer), (_, spec) in zip(
        build(study.architecture, kind.classes), study.architecture.layers, strict=True
    ):
        draw(layer, spec, recipe.initialisation, "measure", name)
        weights |= {f"{name}.{key}": value.detach() for key, value in layer.named_parameters()}
    mean = np.full((images.size, images.size, 3), 128, np.float32)
    tasks = {fleet.networks[0].treatment.target, *sources}
    clock = clock or (Clock(20, 40) if gpu else Clock(1, 3))
    steps = clock.warm + clock.steps
    batches: Any = TrainingBatches(images, recipe, "measure", 0, steps)
    if gpu:
        batches = Prefetched(batches, device, prefetch_threads(images))
    before = start_memory(device)
    module = FleetModule(study, fleet, kind.classes, dict.fromkeys(sources, weights), dict.fromkeys(tasks, mean), form)
    trainer = L.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=1,
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
        max_steps=steps,
        use_distributed_sampler=False,
        callbacks=[clock],
        plugins=[SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else [],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        with gpu_arithmetic(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*have no `val_dataloader`")
            trainer.fit(module, batches)
    except RuntimeError as error:
        first: BaseException = error  # what a capture that fails ends with is not what it failed of
        while first.__context__ is not None:
            first = first.__context__
        if isinstance(first, torch.cuda.OutOfMemoryError):
            return its(why=f"does not fit into {there / 1e9:.0f} GB")
        if form == "plain":
            raise
        after = "" if first is error else f", after {in_words(first)}"
        return its(why=f"failed: {in_words(error)}{after}")  # the plain one is there
    # The kernel's count of a process's memory is off by some pages: what takes none may seem to give some back.
    return its(clock.seconds, max(0.0, most_memory(device) - before), clock.losses, clock.norms)


def measure_forms(
    study: Study, kind: Kind, precision: str, batch: int, device: torch.device, forms: Sequence[str] = FORMS
) -> list[Measured]:
    """This kind of fleet in each of `forms`, the plain one first; with a reason where one does not agree with it."""
    grouped = any(isinstance(spec, Conv) and spec.groups > 1 for _, spec in study.architecture.layers)
    images = sample(study, kind, device)
    out: list[Measured] = []
    for form in forms:
        if "split" in form and not grouped:
            continue
        each = measure(study, kind, precision, batch, device, images, form)
        out.append(compared(out[0], each) if out else each)
        release_memory()
        if out[0].why:
            break
    return out


def compared(plain: Measured, other: Measured) -> Measured:
    """`other`, with a reason not to use it if its losses or its gradients are not those of `plain`."""
    if other.why:
        return other
    for what, tolerance in zip(("losses", "norms"), TOLERANCE[plain.precision], strict=True):
        expected, found = np.array(getattr(plain, what)), np.array(getattr(other, what))
        if not np.allclose(found, expected, rtol=tolerance, atol=0, equal_nan=True):
            with np.errstate(all="ignore"):
                off = np.nan_to_num(abs(found / expected - 1), nan=np.inf).max()
            return replace(other, why=f"its {what} are off by {off:.1%}, more than {tolerance:.1%}")
    return other


def fastest(measured: Sequence[Measured]) -> Measured:
    """Of one kind in one precision, the plain form first: the fastest that may be used, if it gains something."""
    best = min((each for each in measured if not each.why), key=lambda each: each.seconds, default=measured[0])
    return best if best.seconds < GAIN * measured[0].seconds else measured[0]


def free_memory(device: torch.device) -> float:
    """Bytes: of the GPU, or of this machine."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    words = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return 1024.0 * int(words["MemAvailable"].split()[0])


def start_memory(device: torch.device) -> float:
    """Bytes in use; `most_memory` counts from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return float(torch.cuda.memory_reserved(device))
    Path("/proc/self/clear_refs").write_text("5")  # the most becomes what is in use now
    return most_memory(device)


def most_memory(device: torch.device) -> float:
    """Bytes in use at most since `start_memory`: what torch took of the GPU, or what this process holds."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_reserved(device))
    words = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024.0 * int(words["VmHWM"].split()[0])


# ------------------------------------------------------------------------------------------ for people

COLUMNS = (
    "kind", "fleets", "networks", "classes", "precision", "form", "batch", "images_per_second", "ms_per_step",
    "memory_gb", "tflops", "peak_share", "hours_each", "why",
)  # fmt: skip


def measure_study(study: Study, divided: Sequence[Fleet], batch: int | None, console: Console) -> list[Measured]:
    """Each kind of fleet in its recipe's precision and, for advice, in bfloat16; on the first GPU, else on one core.

    On a GPU in each form.
    """
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", 0) if gpu else torch.device("cpu")
    if not gpu:
        torch.set_num_threads(1)  # as `run` does: a process a core
    todo = []
    for kind in kinds(divided, class_counts(study)):
        recipe = kind.fleets[0].networks[0].recipe
        few = max(2, int(CPU_STEP / (fleet_operations(study, kind.fleets[0]) / recipe.steps / recipe.batch)))
        size = batch or (recipe.batch if gpu else min(recipe.batch, few))
        todo += [(kind, precision, size) for precision in dict.fromkeys((recipe.precision, "bfloat16"))]
    shown = track(todo, "measuring", console=console, transient=True, disable=not console.is_terminal)
    forms = FORMS if gpu else FORMS[:1]
    return [
        each for kind, precision, size in shown for each in measure_forms(study, kind, precision, size, device, forms)
    ]


def short(value: float) -> str:
    """Three digits at most, two for what is small; no exponent for large numbers."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}" if value >= 0.1 else f"{value:.2g}"


def spread(values: Sequence[float]) -> str:
    """The lowest and the highest, in two digits."""
    return " to ".join(dict.fromkeys(f"{value:.2g}" for value in (min(values), max(values))))


def table(study: Study, measured: Sequence[Measured]) -> list[tuple[Any, ...]]:
    """The rows under COLUMNS; empty where something is not known."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((value for word, value in PEAKS.items() if word in name), 0.0)
    rows = []
    for each in measured:
        fleet = each.kind.fleets[0]
        recipe = fleet.networks[0].recipe
        speed = fleet_operations(study, fleet, each.kind.classes) / recipe.steps / recipe.batch * each.rate
        known: tuple[Any, ...] = ("",) * 6
        if each.rate:
            share = f"{speed / peak:.1%}" if peak and each.precision == "bfloat16" else ""
            numbers = (each.rate, 1000 * each.seconds, each.memory / 1e9, speed / 1e12)
            known = (*map(short, numbers), share, short(each.hours()))
        counts = (len(each.kind.fleets), len(fleet.networks), each.kind.classes)
        rows.append((each.kind.name, *counts, each.precision, each.form, each.batch, *known, each.why))
    return rows


def summary(measured: Sequence[Measured], packed: bool) -> list[str]:
    """What the study takes on this machine and what bfloat16 would change, in lines for people."""
    gpu = torch.cuda.is_available()
    lines = [] if packed else ["The set is not packed: measured with random pictures, which come from memory."]
    groups: dict[tuple[Kind, str], list[Measured]] = {}
    for each in measured:
        groups.setdefault((each.kind, each.precision), []).append(each)
    best = {key: fastest(group) for key, group in groups.items()}
    asked = [
        each for (kind, precision), each in best.items() if precision == kind.fleets[0].networks[0].recipe.precision
    ]
    scaled = [each for each in asked if each.batch != each.kind.fleets[0].networks[0].recipe.batch]
    if scaled:
        what = f"{len(scaled)} of {len(asked)} kinds"
        lines.append(f"Measured with fewer images a step than their recipe has: {what}.")
    several = 8 if gpu else available_cores()
    unit = "GPU" if gpu else "core"
    low = {kind: each for (kind, precision), each in best.items() if precision == "bfloat16"}
    for each in asked:
        if each.why:
            lines.append(f"{each.kind.name} was not measured: it {each.why}; see --fleet-size.")
    for each in measured:
        if each.form != "plain" and each.why:
            lines.append(f"{each.kind.name}, {each.precision}, in form {each.form}: {each.why}. It is not used.")
    if not any(each.why for each in asked):
        alone, together = hours(makespan(asked, 1)), hours(makespan(asked, several))
        lines.append(
            f"The study, calculated from these: {alone} on one {unit}, {together} on {several}, a fleet on each."
        )
    gains = [low[each.kind].rate / each.rate for each in asked if each is not low[each.kind] and each.rate]
    tried = [each for each in asked if each.rate and len(groups[each.kind, each.precision]) > 1]
    if tried:
        faster = [each.rate / groups[each.kind, each.precision][0].rate for each in tried]
        lines.append(f"In its fastest form a fleet is {spread(faster)} times as fast as in the plain one.")
    if gains:
        lines.append(
            f"In bfloat16 {spread(gains)} times as fast here. Precision belongs to the recipe: this is advice."
        )
    return lines

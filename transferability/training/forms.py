"""Forms of a training step: faster ways to compute it. All agree with the plain one up to rounding.

    plain            as it is written: what a CPU does, bit for bit, and what every other form is compared with
    ungrouped        a grouped convolution is one convolution per group; some of a GPU's grouped ones are slow
    graph            the step is recorded once as a CUDA graph and replayed, the networks of a fleet beside each other:
                     small networks no longer wait for Python, and fill the GPU together
    ungrouped+graph  both
    folded           batch norms of frozen layers are folded into the convolutions below them; frozen layers alone,
                     on a CPU: 1.04 times as fast for ResNet-18, 1.13 for EfficientNet-B0, 1.18 for MobileNetV2, and
                     within 2.2e-5 of the largest feature (docs/speed.md); not yet measured on a GPU

The first four are forms of CaffeNet and its sisters, the first and the last those of networks that are cut.

Where one GPU trains a fleet long enough, `choose_form` tries them at the fleet's start, compares them with the plain
one, and takes the fastest that agrees.
"""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from signal import SIG_DFL
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch

from transferability.data.loader import Prefetched, prefetch_threads, resident
from transferability.data.stream import DomainBatches, ResidentImages, TaskImages, TrainingBatches, task_images
from transferability.data.tasks import Normalisation, Tasks
from transferability.files import Refused, in_words
from transferability.networks.caffenet import Architecture, Conv
from transferability.networks.chain import Chain
from transferability.networks.layers import build, draw, tensors
from transferability.runs.machine import CHAIN_FORMS, FORMS, Machine, refuse_form
from transferability.study import Fleet, Study
from transferability.training.cost import SAFETY, fleet_memory
from transferability.training.device import free_memory, gpu_arithmetic, most_memory, release_memory, start_memory
from transferability.training.fleet import FleetModule
from transferability.training.methods import fleet_module
from transferability.training.trainer import bare_trainer, on_sigterm

PROBE_PAYS = 2_000  # steps of a recipe from which it pays to try each form for 60
PATIENCE = 15.0  # bfloat16 takes ten times as long on a CPU without instructions for it
# How far a form's losses may be from the plain one's after the steps before the timed ones, and the norms of its
# gradients; relative.
TOLERANCE = {"float32": (1e-3, 1e-2), "bfloat16": (2e-2, 1e-1)}
GAIN = 0.97  # of the plain form's time: what takes longer is not worth another form


# ------------------------------------------------------------------------------------------ the choice


class FormChoice(NamedTuple):
    """The form of a fleet's training step.

    tried: where forms were measured, each one's ms per step, or why it must not be used. memory: bytes, as measured.
    """

    form: str
    tried: Mapping[str, float | str] = {}
    memory: float = 0.0


def saved_choice(values: Sequence[Any]) -> FormChoice:
    """The choice that fleet.json holds. Earlier versions called the form `ungrouped` `split`."""
    form, *rest = values
    return FormChoice(str(form).replace("split", "ungrouped"), *rest)


def possible_form(form: str, alone: bool) -> str:
    """`form` without a graph, where the fleet is not `alone` on one GPU."""
    if alone or "graph" not in form:
        return form
    return "ungrouped" if "ungrouped" in form else "plain"


def choose_form(
    study: Study, fleet: Fleet, classes: int, data: Path, machine: Machine, chosen: FormChoice | None
) -> FormChoice:
    """The fastest form on a GPU. `chosen` when the fleet was started, it stays, as far as this machine can do it.

    data: the folder of packed sets.
    """
    gpu = machine.accelerator != "cpu" and torch.cuda.is_available()
    refuse_form(machine.form, gpu, machine.processes)
    if len(fleet.tasks) > 1:  # a graph would keep the first step's weight of the domains
        if machine.form not in ("auto", "plain"):
            raise Refused(f"--form {machine.form}: networks of two tasks have none; write auto or plain")
        return FormChoice("plain")
    if machine.form != "auto" and machine.form not in forms_of(study.architecture):
        raise Refused(
            f"--form {machine.form}: {study.architecture.name} has none; write auto or "
            f"{' or '.join(forms_of(study.architecture))}"
        )
    if machine.form != "auto":
        return FormChoice(machine.form)
    alone = gpu and machine.processes == 1
    if chosen is not None:
        return chosen._replace(form=possible_form(chosen.form, alone))
    if not alone or fleet.recipe.steps < PROBE_PAYS:
        return FormChoice("plain")
    probe = Probe(study, FleetKind((fleet,), classes), fleet.recipe.precision, fleet.recipe.batch)
    measured = measure_forms(probe, data, torch.device("cuda", 0))
    for result in measured[1:]:
        if result.reason:
            warnings.warn(f"{fleet.name}, in form {result.form}: {result.reason}; it is not used", stacklevel=1)
    best = fastest(measured)
    tried = {result.form: result.reason or round(1000 * result.seconds, 3) for result in measured}
    return FormChoice(best.form, tried, best.memory)


# ------------------------------------------------------------------------------------------ measuring


@dataclass(frozen=True)
class FleetKind:
    """Fleets that cost the same: same recipe, same number of classes, same treatments except for the letters."""

    fleets: tuple[Fleet, ...]
    classes: int

    @property
    def name(self) -> str:
        """`baseA`, or `A1A + 27`."""
        networks = self.fleets[0].networks
        return networks[0].short_name + (f" + {len(networks) - 1}" if len(networks) > 1 else "")


@dataclass(frozen=True)
class Probe:
    """What is measured: a kind of fleet in one precision, with `batch` images per step."""

    study: Study
    kind: FleetKind
    precision: str
    batch: int

    @property
    def fleet(self) -> Fleet:
        """One fleet of the kind, in this precision and with this batch."""
        networks = self.kind.fleets[0].networks
        recipe = replace(networks[0].training_recipe, batch=self.batch, precision=self.precision)
        return Fleet(tuple(replace(network, recipe=recipe) for network in networks))


@dataclass(frozen=True)
class Measured:
    """A probe in one form. seconds: per step. memory: bytes at most.

    losses: of each network, the mean over the steps before the timed ones. norms: of the gradient of each parameter in
    the last of them. reason: why there are no numbers, or why they must not be used.
    """

    probe: Probe
    form: str = "plain"
    seconds: float = 0.0
    memory: float = 0.0
    losses: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()
    reason: str = ""

    @property
    def rate(self) -> float:
        """Images of the stream per second."""
        return self.probe.batch / self.seconds if self.seconds else 0.0

    def hours(self) -> float:
        """Of one whole fleet."""
        recipe = self.probe.kind.fleets[0].recipe
        return recipe.steps * recipe.batch / self.rate / 3600 if self.rate else 0.0


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
        on_sigterm(SIG_DFL)  # with Lightning's, a process that is told to end looks as if it was done

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
            gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
            self.norms = tuple(gradient.norm().item() for gradient in gradients)
            self.begun = time.perf_counter()


def task_sample(probe: Probe, data: Path, device: torch.device) -> TaskImages | ResidentImages:
    """A part of the target's images, in memory: in the GPU's, if it holds all of them in training (`ImagesModule`)."""
    fleet = probe.kind.fleets[0]
    images = target_images(probe.study, fleet, probe.kind.classes, data)
    rows = np.unique(np.linspace(0, len(images.rows) - 1, max(512, 4 * fleet.recipe.batch)).astype(int))
    part = TaskImages(images.images[images.rows[rows]], np.arange(len(rows)), images.labels[rows])
    if device.type != "cuda":
        return part
    fits = images.bytes + SAFETY * fleet_memory(probe.study, fleet) <= free_memory(device)
    return resident(part, device) if fits else replace(part, pinned=True)


def target_images(study: Study, fleet: Fleet, classes: int, data: Path) -> TaskImages:
    """The target's images; random ones of the right size if the set is not packed."""
    recipe = fleet.recipe
    if (data / study.part(fleet.split, fleet.target).data / "manifest.json").exists():
        task = Tasks(study, data).labelled(fleet)
        recipe.refuse_size(task.packed.size, str(task.packed.folder))
        return task_images(task.training(fleet.images_per_class, fleet.drawn), recipe.shrink)
    side = recipe.crop * 256 // 227
    random = np.random.default_rng(0).integers(0, 256, (512, side, side, 3), dtype=np.uint8)
    return TaskImages(random, np.arange(512), np.arange(512) % classes)


def forms_of(architecture: Architecture | Chain) -> tuple[str, ...]:
    """The forms of a training step of networks of this architecture, the plain one first."""
    return CHAIN_FORMS if isinstance(architecture, Chain) else FORMS


def measure_forms(probe: Probe, data: Path, device: torch.device, forms: Sequence[str] | None = None) -> list[Measured]:
    """The probe in each of `forms` (None: all), the plain one first; with a reason where one does not agree with it."""
    architecture = probe.study.architecture
    forms = forms_of(architecture) if forms is None else forms
    grouped = isinstance(architecture, Architecture) and any(
        isinstance(spec, Conv) and spec.groups > 1 for _, spec in architecture.layers
    )
    images = task_sample(probe, data, device)
    measured: list[Measured] = []
    for form in forms:
        if "ungrouped" in form and not grouped:
            continue
        other = measure(probe, device, images, form)
        measured.append(compared(measured[0], other) if measured else other)
        release_memory()
        if measured[0].reason:
            break
    return measured


def measure(
    probe: Probe,
    device: torch.device,
    images: TaskImages | ResidentImages,
    form: str = "plain",
    clock: Clock | None = None,
) -> Measured:
    """Trains the probe's fleet for a few steps on `images`, with weights and mean images that mean nothing."""
    gpu, fleet = device.type == "cuda", probe.fleet
    result = partial(Measured, probe, form)
    needed, free = fleet_memory(probe.study, fleet), free_memory(device)
    if needed > free:
        return result(reason=f"takes about {needed / 1e9:.0f} GB, {free / 1e9:.0f} are free")
    clock = clock or (Clock(20, 40) if gpu else Clock(1, 3))
    steps = clock.warm + clock.steps
    batches: Any = TrainingBatches(images, fleet.recipe, "measure", 0, steps)
    if fleet.aligns_domains or fleet.shares_layers:
        batches = DomainBatches(batches, batches)
    if gpu:
        batches = Prefetched(batches, device, prefetch_threads(images))
    bytes_at_start = start_memory(device)
    module = meaningless_module(probe, images.size, form)
    trainer = bare_trainer(Machine("gpu" if gpu else "cpu"), probe.precision, [clock], max_steps=steps)
    try:
        with gpu_arithmetic(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*have no `val_dataloader`")
            trainer.fit(module, batches)
    except RuntimeError as error:
        first: BaseException = error  # the last error of a failed capture hides the first, which is the cause
        while first.__context__ is not None:
            first = first.__context__
        if isinstance(first, torch.cuda.OutOfMemoryError):
            return result(reason=f"does not fit into {free / 1e9:.0f} GB")
        if form == "plain":
            raise
        cause = "" if first is error else f", after {in_words(first)}"
        return result(reason=f"failed: {in_words(error)}{cause}")
    # The kernel's count of a process's memory is off by some pages: it may seem to have given some back.
    return result(clock.seconds, max(0.0, most_memory(device) - bytes_at_start), clock.losses, clock.norms)


def meaningless_module(probe: Probe, pixels: int, form: str) -> FleetModule:
    """The probe's fleet, copied from sources that nobody has trained; mean images of `pixels` pixels are grey."""
    study, fleet, classes = probe.study, probe.fleet, probe.kind.classes
    weights: dict[str, torch.Tensor] = {}
    for name, layer in build(study.architecture, classes):
        draw(study.architecture, name, layer, classes, fleet.recipe.initialisation, "measure")
        weights |= {key: value.detach() for key, value in tensors(name, layer).items()}
    sources = {network.treatment.source for network in fleet.networks if network.source_name}
    grey = Normalisation(np.full((pixels, pixels, 3), 128, np.float32), fleet.recipe.scale)
    inputs = dict.fromkeys({*fleet.tasks, *sources}, grey)
    module = fleet_module(study, fleet, None, classes, dict.fromkeys(sources, weights), inputs, form)
    if form == "folded":
        module.fold()
    return module


def compared(plain: Measured, candidate: Measured) -> Measured:
    """`candidate`, with a reason not to use it if its losses or its gradients are not those of `plain`."""
    if candidate.reason:
        return candidate
    for quantity, tolerance in zip(("losses", "norms"), TOLERANCE[plain.probe.precision], strict=True):
        expected, measured = np.array(getattr(plain, quantity)), np.array(getattr(candidate, quantity))
        if not np.allclose(measured, expected, rtol=tolerance, atol=0, equal_nan=True):
            with np.errstate(all="ignore"):
                off = np.nan_to_num(abs(measured / expected - 1), nan=np.inf).max()
            return replace(candidate, reason=f"its {quantity} are off by {off:.1%}, more than {tolerance:.1%}")
    return candidate


def fastest(measured: Sequence[Measured]) -> Measured:
    """Of one kind in one precision, the plain form first: the fastest that may be used, if it gains something."""
    usable = [result for result in measured if not result.reason]
    best = min(usable, key=lambda result: result.seconds, default=measured[0])
    return best if best.seconds < GAIN * measured[0].seconds else measured[0]

"""Studies of noise that are trained to be timed: by this package, and by a loop written by hand."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from transferability.classes import ImageClass
from transferability.data.packed import ImageSet, open_packed, write_packed
from transferability.data.stream import TrainingBatches, task_images
from transferability.data.tasks import Normalisation, Task
from transferability.launch.local import Job
from transferability.networks.caffenet import Architecture
from transferability.networks.chain import Chain
from transferability.recipe import Recipe
from transferability.runs.machine import Machine
from transferability.runs.paths import StudyFolder
from transferability.runs.result import read_result
from transferability.splits import task_classes
from transferability.study import Fleet, Network, Study, load_study, network
from transferability.training.fleet import FleetModule
from transferability.training.train import FleetTraining, train_fleet

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"
DEMO = load_study(EXPERIMENTS / "demo.py")


@dataclass(frozen=True)
class Subject:
    """What is trained; the recipe's steps do not count."""

    architecture: Architecture | Chain
    recipe: Recipe


SMALL = Subject(DEMO.architecture, DEMO.networks[0].recipe)


def noise(folder: Path, side: int = 32) -> Path:
    """`folder`, as a folder of packed sets: `noise` in it is a tenth of the demo, with images of `side` pixels."""
    random = np.random.default_rng(0)
    classes = [ImageClass(c, f"c{c:02}", f"c{c}", "man-made" if c < 10 else "natural") for c in range(20)]

    def images(per_class: int) -> ImageSet:
        pixels = random.integers(0, 256, (20 * per_class, side, side, 3), np.uint8)
        return ImageSet(pixels, np.repeat(np.arange(20), per_class))

    write_packed(folder / "noise", "noise", classes, images(100), images(10))
    return folder


def noise_study(names: Sequence[str], steps: int, subject: Subject = SMALL) -> tuple[Study, list[Network]]:
    """A study of noise on split random-0, and the networks of it that `names` names, trained for `steps`.

    The others are bases of one step.
    """
    full = replace(subject.recipe, name="benchmark", steps=steps, validate_every=steps)
    short = replace(full, steps=1, validate_every=1)
    bases = [network(f"random-0/base{task}", full if f"base{task}" in names else short) for task in "AB"]
    others = [network(f"random-0/{name}", full) for name in names if not name.startswith("base")]
    study = Study("benchmark", "noise", subject.architecture, (*bases, *others))
    return study, [member for member in study.networks if member.short_name in names]


def train(job: Job, fleets: Sequence[Fleet]) -> None:
    """Trains fleets in this process, one after the other."""
    for fleet in fleets:
        train_fleet(FleetTraining(job.study, fleet, job.folder, job.data, job.machine))


def other_bases(study: Study, chosen: Sequence[Network]) -> list[Fleet]:
    """The bases that are not among the networks that are timed, each as a fleet."""
    return [Fleet((base,)) for base in study.networks[:2] if base not in chosen]


def trained(
    data: Path,
    names: Sequence[str],
    steps: int,
    together: bool = True,
    machine: Machine | None = None,
    subject: Subject = SMALL,
) -> float:
    """Seconds of the `steps` training steps of `names`, as result.json counts them, in one fleet or one by one.

    Lightning, metrics and callbacks count; reading weights, checkpoints and all but one image of the validation do
    not. data: of `noise`.
    """
    study, chosen = noise_study(names, steps, subject)
    fleets = [Fleet(tuple(chosen))] if together else [Fleet((member,)) for member in chosen]
    with tempfile.TemporaryDirectory() as folder:
        job = Job(study, StudyFolder(Path(folder)), data, machine or Machine("cpu", most_validated=1))
        train(job, [*other_bases(study, chosen), *fleets])
        return sum(read_result(job.folder.result(fleet.networks[0].name)).seconds for fleet in fleets)


def treatments(*patterns: str, depth: int = SMALL.architecture.depth) -> list[str]:
    """`*` is n = 1 … depth - 1."""
    return [pattern.replace("*", str(n)) for pattern in patterns for n in range(1, depth)]


def by_hand(data: Path, names: Sequence[str], steps: int) -> float:
    """Seconds of the same training in plain PyTorch: the same layers, batches and optimiser, and nothing else.

    For a lone base, or networks that freeze random layers: what one would write for just these.
    """
    study, chosen = noise_study(names, steps)
    module = FleetModule(
        study, Fleet(tuple(chosen)), 10, {}, {"B": Normalisation(np.zeros((32, 32, 3), np.float32), 1 / 64)}
    )
    networks = [list(layers.values()) for layers in module.networks]  # type: ignore[operator]
    prefix = list(module.prefixes["R"].values()) if len(module.prefixes) else []  # type: ignore[operator]
    frozen = [member.treatment.frozen for member in chosen]
    return loop_by_hand(data, chosen[0].recipe, prefix, list(zip(frozen, networks, strict=True)))


def loop_by_hand(
    data: Path, course: Recipe, prefix: Sequence[nn.Module], networks: Sequence[tuple[int, Sequence[nn.Module]]]
) -> float:
    """Seconds of the steps of a recipe in a plain loop, for task B of split random-0: reading batches, subtracting the
    mean image, mirroring, forward and backward pass, optimiser.

    prefix: frozen layers. networks: for each, how many layers of the prefix are below its own, and its own.
    """
    packed = open_packed(data / "noise")
    classes = task_classes(packed.classes, "random-0", "B")
    mean = torch.from_numpy(packed.train.images.mean(axis=0, dtype=np.float32))
    parameters = [parameter for _, layers in networks for layer in layers for parameter in layer.named_parameters()]
    weights = [value for _, value in parameters if value.ndim > 1]
    biases = [value for name, value in parameters if value.ndim == 1 and name.endswith("bias")]
    factors = [value for name, value in parameters if value.ndim == 1 and not name.endswith("bias")]  # of norms
    groups = [
        {"params": weights, "weight_decay": course.decay, "multiple": 1.0},
        {"params": biases, "weight_decay": 0.0, "multiple": course.bias_rate},
        {"params": factors, "weight_decay": 0.0, "multiple": 1.0},
    ]
    optimiser = torch.optim.SGD(groups if factors else groups[:2], course.rate, course.momentum, fused=True)
    batches = TrainingBatches(
        task_images(Task("random-0", "B", packed, classes).training(), 1), course, "benchmark", 0, course.steps
    )
    reach = torch.arange(course.crop)
    began = time.perf_counter()
    for step, batch in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = course.rate_at(step) * group["multiple"]
        ys, xs = batch.ys[:, None] + reach, batch.xs[:, None] + reach
        x = (batch.pixels.float() - mean[ys[:, :, None], xs[:, None, :]].permute(0, 3, 1, 2)) * course.scale
        features = [torch.where(batch.mirror[:, None, None, None], x.flip(3), x)]  # channels last, as the pixels are
        with torch.no_grad():
            for layer in prefix:
                features.append(layer(features[-1]))
        losses = []
        for n, layers in networks:
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

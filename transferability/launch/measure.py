"""What a study takes on the machine at hand: a few steps of each kind of fleet (`plan --measure`), in a table."""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from transferability import available_cores
from transferability.data.packed import known_classes
from transferability.runs.machine import FORMS
from transferability.splits import task_classes
from transferability.study import Fleet, Study
from transferability.training.cost import fleet_operations, hours
from transferability.training.forms import FleetKind, Measured, Probe, fastest, forms_of, measure_forms

# Dense bfloat16, floating-point operations per second, by the vendor's data sheets.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12}
# On a CPU a step is measured with so few images that it takes about so many operations: some seconds.
CPU_STEP = 200e9


def class_counts(study: Study, data: Path) -> dict[tuple[str, str], int]:
    """(split, target) → number of classes; 100 where the classes of the data set are not known."""
    pairs = {(network.split, network.treatment.target) for network in study.networks}
    tables = {pair: known_classes(data / study.part(*pair).data) for pair in pairs}
    return {
        pair: 100 if table is None else len(task_classes(table, *pair, study.splits)) for pair, table in tables.items()
    }


def fleet_kinds(divided: Sequence[Fleet], counts: dict[tuple[str, str], int]) -> list[FleetKind]:
    """`divided` by what it costs."""
    groups: dict[Any, list[Fleet]] = {}
    for fleet in divided:
        if not fleet.trains:
            continue
        first = fleet.networks[0]
        classes = counts[first.split, first.treatment.target]
        alike = tuple(
            (treatment.kind, treatment.n, treatment.preserved, treatment.rate)
            for treatment in (network.treatment for network in fleet.networks)
        )
        groups.setdefault((first.recipe, first.images_per_class, classes, alike), []).append(fleet)
    return [FleetKind(tuple(group), key[2]) for key, group in groups.items()]


def makespan(measured: Sequence[Measured], devices: int) -> float:
    """Hours until all fleets are trained, each on one of `devices` as soon as one is free and its bases are done."""
    cost = {fleet: result.hours() for result in measured for fleet in result.probe.kind.fleets}
    free = [0.0] * devices
    heapify(free)
    done: dict[str, float] = {}
    for fleet in sorted(cost, key=lambda fleet: (fleet.stage, -cost[fleet])):  # the long ones first
        ready = max((done.get(network.source_name or "", 0.0) for network in fleet.networks), default=0.0)
        end = max(heappop(free), ready) + cost[fleet]
        heappush(free, end)
        done.update({network.name: end for network in fleet.networks})
    return max(done.values())


# ------------------------------------------------------------------------------------------ for people

COLUMNS = (
    "kind", "fleets", "networks", "classes", "precision", "form", "batch", "images_per_second", "ms_per_step",
    "memory_gb", "tflops", "peak_share", "hours_each", "why",
)  # fmt: skip


def measure_study(
    study: Study, divided: Sequence[Fleet], data: Path, batch: int | None, console: Console
) -> list[Measured]:
    """Each kind of fleet in its recipe's precision and, for advice, in bfloat16; on the first GPU, else on one core.

    On a GPU in each form. data: the folder of packed sets. batch: images per step; None: the recipe's, fewer on a CPU.
    """
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", 0) if gpu else torch.device("cpu")
    if not gpu:
        torch.set_num_threads(1)  # as `run` does: one process per core
    probes = []
    for kind in fleet_kinds(divided, class_counts(study, data)):
        recipe = kind.fleets[0].recipe
        few = max(2, int(CPU_STEP / (fleet_operations(study, kind.fleets[0]) / recipe.steps / recipe.batch)))
        size = batch or (recipe.batch if gpu else min(recipe.batch, few))
        probes += [Probe(study, kind, precision, size) for precision in dict.fromkeys((recipe.precision, "bfloat16"))]
    shown = track(probes, "measuring", console=console, transient=True, disable=not console.is_terminal)
    forms = forms_of(study.architecture) if gpu else FORMS[:1]
    return [measured for probe in shown for measured in measure_forms(probe, data, device, forms)]


def short(value: float) -> str:
    """Three digits at most, two for what is small; no exponent for large numbers."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}" if value >= 0.1 else f"{value:.2g}"


def spread(values: Sequence[float]) -> str:
    """The lowest and the highest, in two digits."""
    return " to ".join(dict.fromkeys(f"{value:.2g}" for value in (min(values), max(values))))


def table(measured: Sequence[Measured]) -> list[tuple[Any, ...]]:
    """The rows under COLUMNS; empty where something is not known."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((value for word, value in PEAKS.items() if word in name), 0.0)
    rows = []
    for result in measured:
        probe, kind = result.probe, result.probe.kind
        fleet = kind.fleets[0]
        per_image = fleet_operations(probe.study, fleet, kind.classes) / fleet.recipe.steps / fleet.recipe.batch
        known: tuple[Any, ...] = ("",) * 6
        if result.rate:
            speed = per_image * result.rate
            share = f"{speed / peak:.1%}" if peak and probe.precision == "bfloat16" else ""
            numbers = (result.rate, 1000 * result.seconds, result.memory / 1e9, speed / 1e12)
            known = (*map(short, numbers), share, short(result.hours()))
        counts = (len(kind.fleets), len(fleet.networks), kind.classes)
        rows.append((kind.name, *counts, probe.precision, result.form, probe.batch, *known, result.reason))
    return rows


def summary(measured: Sequence[Measured], packed: bool) -> list[str]:
    """What the study takes on this machine and what bfloat16 would change, in lines for people."""
    groups: dict[tuple[FleetKind, str], list[Measured]] = {}
    for result in measured:
        groups.setdefault((result.probe.kind, result.probe.precision), []).append(result)
    best = {key: fastest(group) for key, group in groups.items()}
    asked = {kind: result for (kind, precision), result in best.items() if precision == kind.fleets[0].recipe.precision}
    lines = [] if packed else ["The set is not packed: measured with random images, which come from memory."]
    scaled = [kind for kind, result in asked.items() if result.probe.batch != kind.fleets[0].recipe.batch]
    if scaled:
        lines.append(f"Measured with fewer images per step than their recipe has: {len(scaled)} of {len(asked)} kinds.")
    lines += [
        f"{kind.name} was not measured: it {result.reason}; see --fleet-size."
        for kind, result in asked.items()
        if result.reason
    ]
    lines += [
        f"{result.probe.kind.name}, {result.probe.precision}, in form {result.form}: {result.reason}. It is not used."
        for result in measured
        if result.form != "plain" and result.reason
    ]
    return lines + _times(list(asked.values()), groups, best)


def _times(
    asked: Sequence[Measured],
    groups: dict[tuple[FleetKind, str], list[Measured]],
    best: dict[tuple[FleetKind, str], Measured],
) -> list[str]:
    """Lines on the study's hours, and on what forms and bfloat16 gain. asked: in the recipe's precision."""
    lines = []
    if not any(result.reason for result in asked):
        several, unit = (8, "GPU") if torch.cuda.is_available() else (available_cores(), "core")
        alone, together = hours(makespan(asked, 1)), hours(makespan(asked, several))
        lines.append(
            f"The study, calculated from these: {alone} on one {unit}, {together} on {several}, a fleet on each."
        )
    faster = []
    for result in asked:
        group = groups[result.probe.kind, result.probe.precision]
        if result.rate and len(group) > 1:
            faster.append(result.rate / group[0].rate)
    if faster:
        lines.append(f"In its fastest form a fleet is {spread(faster)} times as fast as in the plain one.")
    low = {kind: result for (kind, precision), result in best.items() if precision == "bfloat16"}
    pairs = [(low[result.probe.kind], result) for result in asked if result.rate]
    gains = [lower.rate / result.rate for lower, result in pairs if lower is not result]
    if gains:
        lines.append(
            f"In bfloat16 {spread(gains)} times as fast here. Precision belongs to the recipe: this is advice."
        )
    return lines


def print_measured(measured: Sequence[Measured], packed: bool, console: Console) -> None:
    """The table and the summary. Of the table, what fits into a line: `--csv` has all."""
    rows = table(measured)
    short_names = {"images_per_second": "images/s", "ms_per_step": "ms", "memory_gb": "GB", "tflops": "TFLOP/s"}
    short_names |= {"peak_share": "of peak", "hours_each": "hours"}
    left_out = {"networks", "classes", "why"}
    left_out |= {"form"} if {result.form for result in measured} == {"plain"} else set()
    kept = [i for i, column in enumerate(COLUMNS) if column not in left_out and any(row[i] != "" for row in rows)]
    shown = Table(box=None)
    for i in kept:
        justify: Any = "left" if COLUMNS[i] == "kind" else "right"
        shown.add_column(short_names.get(COLUMNS[i], COLUMNS[i]), justify=justify)
    for row in rows:
        shown.add_row(*(str(row[i]) for i in kept))
    console.print(shown)
    for line in summary(measured, packed):
        console.print(line, soft_wrap=True)

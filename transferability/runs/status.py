"""How far a study is, from its files alone, and what SLURM's queue says where there is one."""

import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from transferability.files import Refused, read_json
from transferability.names import in_spans, span
from transferability.readout import Readout
from transferability.recipe import Recipe
from transferability.runs.ledger import is_done
from transferability.runs.locks import Holder, dead, holder
from transferability.runs.paths import LOCK, RESULT, StudyFolder
from transferability.runs.queue import ArrayTask, ended_jobs, queued_tasks
from transferability.runs.result import done, read_result
from transferability.study import Network, Study, difference, record, recorded_checksums

# In the order in which they are told.
STATES = ("done", "diverged", "running", "queued", "missing", "waiting", "failed", "blocked")
SILENT = 15 * 60  # seconds without a word after which a running network is said to be silent
STUCK = 1.1  # training loss, in multiples of that of equal scores, from which a network is said to be stuck
SHOWN = 20  # lines of one kind; `status --all` shows every one


@dataclass(frozen=True)
class NetworkStatus:
    """One network: `state` is one of STATES, `detail` a few words for people.

    missing: nothing keeps it from being trained, and nobody trains it. waiting: its source is not done. queued:
    one of these two, and in SLURM's queue (which `statuses` does not ask).
    diverged: done, but its loss was not a number. step, steps, images_per_second, left (in seconds; None is
    unknown): of its fleet, when it is running or was stopped. has_weights: they were kept, so it can be exported.
    """

    network: Network
    state: str
    detail: str = ""
    step: int = 0
    steps: int = 0
    images_per_second: float = 0.0
    left: float | None = None
    holder: Holder | None = None
    has_weights: bool = False


def statuses(
    study: Study, folder: StudyFolder, chosen: Sequence[Network], ended: AbstractSet[str] = frozenset()
) -> list[NetworkStatus]:
    """The state of each of `chosen`, in their order. Reads files only; 10,000 networks take about a second.

    ended: SLURM jobs (`12_3`) that are known to have ended, whatever locks they left.
    """
    progress, failures = _fleets(folder)
    known: dict[str, NetworkStatus] = {}

    def own_status(network: Network) -> NetworkStatus:
        """The status of a network, its source left aside."""
        name = network.name
        if name not in known:
            known[name] = _own_status(network, folder, progress.get(name), failures.get(name), ended)
        return known[name]

    result = []
    for network in chosen:
        status = own_status(network)
        if network.source_name is not None and status.state in ("missing", "failed"):
            source = own_status(study.by_name[network.source_name])
            short = network.source_name.removesuffix("/seed-0")
            if source.state in ("failed", "diverged"):
                status = replace(status, state="blocked", detail=f"{short} {source.state}: {source.detail}")
            elif source.state != "done":
                status = replace(status, state="waiting", detail=f"for {short}")
        result.append(status)
    return result


def _own_status(
    network: Network,
    folder: StudyFolder,
    progress: Mapping[str, float] | None,
    failure: str | None,
    ended: AbstractSet[str],
) -> NetworkStatus:
    """progress: of the network's started fleet. failure: why its last attempt failed."""
    # Joined as text: a path for each of 10,000 networks takes longer.
    root = os.path.join(folder.root, network.name)
    outcome = done(os.path.join(root, RESULT))
    if outcome is not None:
        if outcome.diverged_at is not None:
            return NetworkStatus(network, "diverged", f"at step {outcome.diverged_at}")
        return NetworkStatus(network, "done", has_weights=os.path.exists(os.path.join(root, "weights.safetensors")))
    status = NetworkStatus(network, "missing", steps=network.recipe.steps)
    if progress:
        rate, step, steps = progress["images_per_second"], int(progress["step"]), int(progress["steps"])
        left = (steps - step) * network.recipe.batch / rate if rate else None
        status = replace(status, step=step, steps=steps, images_per_second=rate, left=left)
    lock = os.path.join(root, LOCK)
    if os.path.exists(lock):
        owner = holder(Path(lock))
        if owner is None:
            return replace(status, state="running", detail="by a process that its lock does not name")
        if not dead(owner) and owner.job not in ended:
            silent = time.time() - progress["updated"] if progress else 0.0
            detail = f"silent for {span(silent)}" if silent > SILENT else ""
            return replace(status, state="running", detail=detail, holder=owner)
    if failure is not None:
        return replace(status, state="failed", detail=failure)
    if status.step > 0:
        return replace(
            status, detail=f"stopped after step {status.step} of {status.steps}, goes on from its checkpoint"
        )
    return status


def _fleets(folder: StudyFolder) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Name of a network → the progress of its started fleet; and → why its fleet failed."""
    progress: dict[str, dict[str, float]] = {}
    failures: dict[str, str] = {}
    for name in sorted(place.name for place in folder.fleets.glob("*/")):
        fleet = folder.fleet(name)
        with suppress(Refused, OSError, KeyError, TypeError, ValueError):  # not there (any more)
            content = read_json(fleet.progress)
            numbers = {key: float(content[key]) for key in ("step", "steps", "updated", "images_per_second")}
            progress.update(dict.fromkeys(content["networks"], numbers))
        with suppress(Refused, OSError, KeyError, TypeError, ValueError):
            content = read_json(fleet.failed)
            failures.update(dict.fromkeys(content["networks"], str(content["reason"])))
    return progress, failures


def remarks(study: Study, folder: StudyFolder, networks: Sequence[Network]) -> list[str]:
    """A line for each of `networks` that learned nothing, or is published and was trained on other images; and for each
    value at the end of those that readouts chose from.

    A base is at chance if it is no better than the majority-class baseline, within three standard deviations of that
    baseline's accuracy on so many validation images, by the binomial distribution; told where others copy from it.
    Any network is stuck if its training loss ends above that of equal scores for all classes, ln(classes), or,
    each class by itself, classes x ln(2); told of these two losses, "softmax" and "sigmoid".
    """
    copies = Counter(network.source_name for network in study.networks)
    lines, at_an_end = [], dict[str, list[str]]()
    for network in networks:
        if not is_done(folder, network.name):
            continue
        result = read_result(folder.result(network.name))
        lines += result.provenance.get("published", {}).get("other_images", [])
        if note := result.provenance.get("readout", {}).get("note"):
            at_an_end.setdefault(note, []).append(network.name)
        if result.diverged_at is not None or result.val_top1 is None or isinstance(network.recipe, Readout):
            continue
        if result.chance is not None and network.stage == 0 and copies[network.name]:
            spread = 3 * math.sqrt(result.chance * (1 - result.chance) / result.val_images)
            if result.val_top1 <= result.chance + spread:
                several = copies[network.name] != 1
                lines.append(
                    f"at chance: {network.name} ends with {result.val_top1:.1%} top-1, the majority-class baseline "
                    f"has {result.chance:.1%}; {copies[network.name]} network{'s copy' if several else ' copies'} from "
                    "it and will show nothing"
                )
                continue
        # And not of a domain classifier, of attributes, or of other classes than the target's.
        of_labels = result.train_top1 is not None and not network.is_zero_shot
        if not (result.classes and of_labels and isinstance(network.recipe, Recipe)):
            continue
        equal = {"softmax": math.log(result.classes), "sigmoid": result.classes * math.log(2)}.get(network.recipe.loss)
        if equal is not None and (result.train_loss or 0.0) > STUCK * equal:
            lines.append(
                f"stuck: {network.name} ends with a training loss of {result.train_loss:.2f}, equal scores for all "
                f"{result.classes} classes have {equal:.2f}; the recipe's rate may be too high"
            )
    for note, names in at_an_end.items():
        lines.append(f"chosen at an end: {', '.join(in_spans(names))}: {note}")
    return lines


def time_left(statuses: Sequence[NetworkStatus]) -> float | None:
    """Seconds until all that is not done will be, if as many fleets go on as fast as now; None if none is running.

    What failed or is blocked does not count. The images that all networks still have to see, over the images that the
    running ones see per second, each network's counted; but no less than the slowest running fleet needs.
    """
    running = [status for status in statuses if status.state == "running"]
    rate = sum(status.images_per_second for status in running)
    if not rate:
        return None
    waiting = [status for status in statuses if status.state in ("running", "queued", "missing", "waiting")]
    images = sum((status.network.recipe.steps - status.step) * status.network.recipe.batch for status in waiting)
    return max([images / rate, *(status.left for status in running if status.left is not None)])


# ------------------------------------------------------------------------------------------ for people


def print_status(
    study: Study, folder: StudyFolder, chosen: Sequence[Network], console: Console, everything: bool = False
) -> list[NetworkStatus]:
    """Prints how far `chosen` is: counts by split and seed, what runs, failed and is blocked, and the queue."""
    trouble, tasks = "", None
    try:
        tasks = queued_tasks(folder)
    except Refused as error:
        trouble = str(error)
    known = statuses(study, folder, chosen, ended_jobs(folder, tasks))
    queued = {network for task in tasks or () for network in task.networks}
    known = [
        replace(status, state="queued")
        if status.state in ("missing", "waiting") and status.network.name in queued
        else status
        for status in known
    ]
    _print_counts(study, known, console)
    if (left := time_left(known)) is not None:
        _print_line(console, f"about {span(left)} left, if as many networks go on to be trained as fast as now")
    if not folder.root.exists():
        place = folder.root.absolute()
        _print_line(console, f"{place} does not exist: nothing was trained here; set TRANSFERABILITY_RUNS if elsewhere")
    shown = None if everything else SHOWN
    _print_table(known, console, shown)
    _print_running(known, tasks or [], console, shown)
    for state in ("failed", "diverged", "blocked"):
        _print_reasons([status for status in known if status.state == state], state, console, shown)
    done_bases = [status.network for status in known if status.state == "done" and status.network.stage == 0]
    for what, lines in (
        ("remarks", remarks(study, folder, done_bases)),
        ("changes", changed_since(study, folder, [status.network for status in known if status.state == "done"])),
    ):
        for line in lines[:shown]:
            _print_line(console, line)
        _more(len(lines), shown, what, console)
    _print_weights(known, console, shown)
    if trouble:
        _print_line(console, f"queue: {trouble}")
    elif tasks is not None:
        _print_queue(tasks, console, shown)
    return known


def changed_since(study: Study, folder: StudyFolder, networks: Sequence[Network]) -> list[str]:
    """A line for each recipe of `networks` that is no longer what a network was trained with.

    One network of each recipe, split and number of images per class is looked at, since a result takes time to read.
    """
    first: dict[Any, Network] = {}
    for network in networks:
        first.setdefault((network.recipe, network.split, network.stage, network.images_per_class), network)
    lines = []
    for network in first.values():
        file = folder.result(network.name)
        then = read_result(file).record
        checksums = recorded_checksums(study, network, then)
        changed = difference(dict(then), record(study, network, checksums, then.get("draws")))
        if changed:
            lines.append(
                f"changed: {network.name} was trained as something else than the study says now ({changed}); "
                "`run` will refuse to mix them"
            )
    return lines


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Rows of cells as lines of text with aligned columns. right: the columns that are aligned at the right.

    Not a rich table, which cuts columns where the terminal is narrow, and takes seconds for 10,000 rows.
    """
    widths, right = [max(map(len, column)) for column in zip(*rows, strict=True)], set(right)
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _print_line(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def _print_counts(study: Study, known: Sequence[NetworkStatus], console: Console) -> None:
    count = Counter(status.state for status in known)
    parts = [f"{count[state]} {state}" for state in STATES if count[state] and state != "done"]
    line = ", ".join([f"[bold]{study.name}[/]: {count['done']} of {len(known)} networks done", *parts])
    console.print(line, highlight=False, soft_wrap=True)


def _print_table(known: Sequence[NetworkStatus], console: Console, shown: int | None) -> None:
    rows: dict[tuple[str, int], Counter[str]] = {}
    for status in known:
        rows.setdefault((status.network.split, status.network.seed), Counter())[status.state] += 1
    present = [state for state in STATES if any(count[state] for count in rows.values())]
    cells = [("split", "seed", *present)]
    for (split, seed), count in list(rows.items())[:shown]:
        cells.append((split, str(seed), *(str(count[state] or "") for state in present)))
    for line in aligned(cells, right=range(1, len(cells[0]))):
        _print_line(console, line)
    _more(len(rows), shown, "splits and seeds", console)


def _print_running(
    known: Sequence[NetworkStatus], tasks: Sequence[ArrayTask], console: Console, shown: int | None
) -> None:
    fleets: dict[tuple[Any, ...], list[NetworkStatus]] = {}
    for status in known:
        if status.state == "running":
            owner = status.holder
            fleets.setdefault((owner.host, owner.pid) if owner else (status.network.name,), []).append(status)
    nodes = {task.job: task.nodes for task in tasks}
    for group in list(fleets.values())[:shown]:
        first, owner = group[0], group[0].holder
        parts = [f"running: {_names(group)}"]
        if owner is not None:
            where = f"on {nodes.get(owner.job) or owner.host}"
            parts.append(f"{where}, job {owner.job}" if owner.job else f"{where}, process {owner.pid}")
            if owner.restarts:
                parts.append(f"requeued {owner.restarts} times" if owner.restarts > 1 else "requeued once")
        parts.append(f"step {first.step:,} of {first.steps:,}")
        if first.images_per_second:
            parts.append(f"{first.images_per_second:,.0f} images/s")
        if first.left is not None:
            parts.append(f"{span(first.left)} left")
        if first.detail:
            parts.append(first.detail)
        console.print(", ".join(parts), highlight=False, soft_wrap=True, markup=False)
    _more(len(fleets), shown, "fleets running", console)


def _print_reasons(known: Sequence[NetworkStatus], state: str, console: Console, shown: int | None) -> None:
    """A line for each reason, with the networks that share it."""
    reasons: dict[str, list[NetworkStatus]] = {}
    for status in known:
        reasons.setdefault(status.detail, []).append(status)
    for why, group in list(reasons.items())[:shown]:
        console.print(f"{state}: {_names(group)}: {why}", highlight=False, soft_wrap=True, markup=False)
    _more(len(reasons), shown, f"reasons why networks are {state}", console)


def _print_weights(known: Sequence[NetworkStatus], console: Console, shown: int | None) -> None:
    """Which networks can be exported."""
    done = [status for status in known if status.state == "done" and not status.network.is_classifier]
    if not done:
        return
    spans = in_spans(status.network.name for status in done if status.has_weights)
    count = sum(status.has_weights for status in done)
    names = "; ".join(spans[: shown or len(spans)]) + ("; …" if shown is not None and len(spans) > shown else "")
    without = "; the others were trained without --keep-weights" if count < len(done) else ""
    _print_line(console, f"can be exported: {count} of {len(done)}" + (f": {names}" if names else "") + without)


def _print_queue(tasks: Sequence[ArrayTask], console: Console, shown: int | None) -> None:
    if not tasks:
        console.print("queue: nothing of this study", highlight=False)
        return
    states = Counter(task.state for task in tasks)
    console.print(f"queue: {', '.join(f'{count} {state}' for state, count in states.items())}", highlight=False)
    cells, names = [("job", "state", "node", "requeued", "time left", "reason")], ["networks"]
    for task in tasks[:shown]:
        first, others = task.networks[0], len(task.networks) - 1
        reason = "" if task.reason == "None" else task.reason
        cells.append((task.job, task.state, task.nodes, str(task.restarts or ""), task.left, reason))
        names.append(first + (f" + {others}" if others else ""))
    lines = aligned(cells)
    width = max(map(len, lines))
    fits = width + 2 + max(map(len, names)) <= console.width
    for line, name in zip(lines, names, strict=True):
        # Names of networks are never cut: in a narrow terminal they have a line of their own.
        _print_line(console, f"{line.ljust(width)}  {name}" if fits else f"{line}\n    {name}")
    _more(len(tasks), shown, "array tasks", console)


def _names(group: Sequence[NetworkStatus]) -> str:
    return group[0].network.name + (f" and {len(group) - 1} more" if len(group) > 1 else "")


def _more(number: int, shown: int | None, noun: str, console: Console) -> None:
    if shown is not None and number > shown:
        console.print(f"… and {number - shown} more {noun}; --all shows them", highlight=False)

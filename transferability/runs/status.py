"""How far a study is, from its files alone, and what SLURM's queue says where there is one."""

import datetime
import math
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from transferability.files import Refused, read_json
from transferability.runs.locks import Holder, dead, holder
from transferability.runs.paths import StudyFolder, study_folder
from transferability.study import Network, Study

# In the order in which they are told.
STATES = ("done", "diverged", "running", "queued", "missing", "waiting", "failed", "blocked")
SILENT = 15 * 60  # seconds without a word after which a running network is said to be silent
SHOWN = 20  # lines of one kind; `status --all` shows every one


@dataclass(frozen=True)
class NetworkStatus:
    """One network: `state` is one of STATES, `detail` a few words for people.

    missing: nothing keeps it from being trained, and nobody trains it. waiting: its source is not done. queued:
    one of these two, and in SLURM's queue (which `statuses` does not ask).
    diverged: done, but its loss was not a number. step, steps, images_per_second, left (in seconds; None is
    unknown): of its fleet, when it is running or was stopped.
    """

    network: Network
    state: str
    detail: str = ""
    step: int = 0
    steps: int = 0
    images_per_second: float = 0.0
    left: float | None = None
    holder: Holder | None = None


@dataclass(frozen=True)
class Element:
    """An element of a submitted array that is in the queue: pending or running."""

    job: str
    state: str
    nodes: str
    restarts: int
    left: str
    reason: str
    networks: tuple[str, ...]


def statuses(study: Study, chosen: Sequence[Network], ended: AbstractSet[str] = frozenset()) -> list[NetworkStatus]:
    """The state of each of `chosen`, in their order. Reads files only; 10,000 networks take about a second.

    `ended`: SLURM jobs (`12_3`) that are known to have ended, whatever locks they left.
    """
    folder = study_folder(study.name)
    progress, failures = _fleets(folder)
    known: dict[str, NetworkStatus] = {}
    by_name = study.by_name

    def own(network: Network) -> NetworkStatus:
        """Its state, its source left aside."""
        name = network.name
        if name in known:
            return known[name]
        known[name] = found = _own(network, name, folder, progress, failures, ended)
        return found

    out = []
    for network in chosen:
        found = own(network)
        source_name = network.source_name
        if source_name is not None and found.state in ("missing", "failed"):
            source = own(by_name[source_name]) if source_name not in known else known[source_name]
            short = source_name.removesuffix("/seed-0")
            if source.state in ("failed", "diverged"):
                found = replace(found, state="blocked", detail=f"{short} {source.state}: {source.detail}")
            elif source.state != "done":
                found = replace(found, state="waiting", detail=f"for {short}")
        out.append(found)
    return out


def _own(
    network: Network,
    name: str,
    folder: StudyFolder,
    progress: Mapping[str, dict[str, Any]],
    failures: Mapping[str, str],
    ended: AbstractSet[str],
) -> NetworkStatus:
    place = os.path.join(folder.root, name)
    diverged = _diverged(os.path.join(place, "result.json"))
    if diverged is not None:
        return NetworkStatus(network, "diverged", diverged) if diverged else NetworkStatus(network, "done")
    found = NetworkStatus(network, "missing", steps=network.recipe.steps)
    at = progress.get(name)
    if at:
        rate = float(at.get("images_per_second") or 0)
        left = (at["steps"] - at["step"]) * network.recipe.batch / rate if rate else None
        found = replace(found, step=at["step"], steps=at["steps"], images_per_second=rate, left=left)
    lock = os.path.join(place, "lock")
    if os.path.exists(lock):
        its = holder(Path(lock))
        if its is None:
            return replace(found, state="running", detail="by a process that its lock does not name")
        if not dead(its) and its.job not in ended:
            silent = time.time() - at["updated"] if at else 0.0
            detail = f"silent for {_span(silent)}" if silent > SILENT else ""
            return replace(found, state="running", detail=detail, holder=its)
    if name in failures:
        return replace(found, state="failed", detail=failures[name])
    if found.step > 0:
        return replace(found, detail=f"stopped after step {found.step} of {found.steps}, goes on from its checkpoint")
    return found


def _diverged(path: str) -> str | None:
    """None: there is no result; "": a good one; else at which step it diverged."""
    try:
        with open(path, "rb") as handle:
            head = handle.read(1024)  # where the field is: the long series come behind it
    except (FileNotFoundError, NotADirectoryError):
        return None
    match = re.search(rb'"diverged_at": ?(null|\d+)', head)
    found = match.group(1).decode() if match else str(read_json(path).get("diverged_at") or "null")
    return "" if found == "null" else f"at step {found}"


def _fleets(folder: StudyFolder) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Name of a network → the progress of its started fleet; and → why its fleet failed."""
    progress: dict[str, dict[str, Any]] = {}
    failures: dict[str, str] = {}
    for place in sorted(folder.fleets.glob("*/")):
        for name in ("progress", "failed"):
            try:
                found = read_json(place / f"{name}.json")
                for network in found["networks"]:
                    if name == "progress":
                        progress[network] = found
                    else:
                        failures[network] = str(found["reason"])
            except (Refused, OSError, KeyError):
                continue  # not there (any more)
    return progress, failures


def at_chance(study: Study, networks: Sequence[Network]) -> list[str]:
    """A line for each of `networks` that is a trained base no better than a guess, if others copy from it.

    A guess is the largest class, always. No better: within three standard deviations of a guess's accuracy on so
    many validation images, by the binomial distribution.
    """
    copies = Counter(network.source_name for network in study.networks)
    folder, out = study_folder(study.name), []
    for network in networks:
        file = folder.result(network.name)
        if network.stage or not copies[network.name] or not file.exists():
            continue
        found = read_json(file)
        chance, images = found.get("chance"), found.get("val_images")
        if chance is None or images is None or found["diverged_at"] is not None:
            continue
        if found["val_top1"] <= chance + 3 * math.sqrt(chance * (1 - chance) / images):
            out.append(
                f"at chance: {network.name} ends with {found['val_top1']:.1%} top-1, a guess has {chance:.1%}; "
                f"{copies[network.name]} network{' copies' if copies[network.name] == 1 else 's copy'} from it "
                "and will show nothing"
            )
    return out


# ------------------------------------------------------------------------------------------ the queue


def submissions(folder: StudyFolder) -> list[int]:
    """Numbers of the submissions of a study, ascending."""
    found = (re.fullmatch(r"(\d+)\.json", file.name) for file in (folder.root / "submissions").glob("*.json"))
    return sorted(int(match.group(1)) for match in found if match)


def submission(folder: StudyFolder, number: int) -> Path:
    """The list of fleets of a submission. Written once. Beside it, `<k>.jobs.json`: SLURM's jobs."""
    return folder.root / "submissions" / f"{number}.json"


def queue(study: Study) -> list[Element] | None:
    """The elements of the study's submissions that are in SLURM's queue; None where there is no SLURM."""
    if shutil.which("squeue") is None:
        return None
    folder = study_folder(study.name)
    jobs: dict[tuple[str, str], tuple[list[list[str]], int]] = {}
    for number in submissions(folder):
        file = submission(folder, number).with_suffix(".jobs.json")
        if file.exists():
            fleets = read_json(submission(folder, number))["fleets"]
            for job in read_json(file)["jobs"]:
                jobs[str(job["job"]), job["name"]] = fleets, job["first"]
    if not jobs:
        return []
    fields = {
        "JobArrayID": 60,
        "Name": 120,
        "State": 20,
        "NodeList": 60,
        "RestartCnt": 10,
        "TimeLeft": 20,
        "Reason": 60,
    }
    command = [
        "squeue",
        "--noheader",
        "--array",
        "-O",
        ",".join(f"{name}:{width}" for name, width in fields.items()),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise Refused(f"squeue does not answer: {said.strip().splitlines()[-1]}") from None
    out = []
    for line in done.stdout.splitlines():
        values, at = [], 0
        for width in fields.values():
            values.append(line[at : at + width].strip())
            at += width
        job, name, state, nodes, restarts, left, reason = values
        array, _, index = job.partition("_")
        if (array, name) in jobs and index.isdigit():
            fleets, first = jobs[array, name]
            networks = tuple(fleets[first + int(index)])
            out.append(Element(job, state.lower(), nodes, int(restarts or 0), left, reason, networks))
    return out


def ended_jobs(folder: StudyFolder, elements: Sequence[Element] | None) -> frozenset[str]:
    """SLURM jobs that hold locks of the study and are in the queue no more: they were killed."""
    if elements is None:
        return frozenset()
    there = {element.job for element in elements}
    names: set[str] = set()
    for number in submissions(folder):
        file = submission(folder, number).with_suffix(".jobs.json")
        if file.exists():
            for job in read_json(file)["jobs"]:
                names.update(f"{job['job']}_{index}" for index in range(job["elements"]))
    return frozenset(names - there)


# ------------------------------------------------------------------------------------------ for people


def print_status(
    study: Study, chosen: Sequence[Network], console: Console, everything: bool = False
) -> list[NetworkStatus]:
    """Prints how far `chosen` is: counts by split and seed, what runs, failed and is blocked, and the queue."""
    trouble = ""
    elements: list[Element] | None = None
    try:
        elements = queue(study)
    except Refused as error:
        trouble = str(error)
    folder = study_folder(study.name)
    found = statuses(study, chosen, ended_jobs(folder, elements))
    queued = {network for element in elements or () for network in element.networks}
    found = [
        replace(status, state="queued")
        if status.state in ("missing", "waiting") and status.network.name in queued
        else status
        for status in found
    ]
    count = Counter(status.state for status in found)
    parts = [f"{count[state]} {state}" for state in STATES if count[state] and state != "done"]
    console.print(
        ", ".join([f"[bold]{study.name}[/]: {count['done']} of {len(found)} networks done", *parts]),
        highlight=False,
        soft_wrap=True,
    )
    shown = None if everything else SHOWN
    _print_table(found, console, shown)
    _print_running(found, elements or [], console, shown)
    for state in ("failed", "diverged", "blocked"):
        _print_reasons([status for status in found if status.state == state], state, console, shown)
    done = [status.network for status in found if status.state == "done" and status.network.stage == 0]
    lines = at_chance(study, done)
    for line in lines[:shown]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    _more(len(lines), shown, "bases at chance", console)
    if trouble:
        console.print(f"queue: {trouble}", highlight=False, soft_wrap=True)
    elif elements is not None:
        _print_queue(elements, console, shown)
    return found


def _print_table(found: Sequence[NetworkStatus], console: Console, shown: int | None) -> None:
    rows: dict[tuple[str, int], Counter[str]] = {}
    for status in found:
        rows.setdefault((status.network.split, status.network.seed), Counter())[status.state] += 1
    present = [state for state in STATES if any(count[state] for count in rows.values())]
    table = Table(box=None, pad_edge=False)
    for title in ("split", "seed"):
        table.add_column(title)
    for state in present:
        table.add_column(state, justify="right")
    for (split, seed), count in list(rows.items())[:shown]:
        table.add_row(split, str(seed), *(str(count[state] or "") for state in present))
    console.print(table)
    _more(len(rows), shown, "splits and seeds", console)


def _print_running(
    found: Sequence[NetworkStatus], elements: Sequence[Element], console: Console, shown: int | None
) -> None:
    fleets: dict[tuple[Any, ...], list[NetworkStatus]] = {}
    for status in found:
        if status.state == "running":
            its = status.holder
            fleets.setdefault((its.host, its.pid) if its else (status.network.name,), []).append(status)
    nodes = {element.job: element.nodes for element in elements}
    for group in list(fleets.values())[:shown]:
        first, its = group[0], group[0].holder
        words = [f"running: {_names(group)}"]
        if its is not None:
            where = f"on {nodes.get(its.job) or its.host}"
            words.append(f"{where}, job {its.job}" if its.job else f"{where}, process {its.pid}")
            if its.restarts:
                words.append(f"requeued {its.restarts} times" if its.restarts > 1 else "requeued once")
        words.append(f"step {first.step:,} of {first.steps:,}")
        if first.images_per_second:
            words.append(f"{first.images_per_second:,.0f} images/s")
        if first.left is not None:
            words.append(f"{_span(first.left)} left")
        if first.detail:
            words.append(first.detail)
        console.print(", ".join(words), highlight=False, soft_wrap=True, markup=False)
    _more(len(fleets), shown, "fleets running", console)


def _print_reasons(found: Sequence[NetworkStatus], state: str, console: Console, shown: int | None) -> None:
    """A line for each reason, with the networks that share it."""
    reasons: dict[str, list[NetworkStatus]] = {}
    for status in found:
        reasons.setdefault(status.detail, []).append(status)
    for why, group in list(reasons.items())[:shown]:
        console.print(f"{state}: {_names(group)}: {why}", highlight=False, soft_wrap=True, markup=False)
    _more(len(reasons), shown, f"reasons why networks are {state}", console)


def _print_queue(elements: Sequence[Element], console: Console, shown: int | None) -> None:
    if not elements:
        console.print("queue: nothing of this study", highlight=False)
        return
    states = Counter(element.state for element in elements)
    console.print(f"queue: {', '.join(f'{count} {state}' for state, count in states.items())}", highlight=False)
    table = Table(box=None, pad_edge=False)
    for title in ("job", "state", "node", "requeued", "time left", "reason", "networks"):
        table.add_column(title, overflow="fold")
    for element in elements[:shown]:
        first, others = element.networks[0], len(element.networks) - 1
        reason = "" if element.reason == "None" else element.reason
        table.add_row(
            element.job,
            element.state,
            element.nodes,
            str(element.restarts or ""),
            element.left,
            reason,
            first + (f" + {others}" if others else ""),
        )
    console.print(table)
    _more(len(elements), shown, "elements", console)


def _names(group: Sequence[NetworkStatus]) -> str:
    return group[0].network.name + (f" and {len(group) - 1} more" if len(group) > 1 else "")


def _more(number: int, shown: int | None, what: str, console: Console) -> None:
    if shown is not None and number > shown:
        console.print(f"… and {number - shown} more {what}; --all shows them", highlight=False)


def _span(seconds: float) -> str:
    """Seconds in words of people: 40 s, 12 min, 3:20 h, 2 d 4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    span = datetime.timedelta(seconds=round(seconds))
    hours, minutes = divmod(span.seconds // 60, 60)
    return f"{span.days} d {hours} h" if span.days else f"{hours}:{minutes:02d} h"

"""Which networks of a study are finished, started or left, and which have become others. Needs no torch, no numpy."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from transferability.files import Missing, Refused, read_json, refusing_damage, write_json
from transferability.runs.paths import StudyFolder
from transferability.runs.result import done
from transferability.study import Fleet, Network, Study, difference, fleets

# ------------------------------------------------------------------------------------------ finished, started, left


def is_done(folder: StudyFolder, name: str) -> bool:
    return folder.result(name).exists()


def with_sources(study: Study, chosen: Sequence[Network]) -> tuple[Network, ...]:
    """`chosen` and the networks that they copy from, and these from, in the study's order."""
    names, left = set[str](), list(chosen)
    while left:
        network = left.pop()
        names.add(network.name)
        if network.source_name is not None and network.source_name not in names:
            left.append(study.by_name[network.source_name])
    return tuple(network for network in study.networks if network.name in names)


def pending(study: Study, folder: StudyFolder, chosen: Sequence[Network], size: int | None) -> list[Fleet]:
    """The fleets that still have to be trained to finish `chosen`, by stage.

    A started fleet keeps its composition until it is done, whatever `size` says now; the rest is divided anew.
    """
    left = {network.name: network for network in chosen if not is_done(folder, network.name)}
    restarted = []
    for name, start in started(folder).items():
        unknown = [member for member in start.networks if member not in study.by_name]
        if unknown:
            raise Refused(
                f"{folder.fleet(name).root} was started with {unknown[0]}, which study {study.name!r} no longer has; "
                "put it back into the study, or remove that folder"
            )
        if any(member in left for member in start.networks):
            restarted.append(Fleet(tuple(study.by_name[member] for member in start.networks)))
            for member in start.networks:
                left.pop(member, None)
    return sorted(restarted + fleets(left.values(), size), key=lambda fleet: fleet.stage)


def fleet_size(chosen: Sequence[Network], workers: int) -> int | None:
    """The largest size of a fleet that gives every worker something to do in the largest stage; None: no limit."""
    if not chosen:
        return None
    last = max(network.stage for network in chosen)
    groups = [fleet for fleet in fleets(chosen) if fleet.stage == last]
    if len(groups) >= workers:
        return None
    return max(1, -(-sum(len(group.networks) for group in groups) // workers))


@dataclass(frozen=True)
class Start:
    """What fleet.json holds: the record of each network of a started fleet, and the form of its training step.

    form: what `training.forms.FormChoice` saves; ["plain"] in files of earlier versions.
    """

    records: Mapping[str, Mapping[str, Any]]
    form: Sequence[Any] = ("plain",)

    @property
    def networks(self) -> list[str]:
        return list(self.records)


def write_start(folder: StudyFolder, fleet: str, start: Start) -> None:
    content = {"networks": start.networks, "records": start.records, "form": start.form}
    write_json(folder.fleet(fleet).start, content)


def read_start(folder: StudyFolder, fleet: str) -> Start | None:
    """The start of a fleet; None if it was not started. Refused, naming the file, if it cannot be read."""
    file = folder.fleet(fleet).start
    try:
        content = read_json(file)
    except Missing:
        return None
    with refusing_damage(file, f"remove {file.parent} to train this fleet from its start"):
        records = {name: dict(record) for name, record in content["records"].items()}
        return Start(records, content.get("form", ("plain",)))


def started(folder: StudyFolder) -> dict[str, Start]:
    """The start of each fleet that was started and is not done, by the fleet's name."""
    names = sorted(file.parent.name for file in folder.fleets.glob("*/fleet.json"))
    starts = ((name, read_start(folder, name)) for name in names)
    return {name: start for name, start in starts if start is not None}  # None: finished just now by another process


def remove_fleet(folder: StudyFolder, name: str) -> None:
    """Removes the folder of a finished fleet. It is moved away in one step first: half a folder is of no use."""
    aside = folder.aside()
    with suppress(OSError):  # another process has removed it
        folder.fleet(name).root.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)  # what a kill leaves of it, the next command removes


def tidy(folder: StudyFolder) -> None:
    """Removes the folders of finished fleets that a kill has left."""
    for name, start in started(folder).items():
        if all(is_done(folder, member) for member in start.networks):
            remove_fleet(folder, name)
    for aside in folder.removed():
        shutil.rmtree(aside, ignore_errors=True)


def without_diverged(folder: StudyFolder, fleet: Fleet) -> tuple[Fleet | None, str]:
    """`fleet` without the networks that would copy from a diverged base, and a line that says which were left out.

    To be called when the sources are done. None if nothing is left.
    """
    diverged: dict[str, int] = {}
    for source in {network.source_name for network in fleet.networks if network.source_name}:
        outcome = done(folder.result(source))
        if outcome is not None and outcome.diverged_at is not None:
            diverged[source] = outcome.diverged_at
    left = tuple(network for network in fleet.networks if network.source_name not in diverged)
    counts = Counter(network.source_name for network in fleet.networks)
    reasons = [
        f"{counts[source]} network{' that copies' if counts[source] == 1 else 's that copy'} from {source}, "
        f"which diverged at step {step}"
        for source, step in diverged.items()
    ]
    return (Fleet(left) if left else None), " and ".join(reasons)


# ------------------------------------------------------------------------------------------ what is refused


def refuse_difference(name: str, file: object, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses, naming the field, if a network was trained as something else than the study says now."""
    changed = difference(dict(then), dict(now))
    if changed:
        raise Refused(
            f"{name} ({file}): {changed}; name the study differently, or move that folder away to train it anew"
        )


def refuse_untrained(folder: StudyFolder, left: Sequence[Fleet]) -> None:
    """Refused, naming it, if a fleet was left because a base that it copies from is not trained."""
    for network in (network for fleet in left for network in fleet.networks):
        source = network.source_name
        if source is not None and not is_done(folder, source):
            raise Refused(f"{network.name} copies from {source}, which is not trained yet; train it first")

"""What a study will train: its networks in fleets, stage by stage. Needs no torch."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transferability import available_cores
from transferability.data.tasks import Tasks
from transferability.files import Refused
from transferability.runs.features import reading_operations, room
from transferability.runs.fit import refuse_mismatches
from transferability.runs.paths import StudyFolder
from transferability.study import Fleet, Network, Study
from transferability.training.cost import CORE_SPEED, estimate, hours, sizes_that_fit

COLUMNS = ("stage", "fleet", "split", "network", "source", "target", "n", "seed")


def listing(divided: Sequence[Fleet]) -> list[tuple[Any, ...]]:
    """A row under COLUMNS for each network. The fleet's number is the one that `train --fleet` takes."""
    return [
        (
            network.stage,
            number,
            network.split,
            network.short_name,
            network.treatment.source,
            network.treatment.target,
            network.treatment.n,
            network.seed,
        )
        for number, fleet in enumerate(divided)
        for network in fleet.networks
    ]


def totals(study: Study, chosen: Sequence[Network], divided: Sequence[Fleet]) -> list[str]:
    """Lines on how many networks there are of each kind, and on what they cost."""
    kinds = Counter(network.treatment.kind for network in chosen)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    trained = [estimate(study, divided, available_cores())] if any(fleet.trains for fleet in divided) else []
    return [f"{len(chosen)} networks ({counts}) in {len(divided)} fleets", *trained, sizes_that_fit(study, chosen)]


def reading(study: Study, folder: StudyFolder, data: Path, chosen: Sequence[Network]) -> list[str]:
    """Lines on what readouts cost: the size of the features, and the time of the pass and of the fits. None if there
    are none, or their images are not at hand (`trouble` says so)."""
    try:
        tasks = Tasks(study, data)
        size = room(study, folder, chosen, tasks)
        if not size:
            return []
        forward, fits = reading_operations(study, chosen, tasks)
    except Refused:
        return []
    workers = available_cores()
    return [
        size,
        f"readouts: {forward:.3g} floating-point operations for the features, about {fits:.2g} for the classifiers: "
        f"about {hours((forward + fits) / (CORE_SPEED * workers) / 3600)} on {workers} cores",
    ]


def trouble(study: Study, folder: StudyFolder, data: Path, chosen: Sequence[Network]) -> str:
    """Why `run` would refuse the study as things are; "" if it would not. data: the folder of packed sets."""
    try:
        tasks = Tasks(study, data)
        refuse_mismatches(study, folder, chosen, tasks)
        room(study, folder, chosen, tasks)
    except Refused as error:
        return str(error)
    return ""

"""What SLURM's queue holds of a study."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transferability.files import Refused, read_json, refusing_damage
from transferability.runs.paths import StudyFolder

# The fields of squeue that are read, and their widths in its output.
FIELDS = {
    "JobArrayID": 60,
    "Name": 120,
    "State": 20,
    "NodeList": 60,
    "RestartCnt": 10,
    "TimeLeft": 20,
    "Reason": 60,
}


@dataclass(frozen=True)
class ArrayTask:
    """A task of a submitted array that is in the queue: pending or running. job: as `12_3`."""

    job: str
    state: str
    nodes: str
    restarts: int
    left: str
    reason: str
    networks: tuple[str, ...]


@dataclass(frozen=True)
class SubmittedArray:
    """One call of sbatch. fleets: networks of all fleets of its submission. first: place of the array's first fleet."""

    job: str
    name: str
    fleets: list[list[str]]
    first: int
    tasks: int


def submitted_fleets(file: Path) -> list[list[str]]:
    """The names of the networks of each fleet of a submission. Refused, naming the file, if it lists none."""
    with refusing_damage(file, "remove it and its list of jobs once they are not in the queue, and submit anew"):
        return [[str(name) for name in fleet] for fleet in read_json(file)["fleets"]]


def submitted_arrays(folder: StudyFolder) -> list[SubmittedArray]:
    """All arrays that were ever submitted for the study."""
    arrays = []
    for number in folder.submissions:
        if folder.jobs(number).exists():
            listing = submitted_fleets(folder.submission(number))
            file = folder.jobs(number)
            with refusing_damage(file, "remove it once none of its jobs is in the queue"):
                for job in read_json(file)["jobs"]:
                    first, tasks = int(job["first"]), int(job["elements"])
                    arrays.append(SubmittedArray(str(job["job"]), str(job["name"]), listing, first, tasks))
    return arrays


def queued_tasks(folder: StudyFolder) -> list[ArrayTask] | None:
    """The array tasks of the study's submissions that are in SLURM's queue; None where there is no SLURM."""
    if shutil.which("squeue") is None:
        return None
    arrays = {(array.job, array.name): array for array in submitted_arrays(folder)}
    if not arrays:
        return []
    tasks = []
    for job, name, state, nodes, restarts, left, reason in _squeue():
        array_job, _, index = job.partition("_")
        array = arrays.get((array_job, name))
        if array is not None and index.isdigit():
            networks = tuple(array.fleets[array.first + int(index)])
            tasks.append(ArrayTask(job, state.lower(), nodes, int(restarts or 0), left, reason, networks))
    return tasks


def _squeue() -> list[list[str]]:
    """The values of FIELDS for every array task in the queue."""
    columns = ",".join(f"{name}:{width}" for name, width in FIELDS.items())
    command = ["squeue", "--noheader", "--array", "-O", columns]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip() or type(error).__name__
        raise Refused(f"squeue does not answer: {said.splitlines()[-1]}") from None
    rows = []
    for line in output.splitlines():
        values, start = [], 0
        for width in FIELDS.values():
            values.append(line[start : start + width].strip())
            start += width
        rows.append(values)
    return rows


def ended_jobs(folder: StudyFolder, tasks: Sequence[ArrayTask] | None) -> frozenset[str]:
    """SLURM jobs of the study that are in the queue no more: whatever locks they hold, they have ended."""
    if tasks is None:
        return frozenset()
    jobs = {f"{array.job}_{index}" for array in submitted_arrays(folder) for index in range(array.tasks)}
    return frozenset(jobs - {task.job for task in tasks})

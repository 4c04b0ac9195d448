"""A study on a SLURM cluster: what `transferability submit` submits, and what an array task of it trains."""

import getpass
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from rich.console import Console

from transferability.data.tasks import Tasks
from transferability.files import Refused, write_atomically, write_json
from transferability.recipe import Recipe
from transferability.runs.fit import refuse_mismatches
from transferability.runs.ledger import pending, with_sources
from transferability.runs.locks import holder
from transferability.runs.machine import Machine
from transferability.runs.paths import StudyFolder
from transferability.runs.queue import ArrayTask, ended_jobs, queued_tasks, submitted_fleets
from transferability.runs.status import NetworkStatus, statuses
from transferability.study import Fleet, Network, Study

SLURM_FILES = Path(__file__).parents[2] / "slurm"
SITE_VARIABLES = (
    "SBATCH_PARTITION",
    "SBATCH_ACCOUNT",
    "SBATCH_TIMELIMIT",
    "TRANSFERABILITY_GPUS",
    "TRANSFERABILITY_CPUS",
)
WATCHED = 25.0  # seconds in which a live process raises its lock's counter twice


@dataclass(frozen=True)
class Options:
    """How a study is submitted. None and "": as `slurm/site.sh` says, and then as the cluster does.

    fleet_size: most networks of one array task; None: no limit. max_parallel: tasks of one array that run at once.
    sbatch_options: handed to sbatch as they are. machine: how each task trains.
    """

    machine: Machine
    fleet_size: int | None = None
    max_parallel: int | None = None
    time: str = ""
    partition: str = ""
    account: str = ""
    sbatch_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Submission:
    """What is submitted. only: the patterns that chose the networks. site: the values of SITE_VARIABLES."""

    study: Study
    folder: StudyFolder
    experiment: Path
    only: Sequence[str]
    options: Options
    site: Mapping[str, str]
    number: int

    @property
    def name(self) -> str:
        return f"{self.study.name}-{self.number}"


@dataclass(frozen=True)
class Array:
    """Fleets that wait for the same bases: one call of sbatch.

    first: place of the first of them in the submission's list. after: array tasks that have to succeed before:
    (index of an array of this submission, number of its task), or an earlier submission's task, as `12_3`.
    """

    fleets: tuple[Fleet, ...]
    first: int
    after: tuple[tuple[int, int] | str, ...] = ()


@dataclass(frozen=True)
class Work:
    """What is left of a study. `queued`: name of a network → the array task in the queue that trains it.

    elsewhere: networks that a process outside the queue trains. blocked: those that copy from a diverged
    base, or from one that is trained elsewhere.
    """

    fleets: list[Fleet]
    queued: dict[str, str]
    elsewhere: list[NetworkStatus]
    blocked: list[NetworkStatus]
    done: int


def submit(
    study: Study,
    folder: StudyFolder,
    data: Path,
    experiment: Path,
    only: Sequence[str],
    options: Options,
    printer: "Printer",
) -> bool:
    """Submits what is neither done nor in the queue: bases, what copies from them, then the report.

    data: the folder of packed sets. Prints the numbers of the jobs; in a dry run, the commands, as a script. False if
    there was nothing to do. Refused if the packed set is missing, if what was trained before does not match the study,
    or if sbatch refuses.
    """
    chosen = with_sources(study, study.select(only))
    site = site_settings()
    refuse_options(chosen, options)
    refuse_mismatches(study, folder, chosen, Tasks(study, data))
    work = find_work(study, folder, chosen, options.fleet_size)
    for line in _left_out_lines(work, len(chosen)):
        printer.note(line)
    if not work.fleets:
        printer.note("nothing to submit")
        return False
    arrays = split_arrays(divide(work), max_array_size())
    listing = [[network.name for network in fleet.networks] for array in arrays for fleet in array.fleets]
    number = (folder.submissions or [0])[-1] + 1
    if printer.dry_run:
        printer.note(f"{folder.submission(number)} will hold the list of {len(listing)} fleets")
    else:
        number = _write_list(folder, number, study, experiment, listing)
        folder.logs.mkdir(exist_ok=True)
    _submit_arrays(Submission(study, folder, experiment, only, options, site, number), arrays, printer)
    if not printer.dry_run:
        networks, count = _count(sum(map(len, listing)), "network"), _count(len(listing), "fleet")
        printer.say(
            f"submitted {networks} in {count}; see `transferability status {experiment}` and the logs in {folder.logs}"
        )
    return True


def _submit_arrays(submission: Submission, arrays: Sequence[Array], printer: "Printer") -> None:
    """Submits the arrays, then the report; after each array its job is written down."""
    jobs: list[str] = []
    submitted: list[dict[str, object]] = []
    for array in arrays:
        jobs.append(printer.sbatch(array_command(submission, array, jobs), len(jobs)))
        if not printer.dry_run:
            # Written after each: if the next is refused, the next `submit` knows what is queued.
            count = len(array.fleets)
            submitted.append({"job": jobs[-1], "name": submission.name, "first": array.first, "elements": count})
            write_json(submission.folder.jobs(submission.number), {"jobs": submitted})
            printer.say(f"job {jobs[-1]}: {_describe(array, jobs)}")
            if reason := never_starts(jobs[-1]):
                printer.say(f"job {jobs[-1]} will not start as it is: {reason}; cancel it (scancel {jobs[-1]})")
    jobs.append(printer.sbatch(report_command(submission, jobs), len(jobs)))
    if not printer.dry_run:
        printer.say(f"job {jobs[-1]}: results and report, when all of these have ended")


@dataclass(frozen=True)
class Printer:
    """Prints what is submitted; in a dry run prints the commands instead of calling them."""

    console: Console
    dry_run: bool = False

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def note(self, line: str) -> None:
        """In a dry run a comment of the script."""
        self.say(f"# {line}" if self.dry_run else line)

    def sbatch(self, command: Sequence[str], index: int) -> str:
        """Submits, and returns the job's number; in a dry run the shell variable that holds it."""
        if not self.dry_run:
            return _sbatch(command, index)
        # The variables of earlier jobs are to be filled in by the shell; nothing else is.
        line = re.sub(r"'([^']*\$\{JOB\d+\}[^']*)'", r'"\1"', shlex.join(command))
        self.say(f"JOB{index}=$({line})")
        return f"${{JOB{index}}}"


# ------------------------------------------------------------------------------------------ what is refused


def refuse_options(chosen: Sequence[Network], options: Options) -> None:
    """Refuses what could only fail on the nodes."""
    machine = options.machine
    for option, value in (("devices", machine.devices), ("nodes", machine.nodes)):
        if value < 1:
            raise Refused(f"--{option} {value}: write 1 or more")
    if options.max_parallel is not None and options.max_parallel < 1:
        raise Refused(f"--max-parallel {options.max_parallel}: write 1 or more")
    for network in chosen:
        if isinstance(network.recipe, Recipe) and network.recipe.batch % machine.processes:
            raise Refused(
                f"{network.name}: a batch of {network.recipe.batch} does not divide among {machine.devices} "
                f"devices on {machine.nodes} nodes; use numbers whose product divides it"
            )
    for option in options.sbatch_options:
        if re.match(r"(-J|--job-name\b)", option):
            raise Refused(
                f"--sbatch-option {option}: jobs are named after study and submission, for status to find them"
            )
        if re.match(r"(-a\b|--array\b|-d\b|--dependency\b|-o\b|--output\b|-N\b|--nodes\b|-n\b|--ntasks)", option):
            raise Refused(f"--sbatch-option {option}: submit sets this; see --devices, --nodes and --max-parallel")


# ------------------------------------------------------------------------------------------ what is submitted


def find_work(study: Study, folder: StudyFolder, chosen: Sequence[Network], size: int | None) -> Work:
    """What of `chosen` has to be submitted. Looks at locks of other machines for up to 25 seconds."""
    tasks = queued_tasks(folder)
    queued = _queued(tasks or [])
    known = statuses(study, folder, chosen, ended_jobs(folder, tasks))
    running = [status for status in known if status.state == "running" and status.network.name not in queued]
    alive = _alive(folder, [status.network.name for status in running])
    elsewhere = [status for status in running if status.network.name in alive]
    done = [status.network.name for status in known if status.state in ("done", "diverged")]
    diverged = {status.network.name for status in known if status.state == "diverged"}
    blocked = [
        status
        for status in known
        if (status.state == "blocked" and status.network.source_name in diverged)
        or (status.state == "waiting" and status.network.source_name in alive)
    ]
    left_out = {*queued, *done, *alive, *(status.network.name for status in blocked)}
    left = [status.network for status in known if status.network.name not in left_out]
    return Work(pending(study, folder, left, size) if left else [], queued, elsewhere, blocked, len(done))


def _queued(tasks: Sequence[ArrayTask]) -> dict[str, str]:
    return {network: task.job for task in tasks for network in task.networks}


def _alive(folder: StudyFolder, names: Sequence[str]) -> set[str]:
    """Those of `names` whose lock is held by a process that raises its counter."""
    owners = {name: owner for name in names if (owner := holder(folder.lock(name))) is not None}
    alive: set[str] = set()
    end = time.monotonic() + WATCHED
    while len(alive) < len(owners) and time.monotonic() < end:
        time.sleep(1.0)
        for name, owner in owners.items():
            now = holder(folder.lock(name))
            if now is not None and (now.token, now.counter) != (owner.token, owner.counter):
                alive.add(name)
    return alive


def divide(work: Work) -> list[Array]:
    """Fleets in arrays: stage by stage, one array for each set of tasks that fleets wait for; bases wait for none."""
    arrays: list[Array] = []
    task_of: dict[str, tuple[int, int] | str] = dict(work.queued)
    first = 0
    for stage in sorted({fleet.stage for fleet in work.fleets}):
        groups: dict[tuple[tuple[int, int] | str, ...], list[Fleet]] = {}
        for fleet in (fleet for fleet in work.fleets if fleet.stage == stage):
            names = {network.source_name for network in fleet.networks}
            dependencies = {task_of[name] for name in names if name in task_of}
            groups.setdefault(tuple(sorted(dependencies, key=str)), []).append(fleet)
        for after, group in groups.items():
            for number, fleet in enumerate(group):
                task_of.update({network.name: (len(arrays), number) for network in fleet.networks})
            arrays.append(Array(tuple(group), first, after))
            first += len(group)
    return arrays


def split_arrays(arrays: Sequence[Array], most: int) -> list[Array]:
    """`arrays` in pieces of at most `most` tasks; a fleet that waits for a task still waits for that one."""
    pieces: list[Array] = []
    place: dict[tuple[int, int], tuple[int, int]] = {}
    for index, array in enumerate(arrays):
        after = tuple(place[task] if isinstance(task, tuple) else task for task in array.after)
        for start in range(0, len(array.fleets), most):
            piece = array.fleets[start : start + most]
            for number in range(len(piece)):
                place[index, start + number] = len(pieces), number
            pieces.append(Array(piece, array.first + start, after))
    return pieces


def max_array_size() -> int:
    """How many tasks an array may have here: SLURM's MaxArraySize, one more than the largest index."""
    try:
        done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return 1001
    limit = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    return max(1, int(limit.group(1))) if limit else 1001


# ------------------------------------------------------------------------------------------ the commands


def site_settings() -> dict[str, str]:
    """SITE_VARIABLES by `slurm/site.sh` (or $TRANSFERABILITY_SITE's file); "" for what it leaves out."""
    file = site_file()
    script = '. "$1" && for name in "${@:2}"; do printf "%s\\n" "${!name-}"; done'
    command = ["bash", "-c", script, "site", str(file), *SITE_VARIABLES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    values = done.stdout.split("\n")[:-1]
    if done.returncode or len(values) != len(SITE_VARIABLES):
        raise Refused(f"bash cannot read {file}: {(done.stderr.strip() or 'it prints something').splitlines()[-1]}")
    return dict(zip(SITE_VARIABLES, values, strict=True))


def project_file(name: str) -> Path:
    """A file that comes with the project, relative to the working directory if it is below that."""
    path = SLURM_FILES.parent / name
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def site_file() -> Path:
    file = Path(os.environ.get("TRANSFERABILITY_SITE") or project_file("slurm/site.sh"))
    if not file.is_file():
        raise Refused(f"{file} does not exist; submit from a clone of the project, or set TRANSFERABILITY_SITE")
    return file


def training_options(machine: Machine) -> list[str]:
    """The options of `train` that `submit` was given: those that differ from their defaults."""
    default, options = Machine(), []
    for field in fields(Machine):
        value, name = getattr(machine, field.name), field.name.replace("_", "-")
        if field.name in ("devices", "nodes") or value == getattr(default, field.name):
            continue
        if isinstance(value, tuple):
            options += [f"--{name}={part}" for part in value]
            continue
        options.append(
            f"--{name}" if value is True else f"--{name}={value:g}" if isinstance(value, float) else f"--{name}={value}"
        )
    return [*options, f"--devices={machine.devices}", f"--nodes={machine.nodes}"]


def common_options(submission: Submission, name: str, log: str) -> list[str]:
    """The beginning of each call of sbatch. name: of the job. log: name of the file for what it prints."""
    options, site = submission.options, submission.site
    command = ["sbatch", "--parsable", f"--job-name={name}", f"--output={submission.folder.logs / log}"]
    for option, value in (
        ("partition", options.partition or site["SBATCH_PARTITION"]),
        ("account", options.account or site["SBATCH_ACCOUNT"]),
    ):
        command += [f"--{option}={value}"] if value else []
    return command


def array_command(submission: Submission, array: Array, jobs: Sequence[str]) -> list[str]:
    """The call of sbatch for `array`. jobs: the numbers of the arrays before it."""
    options, site = submission.options, submission.site
    machine = options.machine
    throttle = f"%{options.max_parallel}" if options.max_parallel else ""
    time = options.time or site["SBATCH_TIMELIMIT"]
    command = [
        *common_options(submission, submission.name, f"{submission.name}-%A_%a.log"),
        f"--array=0-{len(array.fleets) - 1}{throttle}",
        *([f"--time={time}"] if time else []),
        f"--nodes={machine.nodes}",
        f"--ntasks-per-node={machine.devices}",
        *([f"--cpus-per-task={site['TRANSFERABILITY_CPUS']}"] if site["TRANSFERABILITY_CPUS"] else []),
        *shlex.split(site["TRANSFERABILITY_GPUS"].replace("{devices}", str(machine.devices))),
    ]
    if array.after:
        tasks = [after if isinstance(after, str) else f"{jobs[after[0]]}_{after[1]}" for after in array.after]
        command.append(f"--dependency=afterok:{':'.join(tasks)}")
        command.append("--kill-on-invalid-dep=yes")  # else it stays pending for ever behind a failure
    command.append(f"--export=ALL,FIRST_FLEET={array.first},TRANSFERABILITY_SITE={site_file()}")
    return [
        *command,
        *options.sbatch_options,
        str(project_file("slurm/fleet.sbatch")),
        str(submission.experiment),
        f"--submission={submission.folder.submission(submission.number)}",
        *training_options(machine),
    ]


def report_command(submission: Submission, jobs: Sequence[str]) -> list[str]:
    """The call of sbatch for the report, behind all `jobs`."""
    wandb = submission.options.machine.wandb
    export = f"--export=ALL,TRANSFERABILITY_SITE={site_file()}"
    return [
        *common_options(submission, f"{submission.name}-report", f"{submission.name}-report-%j.log"),
        f"--dependency=afterany:{':'.join(jobs)}",
        export if wandb == "disabled" else f"{export},REPORT_WANDB={wandb}",
        *submission.options.sbatch_options,
        str(project_file("slurm/report.sbatch")),
        str(submission.experiment),
        *(f"--only={pattern}" for pattern in submission.only),
    ]


def _sbatch(command: Sequence[str], index: int) -> str:
    """Submits, and returns the job's number. index: how many jobs were submitted before it."""
    if shutil.which("sbatch") is None:
        raise Refused("there is no sbatch here; submit on a login node of the cluster, or train here with `run`")
    # `transferability` has to be found on the node too, even if this one was called by its path.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
    if done.returncode:
        said = (done.stderr.strip() or f"code {done.returncode}").splitlines()[-1]
        earlier_jobs = f" (submitted before it: {index} jobs; submit again for the rest)" if index else ""
        raise Refused(f"sbatch refuses: {said}{earlier_jobs}; the command was: {shlex.join(command)}")
    return done.stdout.strip().split(";")[0]


# Reasons of a pending job that no waiting mends, as squeue spells them.
NEVER = {
    "PartitionConfig": "no node of the partition has so many devices or tasks (--devices, --nodes, --partition)",
    "PartitionNodeLimit": "the partition gives no job so many nodes (--nodes, --partition)",
    "PartitionTimeLimit": "the partition gives no job so much time (--time, --partition)",
    "BadConstraints": "no node has what is asked for (--devices, --nodes, --sbatch-option)",
    "AccountNotAllowed": "the partition does not take this account (--account)",
    "QOSNotAllowed": "the partition does not take this QOS (--sbatch-option)",
}


def never_starts(job: str) -> str:
    """Why a submitted job will never start, as far as SLURM says so at once; "" if it may."""
    command = ["squeue", "--noheader", "--jobs", job, "-O", "Reason:60"]
    try:
        reasons = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return ""
    return next((f"{reason}: {NEVER[reason]}" for reason in reasons if reason in NEVER), "")


def _write_list(folder: StudyFolder, number: int, study: Study, experiment: Path, listing: list[list[str]]) -> int:
    """Writes the list of fleets under the first free number, whole and for good; that number."""
    content = {
        "study": study.name,
        "experiment": str(experiment),
        "user": _user(),
        "time": time.time(),
        "fleets": listing,
    }
    while True:
        file = folder.submission(number)
        unfinished = file.with_name(f".{number}.{secrets.token_hex(8)}")
        with write_atomically(unfinished):
            pass
        write_json(unfinished, content)
        try:
            with open(file, "x"):  # claims the number, on a file system without hard links too
                pass
            os.replace(unfinished, file)
            return number
        except FileExistsError:
            number += 1
        finally:
            unfinished.unlink(missing_ok=True)


def _user() -> str:
    """The user's name; the number, where a container knows no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _describe(array: Array, jobs: Sequence[str]) -> str:
    noun = "base" if array.fleets[0].stage == 0 else "network"
    after = [task if isinstance(task, str) else f"{jobs[task[0]]}_{task[1]}" for task in array.after]
    waits = f", after {' and '.join(after)}" if after else ""
    networks = sum(len(fleet.networks) for fleet in array.fleets)
    return f"{_count(networks, noun)} in {_count(len(array.fleets), 'fleet')}{waits}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _left_out_lines(work: Work, chosen: int) -> list[str]:
    """What is not submitted, and why. chosen: how many networks were."""
    counts = [f"{work.done} of {chosen} networks are done"]
    if work.queued:
        counts.append(f"{len(work.queued)} are in the queue")
    lines = [", ".join(counts)]
    lines += [f"left out: {status.network.name} is being trained by {status.holder}" for status in work.elsewhere]
    for detail in dict.fromkeys(status.detail for status in work.blocked):
        names = [status.network.name for status in work.blocked if status.detail == detail]
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"left out: {names[0]}{others}: {detail}")
    return lines


# ------------------------------------------------------------------------------------------ on the node


def task_networks(study: Study, file: Path, number: int) -> tuple[Network, ...]:
    """The networks of fleet `number` of a submission, by the list that was written for it."""
    listing = submitted_fleets(file)
    if not 0 <= number < len(listing):
        raise Refused(f"{file} lists fleets 0 to {len(listing) - 1}, no {number}")
    by_name = study.by_name
    for name in listing[number]:
        if name not in by_name:
            raise Refused(f"{file} lists {name}, which study {study.name!r} no longer has; submit it anew")
    return tuple(by_name[name] for name in listing[number])


def leave_reason(study: Study, folder: StudyFolder, chosen: Sequence[Network], reason: str) -> None:
    """Writes for `status` why networks could not even be started, unless somebody else trains them."""
    for fleet in pending(study, folder, chosen, None):
        if not any(folder.lock(network.name).exists() for network in fleet.networks):
            names = [network.name for network in fleet.networks]
            write_json(folder.fleet(fleet.name).failed, {"networks": names, "reason": reason, "time": time.time()})


def refuse_diverged(study: Study, folder: StudyFolder, chosen: Sequence[Network]) -> None:
    """Refused if every one of `chosen` diverged: then nothing may start that waits for them."""
    known = statuses(study, folder, chosen)
    if known and all(status.state == "diverged" for status in known):
        first = known[0]
        others = f" and so did the other {len(known) - 1}" if len(known) > 1 else ""
        raise Refused(
            f"{first.network.name} diverged {first.detail}{others}; the recipe's rate may be too high. "
            "What copies from it is not trained"
        )

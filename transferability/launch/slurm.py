"""A study on a SLURM cluster: what `transferability submit` submits, and what an element of it trains."""

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
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from transferability.data.packed import open_packed
from transferability.files import Refused, read_json, write_atomically, write_json
from transferability.launch.local import pending, refuse_mismatches, with_sources
from transferability.networks.caffenet import Conv, shapes
from transferability.runs.locks import holder
from transferability.runs.paths import StudyFolder, data_root, study_folder
from transferability.runs.status import (
    Element,
    NetworkStatus,
    ended_jobs,
    queue,
    statuses,
    submission,
    submissions,
)
from transferability.study import Fleet, Network, Study, fleets

SLURM_FILES = Path(__file__).parents[2] / "slurm"
SITE_WORDS = (
    "SBATCH_PARTITION",
    "SBATCH_ACCOUNT",
    "SBATCH_TIMELIMIT",
    "TRANSFERABILITY_GPUS",
    "TRANSFERABILITY_CPUS",
)
# Lightning takes a job of such a name for a terminal, and every task of it would train everything by itself.
TERMINALS = ("bash", "interactive")
WATCHED = 25.0  # seconds in which a live process raises its lock's counter twice


@dataclass(frozen=True)
class Options:
    """How a study is submitted. None and "": as `slurm/site.sh` says, and then as the cluster does.

    devices: GPUs (or processes on CPUs) of one fleet on each of `nodes` nodes. fleet_size: most networks of
    one element; None: no limit. max_parallel: elements of one array that run at once. sbatch_options: handed
    to sbatch as they are. training: options that are handed to `train`.
    """

    devices: int = 1
    nodes: int = 1
    fleet_size: int | None = None
    max_parallel: int | None = None
    time: str = ""
    partition: str = ""
    account: str = ""
    sbatch_options: tuple[str, ...] = ()
    training: tuple[str, ...] = ()


@dataclass(frozen=True)
class Array:
    """Fleets that wait for the same bases: one call of sbatch.

    first: place of the first of them in the submission's list. after: elements that have to succeed before:
    (index of an array of this submission, element), or an earlier submission's element, as `12_3`.
    """

    fleets: tuple[Fleet, ...]
    first: int
    after: tuple[tuple[int, int] | str, ...] = ()


@dataclass(frozen=True)
class Work:
    """What is left of a study. `queued`: name of a network → the element in the queue that trains it.

    elsewhere: networks that a process outside the queue trains. blocked: those that copy from a diverged
    base, or from one that is trained elsewhere.
    """

    fleets: list[Fleet]
    queued: dict[str, str]
    elsewhere: list[NetworkStatus]
    blocked: list[NetworkStatus]
    done: int


def submit(
    study: Study, experiment: Path, only: Sequence[str], options: Options, dry_run: bool, console: Console
) -> bool:
    """Submits what is not done and not in the queue: bases, what copies from them, then the report.

    Prints the numbers of the jobs; with `dry_run`, the commands, as a script. False if there was nothing to
    do. Refused if the packed set is missing, if what was trained before does not match the study, or if
    sbatch refuses.
    """
    chosen = with_sources(study, study.select(only))
    site = site_settings()
    refuse_options(study, chosen, options)
    packed = open_packed(data_root() / study.data)
    refuse_mismatches(study, chosen, packed)
    work = find_work(study, chosen, options.fleet_size)
    folder = study_folder(study.name)
    _say_what_is_left_out(work, len(chosen), "# " if dry_run else "", console)
    if not work.fleets:
        console.print("# nothing to submit" if dry_run else "nothing to submit", highlight=False)
        return False

    arrays = split_arrays(divide(work), max_array_size())
    listing = [[network.name for network in fleet.networks] for array in arrays for fleet in array.fleets]
    number = (submissions(folder) or [0])[-1] + 1
    if not dry_run:
        number = _write_list(folder, number, study, experiment, listing)
    file = submission(folder, number)
    name = f"{study.name}-{number}"
    jobs: list[str] = []
    record_of_jobs = file.with_suffix(".jobs.json")
    if dry_run:
        console.print(f"# {file} will hold the list of {len(listing)} fleets", highlight=False, soft_wrap=True)
    else:
        (folder.root / "logs").mkdir(exist_ok=True)
    submitted: list[dict[str, object]] = []
    for array in arrays:
        command = array_command(array, jobs, name, study, experiment, file, options, site)
        jobs.append(_sbatch(command, len(jobs), dry_run, console))
        if not dry_run:
            # Written after each: if the next is refused, the next `submit` knows what is queued.
            submitted.append({"job": jobs[-1], "name": name, "first": array.first, "elements": len(array.fleets)})
            write_json(record_of_jobs, {"jobs": submitted})
            console.print(f"job {jobs[-1]}: {_describe(array, jobs)}", highlight=False, soft_wrap=True)
    command = report_command(jobs, name, study, experiment, only, options, site)
    jobs.append(_sbatch(command, len(jobs), dry_run, console))
    if not dry_run:
        console.print(f"job {jobs[-1]}: results and report, when all of these have ended", highlight=False)
        networks, elements = _count(sum(map(len, listing)), "network"), _count(len(listing), "fleet")
        console.print(
            f"submitted {networks} in {elements}; see `transferability status "
            f"{experiment}` and the logs in {folder.root / 'logs'}",
            highlight=False,
            soft_wrap=True,
        )
    return True


# ------------------------------------------------------------------------------------------ what is refused


def refuse_options(study: Study, chosen: Sequence[Network], options: Options) -> None:
    """Refuses what could only fail on the nodes."""
    for word in ("devices", "nodes"):
        if getattr(options, word) < 1:
            raise Refused(f"--{word} {getattr(options, word)}: write 1 or more")
    if options.max_parallel is not None and options.max_parallel < 1:
        raise Refused(f"--max-parallel {options.max_parallel}: write 1 or more")
    processes = options.devices * options.nodes
    for network in chosen:
        if network.recipe.batch % processes:
            raise Refused(
                f"{network.name}: a batch of {network.recipe.batch} does not divide among {options.devices} "
                f"devices on {options.nodes} nodes; use numbers whose product divides it"
            )
    for option in options.sbatch_options:
        if re.match(r"(-J|--job-name\b)", option):
            raise Refused(
                f"--sbatch-option {option}: jobs are named after study and submission, for status to find them"
            )
        if re.match(r"(-a\b|--array\b|-d\b|--dependency\b|-o\b|--output\b|-N\b|--nodes\b|-n\b|--ntasks)", option):
            raise Refused(f"--sbatch-option {option}: submit sets this; see --devices, --nodes and --max-parallel")


def refuse_allocation(devices: int, nodes: int, environment: Mapping[str, str] = os.environ) -> None:
    """Refuses to train in an allocation of SLURM other than `devices` x `nodes`; outside SLURM, on several nodes.

    Too many tasks would each train the same networks into the same folder; with too few, they would wait for
    each other for half an hour.
    """
    if "SLURM_JOB_ID" not in environment:
        if nodes > 1:
            raise Refused(f"--nodes {nodes}: several nodes need SLURM (`transferability submit`); leave it out here")
        return
    wanted = devices * nodes
    name = environment.get("SLURM_JOB_NAME", "")
    if name in TERMINALS:
        raise Refused(
            f"a SLURM job named {name!r} is taken for a terminal, and its tasks would not find each other; "
            "give it another name (sbatch --job-name)"
        )
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS") or 1)
    there = int(environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_NNODES") or 1)
    if (tasks, there) != (wanted, nodes):
        raise Refused(
            f"SLURM started {tasks} tasks on {there} nodes, --devices {devices} --nodes {nodes} needs "
            f"{wanted} on {nodes}; submit with --nodes={nodes} --ntasks-per-node={devices}"
        )
    if wanted > 1 and "SLURM_STEP_ID" not in environment:
        raise Refused(f"{wanted} processes have to be started by srun, as slurm/fleet.sbatch does")


# ------------------------------------------------------------------------------------------ what is submitted


def find_work(study: Study, chosen: Sequence[Network], size: int | None) -> Work:
    """What of `chosen` has to be submitted. Looks at locks of other machines for up to 25 seconds."""
    folder = study_folder(study.name)
    elements = queue(study)
    queued = _queued(elements or [])
    found = statuses(study, chosen, ended_jobs(folder, elements))
    running = [status for status in found if status.state == "running" and status.network.name not in queued]
    alive = _alive(folder, [status.network.name for status in running])
    elsewhere = [status for status in running if status.network.name in alive]
    done = [status.network.name for status in found if status.state in ("done", "diverged")]
    blocked = [
        status
        for status in found
        if (status.state == "blocked" and _diverged(study, status, found))
        or (status.state == "waiting" and status.network.source_name in alive)
    ]
    out = {*queued, *done, *alive, *(status.network.name for status in blocked)}
    left = [status.network for status in found if status.network.name not in out]
    return Work(pending(study, left, size) if left else [], queued, elsewhere, blocked, len(done))


def _diverged(study: Study, status: NetworkStatus, found: Sequence[NetworkStatus]) -> bool:
    states = {each.network.name: each.state for each in found if each.network.stage == 0}
    return states.get(status.network.source_name or "") == "diverged"


def _queued(elements: Sequence[Element]) -> dict[str, str]:
    return {network: element.job for element in elements for network in element.networks}


def _alive(folder: StudyFolder, names: Sequence[str]) -> set[str]:
    """Those of `names` whose lock is held by a process that raises its counter."""
    before = {name: its for name in names if (its := holder(folder.lock(name))) is not None}
    alive: set[str] = set()
    end = time.monotonic() + WATCHED
    while len(alive) < len(before) and time.monotonic() < end:
        time.sleep(1.0)
        for name, its in before.items():
            now = holder(folder.lock(name))
            if now is not None and (now.token, now.counter) != (its.token, its.counter):
                alive.add(name)
    return alive


def divide(work: Work) -> list[Array]:
    """Fleets in arrays: bases, then one array for each set of bases that fleets wait for."""
    bases = tuple(fleet for fleet in work.fleets if fleet.stage == 0)
    arrays = [Array(bases, 0)] if bases else []
    where: dict[str, tuple[int, int] | str] = dict(work.queued)
    for element, fleet in enumerate(bases):
        where.update({network.name: (0, element) for network in fleet.networks})
    groups: dict[tuple[tuple[int, int] | str, ...], list[Fleet]] = {}
    for fleet in work.fleets:
        if fleet.stage:
            names = {network.source_name for network in fleet.networks}
            after = {where[name] for name in names if name in where}
            groups.setdefault(tuple(sorted(after, key=str)), []).append(fleet)
    first = len(bases)
    for after_these, group in groups.items():
        arrays.append(Array(tuple(group), first, after_these))
        first += len(group)
    return arrays


def split_arrays(arrays: Sequence[Array], most: int) -> list[Array]:
    """`arrays` in pieces of at most `most` elements; who waits for an element still waits for that one."""
    out: list[Array] = []
    place: dict[tuple[int, int], tuple[int, int]] = {}
    for index, array in enumerate(arrays):
        after = tuple(place[each] if isinstance(each, tuple) else each for each in array.after)
        for start in range(0, len(array.fleets), most):
            piece = array.fleets[start : start + most]
            for element in range(len(piece)):
                place[index, start + element] = len(out), element
            out.append(Array(piece, array.first + start, after))
    return out


def max_array_size() -> int:
    """How many elements an array may have here: SLURM's MaxArraySize, one more than the largest index."""
    try:
        done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return 1001
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    return max(1, int(found.group(1))) if found else 1001


# ------------------------------------------------------------------------------------------ sbatch's words


def site_settings() -> dict[str, str]:
    """SITE_WORDS by `slurm/site.sh` (or the file that $TRANSFERABILITY_SITE names); "" for what it leaves out."""
    file, words = site_file(), SITE_WORDS
    script = '. "$1" && for word in "${@:2}"; do printf "%s\\n" "${!word-}"; done'
    done = subprocess.run(
        ["bash", "-c", script, "site", str(file), *words], capture_output=True, text=True, check=False
    )
    values = done.stdout.split("\n")[:-1]
    if done.returncode or len(values) != len(words):
        raise Refused(f"bash cannot read {file}: {(done.stderr.strip() or 'it prints something').splitlines()[-1]}")
    return dict(zip(words, values, strict=True))


def project_file(name: str) -> Path:
    """A file that comes with the project, relative to the folder that is being worked in if it is below it."""
    path = SLURM_FILES.parent / name
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def site_file() -> Path:
    file = Path(os.environ.get("TRANSFERABILITY_SITE") or project_file("slurm/site.sh"))
    if not file.is_file():
        raise Refused(f"{file} does not exist; submit from a clone of the project, or set TRANSFERABILITY_SITE")
    return file


def common_words(name: str, study: Study, log: str, options: Options, site: Mapping[str, str]) -> list[str]:
    words = [
        "sbatch",
        "--parsable",
        f"--job-name={name}",
        f"--output={study_folder(study.name).root}/logs/{log}",
    ]
    for option, value in (
        ("partition", options.partition or site["SBATCH_PARTITION"]),
        ("account", options.account or site["SBATCH_ACCOUNT"]),
    ):
        words += [f"--{option}={value}"] if value else []
    return words


def array_command(
    array: Array,
    jobs: Sequence[str],
    name: str,
    study: Study,
    experiment: Path,
    file: Path,
    options: Options,
    site: Mapping[str, str],
) -> list[str]:
    """The words of the call of sbatch for `array`. `jobs`: the numbers of the arrays before it."""
    throttle = f"%{options.max_parallel}" if options.max_parallel else ""
    time = options.time or site["SBATCH_TIMELIMIT"]
    words = [
        *common_words(name, study, f"{name}-%A_%a.log", options, site),
        f"--array=0-{len(array.fleets) - 1}{throttle}",
        *([f"--time={time}"] if time else []),
        f"--nodes={options.nodes}",
        f"--ntasks-per-node={options.devices}",
        *([f"--cpus-per-task={site['TRANSFERABILITY_CPUS']}"] if site["TRANSFERABILITY_CPUS"] else []),
        *shlex.split(site["TRANSFERABILITY_GPUS"].replace("{devices}", str(options.devices))),
    ]
    if array.after:
        elements = [each if isinstance(each, str) else f"{jobs[each[0]]}_{each[1]}" for each in array.after]
        words.append(f"--dependency=afterok:{':'.join(elements)}")
        words.append("--kill-on-invalid-dep=yes")  # else it stays pending for ever behind a failure
    words.append(f"--export=ALL,FIRST_FLEET={array.first},TRANSFERABILITY_SITE={site_file()}")
    words += [
        *options.sbatch_options,
        str(project_file("slurm/fleet.sbatch")),
        str(experiment),
        f"--submission={file}",
    ]
    return [*words, f"--devices={options.devices}", f"--nodes={options.nodes}", *options.training]


def report_command(
    jobs: Sequence[str],
    name: str,
    study: Study,
    experiment: Path,
    only: Sequence[str],
    options: Options,
    site: Mapping[str, str],
) -> list[str]:
    modes = [word.removeprefix("--wandb=") for word in options.training if word.startswith("--wandb=")]
    return [
        *common_words(f"{name}-report", study, f"{name}-report-%j.log", options, site),
        f"--dependency=afterany:{':'.join(jobs)}",
        f"--export=ALL,TRANSFERABILITY_SITE={site_file()}" + "".join(f",REPORT_WANDB={mode}" for mode in modes),
        *options.sbatch_options,
        str(project_file("slurm/report.sbatch")),
        str(experiment),
        *(f"--only={pattern}" for pattern in only),
    ]


def _sbatch(words: Sequence[str], index: int, dry_run: bool, console: Console) -> str:
    """Submits, and returns the job's number; dry: prints, and returns the shell variable that holds it."""
    if dry_run:
        # The variables of earlier jobs are to be filled in by the shell; nothing else is.
        line = re.sub(r"'([^']*\$\{JOB\d+\}[^']*)'", r'"\1"', shlex.join(words))
        console.print(f"JOB{index}=$({line})", highlight=False, soft_wrap=True, markup=False)
        return f"${{JOB{index}}}"
    # `transferability` has to be found on the node too, even if this one was called by its path.
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    if shutil.which("sbatch") is None:
        raise Refused("there is no sbatch here; submit on a login node of the cluster, or train here with `run`")
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        said = (done.stderr.strip() or f"code {done.returncode}").splitlines()[-1]
        before = f" (submitted before it: {index} jobs; submit again for the rest)" if index else ""
        raise Refused(f"sbatch refuses: {said}{before}; the command was: {shlex.join(words)}")
    return done.stdout.strip().split(";")[0]


def _write_list(folder: StudyFolder, number: int, study: Study, experiment: Path, listing: list[list[str]]) -> int:
    """Writes the list of fleets under the first free number, whole and for good; that number."""
    content = {
        "study": study.name,
        "experiment": str(experiment),
        "user": getpass.getuser(),
        "time": time.time(),
        "fleets": listing,
    }
    while True:
        file = submission(folder, number)
        beside = file.with_name(f".{number}.{secrets.token_hex(8)}")
        with write_atomically(beside):
            pass
        write_json(beside, content)
        try:
            os.link(beside, file)  # unlike a renaming, this replaces nothing
            return number
        except FileExistsError:
            number += 1
        finally:
            beside.unlink()


def _describe(array: Array, jobs: Sequence[str]) -> str:
    what = "base" if array.fleets[0].stage == 0 else "network"
    after = [each if isinstance(each, str) else f"{jobs[each[0]]}_{each[1]}" for each in array.after]
    waits = f", after {' and '.join(after)}" if after else ""
    networks = sum(len(fleet.networks) for fleet in array.fleets)
    return f"{_count(networks, what)} in {_count(len(array.fleets), 'fleet')}{waits}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _say_what_is_left_out(work: Work, chosen: int, mark: str, console: Console) -> None:
    said = [f"{work.done} of {chosen} networks are done"]
    if work.queued:
        said.append(f"{len(work.queued)} are in the queue")
    lines = [", ".join(said)]
    lines += [f"left out: {each.network.name} is being trained by {each.holder}" for each in work.elsewhere]
    for detail in dict.fromkeys(each.detail for each in work.blocked):
        names = [each.network.name for each in work.blocked if each.detail == detail]
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"left out: {names[0]}{others}: {detail}")
    for line in lines:
        console.print(mark + line, highlight=False, soft_wrap=True, markup=False)


# ------------------------------------------------------------------------------------------ memory


def fleet_memory(study: Study, fleet: Fleet, devices: int = 1) -> float:
    """Bytes that training `fleet` takes on each of `devices`: calculated, to a third or so, not measured.

    A trained weight takes 12 bytes (itself, gradient, momentum), a frozen one 4. Each network keeps what its
    backward pass needs: a layer's input, its output before and after pooling, and where the maxima were. A frozen
    prefix keeps only the features that it hands on.
    """
    recipe, architecture = fleet.networks[0].recipe, study.architecture
    width = 2 if recipe.precision == "bfloat16" else 4
    images = recipe.batch / devices
    sizes = shapes(architecture)
    weights = kept = 0.0
    deepest: dict[str, int] = {}
    for network in fleet.networks:
        plans = network.treatment.layers(architecture.depth)
        for (_, spec), plan, (inputs, side), (outputs, after) in zip(
            architecture.layers, plans, sizes, sizes[1:], strict=False
        ):
            if not plan.rate:
                continue
            if isinstance(spec, Conv):
                weights += 12 * spec.channels * (spec.kernel**2 * inputs / spec.groups + 1)
                before = ((side + 2 * spec.pad - spec.kernel) // spec.stride + 1) ** 2 * spec.channels
                pooling = 8 * after**2 * outputs if spec.pool else 0
                normalising = 8 * after**2 * outputs if spec.lrn else 0  # in single precision, whatever the recipe's
                kept += images * (width * (before + after**2 * outputs) + pooling + normalising)
            else:
                weights += 12 * (outputs or 1000) * (inputs * side**2 + 1)
                kept += images * 2 * width * (outputs or 1000)
        if network.treatment.source and not network.treatment.rate:
            deepest[network.treatment.source] = max(network.treatment.n, deepest.get(network.treatment.source, 0))
    for n in deepest.values():
        kept += images * width * sum(channels * side**2 for channels, side in sizes[1 : n + 1])
    return weights + kept + images * sizes[0][0] * architecture.crop**2 * 4 * 2


def sizes_that_fit(study: Study, chosen: Sequence[Network], devices: int = 1) -> str:
    """For people: what the largest fleet takes, and which --fleet-size fits into GPUs of the usual sizes."""
    # Splits and seeds repeat each other: one of each kind of group is enough.
    groups = {tuple((each.short_name, each.recipe) for each in fleet.networks): fleet for fleet in fleets(chosen)}
    networks = [network for fleet in groups.values() for network in fleet.networks]

    def most(size: int) -> float:
        return max(fleet_memory(study, fleet, devices) for fleet in fleets(networks, size)) / 1e9

    largest = max(len(fleet.networks) for fleet in groups.values())
    whole = most(largest)
    words = [
        f"memory, calculated: the largest fleet ({largest} networks) takes about {max(whole, 0.1):,.1f} GB of a GPU"
    ]
    for gigabytes in (16, 24, 40, 80, 141):
        if whole <= 0.9 * gigabytes:
            words.append(f"{gigabytes} GB take it")
            break
        low, high = 0, largest  # fits, does not fit
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if most(middle) <= 0.9 * gigabytes else (low, middle)
        if not low:
            words.append(f"{gigabytes} GB take not even one network")
        else:  # a limit of 27 halves 28 networks: what counts is 14
            words.append(f"{gigabytes} GB take --fleet-size {max(len(f.networks) for f in fleets(networks, low))}")
    return "; ".join(words)


# ------------------------------------------------------------------------------------------ on the node


def element_networks(study: Study, file: Path, element: int) -> tuple[Network, ...]:
    """The networks of one element of a submission, by the list that was written for it."""
    listing = read_json(file)["fleets"]
    if not 0 <= element < len(listing):
        raise Refused(f"{file} lists fleets 0 to {len(listing) - 1}, no {element}")
    by_name = study.by_name
    for name in listing[element]:
        if name not in by_name:
            raise Refused(f"{file} lists {name}, which study {study.name!r} no longer has; submit it anew")
    return tuple(by_name[name] for name in listing[element])


def leave_reason(study: Study, chosen: Sequence[Network], reason: str) -> None:
    """Writes for `status` why networks could not even be started, unless somebody else trains them."""
    folder = study_folder(study.name)
    for fleet in pending(study, chosen, None):
        if not any(folder.lock(network.name).exists() for network in fleet.networks):
            names = [network.name for network in fleet.networks]
            said = {"networks": names, "reason": reason, "time": time.time()}
            write_json(folder.fleet(fleet.name) / "failed.json", said)


def refuse_diverged(study: Study, chosen: Sequence[Network]) -> None:
    """Refused if every one of `chosen` diverged: then nothing may start that waits for them."""
    found = statuses(study, chosen)
    if found and all(status.state == "diverged" for status in found):
        first = found[0]
        others = f" and so did the other {len(found) - 1}" if len(found) > 1 else ""
        raise Refused(
            f"{first.network.name} diverged {first.detail}{others}; the recipe's rate may be too high. "
            "What copies from it is not trained"
        )

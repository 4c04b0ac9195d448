"""Train a study on this machine: worker processes that live long and take one fleet after the other."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from transferability import available_cores
from transferability.data.packed import PackedImages
from transferability.files import Refused, in_words, read_json
from transferability.networks.caffenet import flops
from transferability.runs.paths import StudyFolder, study_folder
from transferability.runs.status import at_chance
from transferability.splits import split_tasks, task_classes
from transferability.study import Fleet, Network, Study, difference, fleets, record

# Floating-point operations a second that small CaffeNets reach on one core, and CaffeNet in bfloat16 on one GPU.
# Round numbers for a first estimate.
CORE_SPEED, GPU_SPEED = 40e9, 60e12


def with_sources(study: Study, chosen: Sequence[Network]) -> tuple[Network, ...]:
    """`chosen` and the bases that they copy from, in the study's order."""
    names = {network.name for network in chosen} | {network.source_name for network in chosen}
    return tuple(network for network in study.networks if network.name in names)


def pending(study: Study, chosen: Sequence[Network], size: int | None) -> list[Fleet]:
    """The fleets that still have to be trained so that `chosen` is done, by stage.

    A started fleet keeps its composition until it is done, whatever `size` says now; the rest is divided anew.
    """
    folder = study_folder(study.name)
    left = {network.name: network for network in chosen if not folder.result(network.name).exists()}
    out = []
    for name, members in started(folder).items():
        unknown = [member for member in members if member not in study.by_name]
        if unknown:
            raise Refused(
                f"{folder.fleet(name)} was started with {unknown[0]}, which study {study.name!r} no longer has; "
                "put it back into the study, or remove that folder"
            )
        if any(member in left for member in members):
            out.append(Fleet(tuple(study.by_name[member] for member in members)))
            for member in members:
                left.pop(member, None)
    return sorted(out + fleets(left.values(), size), key=lambda fleet: fleet.stage)


def dry(study: Study, steps: int, batch: int, packed: PackedImages) -> Study:
    """`study` with every network trained for `steps` steps of `batch` images: to see that all can be trained.

    Where a network is trained on more images a class than the set has, it takes all there are, and says so in its
    name.
    """
    largest = int(np.bincount(packed.train.labels).max())

    def shortened(network: Network) -> Network:
        recipe = replace(network.recipe, name="dry-run", steps=steps, batch=batch, validate_every=steps, warmup=0)
        wanted = network.images_per_class
        if wanted is None or wanted <= largest:
            return replace(network, recipe=recipe)
        return replace(network, recipe=recipe, images_per_class=largest, variant=f"of-{wanted}{network.variant}")

    return replace(study, name=f"{study.name}-dry-run", networks=tuple(map(shortened, study.networks)))


def started(folder: StudyFolder) -> dict[str, list[str]]:
    """Name of each fleet that was started and is not done → names of its networks."""
    out = {}
    for file in sorted(folder.fleets.glob("*/fleet.json")):
        try:
            out[file.parent.name] = read_json(file)["networks"]
        except Refused:
            if file.exists():  # else another process has finished it just now
                raise
    return out


def remove_fleet(folder: StudyFolder, name: str) -> None:
    """Removes the folder of a fleet that is done: from its place at once, since half a folder says nothing."""
    aside = folder.root / f".removed-{secrets.token_hex(8)}"
    with suppress(OSError):  # another process has done it
        folder.fleet(name).rename(aside)
    shutil.rmtree(aside, ignore_errors=True)  # what a kill leaves of it, the next command removes


def tidy(folder: StudyFolder) -> None:
    """Removes the folders of fleets that are done: a kill has left them there."""
    for name, members in started(folder).items():
        if all(folder.result(member).exists() for member in members):
            remove_fleet(folder, name)
    for aside in folder.root.glob(".removed-*"):
        shutil.rmtree(aside, ignore_errors=True)


def without_diverged(folder: StudyFolder, fleet: Fleet) -> tuple[Fleet | None, str]:
    """`fleet` without the networks that would copy from a base that diverged, and who they are, in words.

    To be called when the sources are done. None if nothing is left.
    """
    diverged: dict[str, int] = {}
    for source in {network.source_name for network in fleet.networks if network.source_name}:
        if (step := read_json(folder.result(source))["diverged_at"]) is not None:
            diverged[source] = step
    left = tuple(network for network in fleet.networks if network.source_name not in diverged)
    words = [
        f"{sum(network.source_name == source for network in fleet.networks)} networks that copy from {source}, "
        f"which diverged at step {step}"
        for source, step in diverged.items()
    ]
    return (Fleet(left) if left else None), " and ".join(words)


# ------------------------------------------------------------------------------------------ what is refused

FORMS = ("plain", "split", "graph", "split+graph")  # of a training step (`device.py`)


def refuse_form(form: str, gpu: bool, processes: int) -> None:
    """Refuses a form that there is not, or that this machine cannot train a fleet in."""
    if form not in ("auto", *FORMS):
        raise Refused(f"--form {form}: write auto, {', '.join(FORMS[:-1])} or {FORMS[-1]}")
    if "graph" in form and not gpu:
        raise Refused(f"--form {form}: only a GPU replays graphs; write auto, plain or split")
    if "graph" in form and processes > 1:
        raise Refused(f"--form {form}: a graph trains a fleet on one GPU; for {processes}, write auto, plain or split")


def refuse_difference(name: str, file: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses, naming the field, if a network was trained as something else than the study says now."""
    found = difference(dict(then), dict(now))
    if found:
        raise Refused(
            f"{name} ({file}): {found}; name the study differently, or move that folder away to train it anew"
        )


def refuse_unfit(study: Study, chosen: Sequence[Network], packed: PackedImages) -> None:
    """Refuses, by name, networks that cannot be trained on this packed set: before anything is trained."""
    seen: set[tuple[Any, ...]] = set()
    for network in chosen:
        tasks = {task: task_classes(packed.classes, network.split, task) for task in split_tasks(network.split)}
        network.treatment.check(study.architecture.depth, {task: len(classes) for task, classes in tasks.items()})
        recipe, target, most = network.recipe, network.treatment.target, network.images_per_class
        key = (network.split, target, most, recipe)
        if key in seen:
            continue
        seen.add(key)
        counts = np.bincount(packed.train.labels, minlength=len(packed.classes))[tasks[target]]
        if most is not None and counts.max() < most:
            raise Refused(
                f"{network.name}: no class has {most} training images, the largest has {counts.max()}; "
                f"write @{counts.max()} or less"
            )
        images = int(counts.sum() if most is None else np.minimum(counts, most).sum())
        if recipe.batch > images:
            raise Refused(
                f"{network.name}: recipe {recipe.name!r} has a batch of {recipe.batch}, and there are only {images} "
                "training images; make the batch smaller"
            )
        if packed.size % recipe.shrink:
            raise Refused(
                f"{network.name}: pictures of {packed.size} pixels do not shrink by {recipe.shrink}; pack them with "
                f"--size {recipe.shrink * -(-recipe.crop * 8 // 7)}"
            )
        if packed.size // recipe.shrink < recipe.crop:
            raise Refused(
                f"{network.name}: pictures of {packed.size // recipe.shrink} pixels cannot be cropped to {recipe.crop};"
                f" pack them with --size {recipe.crop * 8 // 7 * recipe.shrink} or so"
            )


def refuse_mismatches(study: Study, chosen: Sequence[Network], packed: PackedImages) -> None:
    """Refuses what cannot be trained, or was trained as something else: by name, before anything is trained.

    Looks at the results of `chosen` and of what they copy from, and at the fleets that were started.
    """
    folder, by_name = study_folder(study.name), study.by_name
    refuse_unfit(study, chosen, packed)
    then = {}
    for network in with_sources(study, chosen):
        file = folder.result(network.name)
        if file.exists():
            then[network.name] = file, trained_as(file)
    for fleet in started(folder):
        file = folder.fleet(fleet) / "fleet.json"
        if file.exists():  # else another process has finished it just now
            for name, its_record in read_json(file)["records"].items():
                then.setdefault(name, (file, its_record))
    for name, (file, its_record) in then.items():
        if name in by_name:
            refuse_difference(name, file, its_record, record(study, by_name[name], packed.checksum))


def trained_as(file: Path) -> dict[str, Any]:
    """The record in a result.json; Refused, naming the file, if there is none."""
    found = read_json(file)
    if not isinstance(found, dict) or not isinstance(found.get("record"), dict):
        raise Refused(f"{file} holds no result; move it away to train that network again")
    return found["record"]


def fleet_size(chosen: Sequence[Network], workers: int) -> int | None:
    """The largest size of a fleet that gives every worker something to do in the largest stage; None: no limit."""
    if not chosen:
        return None
    last = max(network.stage for network in chosen)
    groups = [fleet for fleet in fleets(chosen) if fleet.stage == last]
    if len(groups) >= workers:
        return None
    return max(1, -(-sum(len(group.networks) for group in groups) // workers))


def operations(study: Study, network: Network, classes: int = 100) -> tuple[float, float]:
    """(frozen, trained): floating-point operations per training image in a network's frozen and trained layers.

    The backward pass costs twice the forward pass, but for the first trained layer, whose input needs no gradient.
    """
    plans = network.treatment.layers(study.architecture.depth)
    costs = flops(study.architecture, classes)
    trained = [cost for cost, plan in zip(costs, plans, strict=True) if plan.rate]
    return float(sum(costs) - sum(trained)), float(3 * sum(trained) - trained[0])


def fleet_operations(study: Study, fleet: Fleet, classes: int = 100) -> float:
    """Floating-point operations of a whole fleet's training: each shared frozen prefix counts once."""
    prefixes: dict[str, float] = {}
    trained = 0.0
    for network in fleet.networks:
        its_frozen, its_trained = operations(study, network, classes)
        trained += its_trained
        prefixes[network.treatment.source] = max(its_frozen, prefixes.get(network.treatment.source, 0.0))
    recipe = fleet.networks[0].recipe
    return (sum(prefixes.values()) + trained) * recipe.steps * recipe.batch


# ------------------------------------------------------------------------------------------ workers


def gpus(accelerator: str) -> list[str]:
    """The GPUs of this machine that may be used, as CUDA_VISIBLE_DEVICES names them; none for "cpu"."""
    if accelerator == "cpu":
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [word.strip() for word in visible.split(",") if word.strip() not in ("", "-1")]
    try:  # without torch: the parent does not need it
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []


def default_workers(accelerator: str, devices: int) -> int:
    """One worker for every `devices` GPUs; for as many cores where there is no GPU."""
    return max(1, (len(gpus(accelerator)) or available_cores()) // devices)


def _environments(slot: int, devices: int, its_gpus: Sequence[str]) -> list[dict[str, str]]:
    """What each of the `devices` processes of worker number `slot` finds in its environment."""
    shared = {}
    if its_gpus:
        if devices > len(its_gpus):
            raise Refused(f"{devices} devices for a fleet: there are only {len(its_gpus)} GPUs here")
        # More workers than GPUs share them.
        mine = [its_gpus[(slot * devices + i) % len(its_gpus)] for i in range(devices)]
        shared["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    if devices == 1:
        return [shared]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    return [{**shared, "LOCAL_RANK": str(rank), "NODE_RANK": "0"} for rank in range(devices)]


def _work(pipe: Connection, study: Study, machine: Any, environment: Mapping[str, str]) -> None:
    """A worker's process: trains the fleets that come through the pipe, and says what became of each."""
    os.environ.update(environment)  # before torch loads
    for word in ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"):
        os.environ.pop(word, None)  # inside an allocation too, these processes are ours, and not srun's tasks
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    import torch

    from transferability.runs.locks import Held
    from transferability.training.train import quiet, train_fleet

    quiet()
    torch.set_num_threads(1 if "OMP_NUM_THREADS" not in os.environ else int(os.environ["OMP_NUM_THREADS"]))
    while True:
        try:
            fleet = pipe.recv()
        except EOFError:  # the parent is gone or has nothing more
            return
        try:
            train_fleet(study, fleet, machine, lambda step: pipe.send(("step", step)))
            pipe.send(("done", ""))
        except Held as error:
            pipe.send(("held", str(error)))
        except Refused as error:
            pipe.send(("failed", str(error)))
        except BrokenPipeError:
            return
        except Exception as error:
            import traceback

            if not isinstance(error, OSError) or error.filename is None:  # else it is the disk, not the program
                traceback.print_exc()
            pipe.send(("failed", in_words(error)))


def _leave_with_parent() -> None:
    """Ends this process at once when its parent is killed: a second run must not meet the first one's workers."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def leave_with_launcher() -> None:
    """Ends this process within a second of the one that started it, if that was Lightning's first of several.

    It would wait half an hour for a first process that was killed before they met.
    """
    if "LOCAL_RANK" not in os.environ:
        os.environ["TRANSFERABILITY_LAUNCHER"] = str(os.getpid())  # for those that Lightning starts from here
        return
    launcher = os.environ.get("TRANSFERABILITY_LAUNCHER")  # none: started by torchrun, which sees to it itself

    def watch() -> None:
        while str(os.getppid()) == launcher:
            time.sleep(0.5)
        os._exit(1)

    if launcher is not None:
        threading.Thread(target=watch, daemon=True).start()


def is_first() -> bool:
    """Whether this is the first of the processes that train a fleet together: the one that writes."""
    ranks = (os.environ.get(word) for word in ("SLURM_PROCID", "RANK", "LOCAL_RANK"))
    return int(next((rank for rank in ranks if rank is not None), "0")) == 0


@dataclass
class Worker:
    """One process, or several that train a fleet together; then the first one's steps count."""

    slot: int
    processes: list[BaseProcess]
    pipes: list[Connection]
    fleet: Fleet | None = None
    step: int = 0
    finished: int = 0

    def end(self) -> None:
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            if self.fleet and len(self.processes) > 1:
                process.kill()  # Lightning would first speak with the others, of which one may be gone
            elif self.fleet:
                process.terminate()
        for process in self.processes:
            process.join()


def run_study(
    study: Study,
    chosen: Sequence[Network],
    machine: Any,
    workers: int,
    size: int | None,
    console: Console,
) -> bool:
    """Trains all of `chosen` that is not done, `workers` fleets at once. True if all of it is done at the end.

    A fleet that fails is named and does not stop the others; nothing that is done is lost.
    """
    folder = study_folder(study.name)
    chosen = with_sources(study, chosen)
    tidy(folder)
    waiting = pending(study, chosen, size if size is not None else fleet_size(chosen, workers))
    if not waiting:
        return True
    # One thread a process, and threads that sleep while they wait: before torch loads in the workers.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    context = get_context("spawn")

    its_gpus = gpus(machine.accelerator)

    def new_worker(slot: int) -> Worker:
        worker = Worker(slot, [], [])
        for environment in _environments(slot, machine.devices, its_gpus):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, study, machine, environment), daemon=True)
            process.start()
            theirs.close()
            worker.processes.append(process)
            worker.pipes.append(ours)
        return worker

    pool = [new_worker(slot) for slot in range(min(workers, len(waiting)))]
    bar = Bar(study, chosen, folder, waiting, console)
    try:
        with bar.progress:
            while waiting or any(worker.fleet for worker in pool):
                for worker in pool:
                    while not worker.fleet and (ready := _ready(folder, waiting)) is not None:
                        waiting.remove(ready)
                        fleet, blocked = without_diverged(folder, ready)
                        if blocked:
                            console.print(f"left out: {blocked}", soft_wrap=True)
                            bar.swap(ready, fleet)
                        if fleet is not None:
                            worker.fleet, worker.step, worker.finished = fleet, 0, 0
                            for pipe in worker.pipes:
                                with suppress(BrokenPipeError):  # its end is seen below
                                    pipe.send(fleet)
                if not any(worker.fleet for worker in pool):
                    break  # what is left waits for what failed
                busy = {pipe: worker for worker in pool if worker.fleet for pipe in worker.pipes}
                for ready_pipe in connection.wait(list(busy), timeout=1.0):
                    assert isinstance(ready_pipe, Connection)
                    worker = busy[ready_pipe]
                    if worker.fleet is None:  # another of its processes has failed in this round
                        continue
                    useless = len(worker.pipes) > 1  # if one fails: the others wait for it
                    try:
                        event, word = ready_pipe.recv()
                    except (EOFError, ConnectionResetError):
                        process = worker.processes[worker.pipes.index(ready_pipe)]
                        process.join()
                        event, word = "failed", f"{_end(process.exitcode)}; run the same command again to go on"
                        useless = True
                    if event == "step":
                        worker.step = word
                        continue
                    if event == "done":
                        worker.finished += 1
                        if worker.finished < len(worker.pipes):
                            continue
                    elif useless:
                        worker.end()
                        pool.remove(worker)
                        if waiting:  # another one for the other fleets
                            pool.append(new_worker(worker.slot))
                    if event in ("failed", "held"):
                        others = len(worker.fleet.networks) - 1
                        more = f" and {others} more" if others else ""
                        console.print(f"{event}: {worker.fleet.networks[0].name}{more}: {word}", soft_wrap=True)
                    else:
                        for line in at_chance(study, worker.fleet.networks):
                            console.print(line, soft_wrap=True)
                    worker.fleet = None
                bar.show(pool)
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to go on from the last checkpoints")
        raise
    finally:
        for worker in pool:
            worker.end()
    return all(folder.result(network.name).exists() for network in chosen)


def _end(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        return f"its process was killed ({signal.Signals(-code).name})"
    return f"its process ended with code {code}"


def _ready(folder: StudyFolder, waiting: Sequence[Fleet]) -> Fleet | None:
    """The first fleet whose sources are all done."""
    for fleet in waiting:
        sources = {network.source_name for network in fleet.networks if network.source_name}
        if all(folder.result(source).exists() for source in sources):
            return fleet
    return None


class Bar:
    """The study's progress: networks done, images/s (each network's images count), time left."""

    def __init__(
        self,
        study: Study,
        chosen: Sequence[Network],
        folder: StudyFolder,
        waiting: Sequence[Fleet],
        console: Console,
    ) -> None:
        self.study, self.chosen, self.folder = study, chosen, folder
        self.cost = {fleet.name: fleet_operations(study, fleet) for fleet in waiting}
        self.fleets = {fleet.name: fleet for fleet in waiting}
        self.at: dict[str, int] = {}
        self.images: list[tuple[float, float]] = []
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[networks]}"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=120,
        )
        self.task = self.progress.add_task(study.name, total=sum(self.cost.values()), networks="", rate="")
        self.console = console
        self.said = time.monotonic()

    def swap(self, old: Fleet, new: Fleet | None) -> None:
        """A part of fleet `old`, or nothing of it, is trained after all."""
        del self.cost[old.name], self.fleets[old.name]
        if new is not None:
            self.cost[new.name], self.fleets[new.name] = fleet_operations(self.study, new), new
        self.progress.update(self.task, total=sum(self.cost.values()))

    def show(self, pool: Sequence[Worker]) -> None:
        for worker in pool:
            if worker.fleet is not None:
                self.at[worker.fleet.name] = worker.step
        working = {worker.fleet.name for worker in pool if worker.fleet}
        done = images = 0.0
        for name, step in self.at.items():
            fleet = self.fleets[name]
            recipe = fleet.networks[0].recipe
            part = step / recipe.steps if name in working else 1.0
            done += self.cost[name] * part
            images += part * recipe.steps * recipe.batch * len(fleet.networks)
        now = time.monotonic()
        self.images = [*self.images[-60:], (now, images)]
        (then, before), (_, after) = self.images[0], self.images[-1]
        rate = (after - before) / (now - then) if now > then else 0.0
        finished = sum(self.folder.result(network.name).exists() for network in self.chosen)
        networks, speed = f"{finished}/{len(self.chosen)} networks", f"{rate:,.0f} images/s"
        self.progress.update(self.task, completed=done, networks=networks, rate=speed)
        if not self.console.is_terminal and now - self.said > 60:  # a line a minute in a log
            self.said = now
            share = done / max(1.0, sum(self.cost.values()))
            self.console.print(f"{self.study.name}: {share:.0%}, {networks}, {speed}", highlight=False)


def estimate(study: Study, divided: Sequence[Fleet], workers: int) -> str:
    """What training `divided` will take: operations, and hours on this machine's cores or on one GPU.

    A calculation with round numbers, no measurement: see CORE_SPEED and GPU_SPEED.
    """
    total = sum(fleet_operations(study, fleet) for fleet in divided)
    images = sum(fleet.networks[0].recipe.steps * fleet.networks[0].recipe.batch for fleet in divided)
    cores, gpu = total / (CORE_SPEED * workers) / 3600, total / GPU_SPEED / 3600
    return (
        f"{images:,} images read, {total:.3g} floating-point operations: about {hours(cores)} on {workers} cores "
        f"(at {CORE_SPEED / 1e9:.0f} GFLOP/s each), {hours(gpu)} on one GPU (at {GPU_SPEED / 1e12:.0f} TFLOP/s)"
    )


def hours(value: float) -> str:
    """Hours in words: 3 min, 5.2 h, 12 days."""
    if value < 1:
        return f"{max(1, round(value * 60))} min"
    return f"{value:.1f} h" if value < 48 else f"{value / 24:.0f} days"

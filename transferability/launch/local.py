"""Train what is left of a study on this machine: one fleet after the other in this process, or several in workers."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from transferability.data.tasks import Tasks
from transferability.files import Refused, in_words, read_json
from transferability.interrupts import sigterm_as_ctrl_c, without_ctrl_c
from transferability.names import span
from transferability.runs.features import reading_operations
from transferability.runs.ledger import is_done, without_diverged
from transferability.runs.machine import Machine, forget_ranks, gpus, threads
from transferability.runs.paths import StudyFolder
from transferability.runs.status import remarks
from transferability.study import Fleet, Network, Study
from transferability.training.cost import fleet_operations

SAID_EVERY = 60.0  # seconds between two lines of progress in a log


@dataclass(frozen=True)
class Job:
    """What is trained here: a study, its folder, the folder of packed sets, and how this machine trains."""

    study: Study
    folder: StudyFolder
    data: Path
    machine: Machine


class Ended(NamedTuple):
    """A fleet that is no longer trained. state: done, or held (by another process) or failed for a reason."""

    fleet: Fleet
    state: str
    reason: str = ""


class Trainers(Protocol):
    """Who trains: `Workers` or `ThisProcess`."""

    @property
    def has_room(self) -> bool:
        """Whether another fleet can be started."""

    @property
    def is_busy(self) -> bool:
        """Whether a fleet is being trained, or one has ended that `wait` has not told of."""

    def start(self, fleet: Fleet) -> None: ...

    def wait(self) -> list[Ended]:
        """The fleets that have ended since; waits a second at most."""


def train_pending(
    job: Job, waiting: Sequence[Fleet], trainers: Trainers, say: Callable[[str], None], bar: "Bar | None" = None
) -> list[Fleet]:
    """Trains the fleets of `waiting`, each as soon as its sources are done. Returns those that could not be started.

    A fleet that fails is named and does not stop the others. Left out: networks that copy from a diverged base.
    """
    left = list(waiting)
    while left or trainers.is_busy:
        while trainers.has_room and (ready := _first_ready(job.folder, left)) is not None:
            left.remove(ready)
            fleet, blocked = without_diverged(job.folder, ready)
            if blocked:
                say(f"left out: {blocked}")
                if bar is not None:
                    bar.swap(ready, fleet)
            if fleet is not None:
                trainers.start(fleet)
        if not trainers.is_busy:
            break  # the rest waits for a fleet that failed
        for ended in trainers.wait():
            for line in _outcome_lines(job, ended):
                say(line)
        if bar is not None:
            bar.show()
    return left


def _first_ready(folder: StudyFolder, waiting: Iterable[Fleet]) -> Fleet | None:
    """The first fleet whose sources are all done."""
    for fleet in waiting:
        sources = {network.source_name for network in fleet.networks if network.source_name}
        if all(is_done(folder, source) for source in sources):
            return fleet
    return None


def _outcome_lines(job: Job, ended: Ended) -> list[str]:
    """What there is to say of a fleet that has ended."""
    names = [network.name for network in ended.fleet.networks]
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    if ended.state != "done":
        return [f"{ended.state}: {names[0]}{others}: {ended.reason}"]
    missing = [name for name in names if not is_done(job.folder, name)]
    if missing:
        return [
            f"failed: {missing[0]}{others}: training has ended without a result in {job.folder.network(missing[0])}"
        ]
    return remarks(job.study, job.folder, ended.fleet.networks)


# ------------------------------------------------------------------------------------------ in this process


@dataclass
class ProgressLines:
    """Says how far a fleet is: a line per minute, for the log of an array task. Called with the step it has reached."""

    fleet: Fleet
    say: Callable[[str], None]
    step: int | None = None  # at the line before
    since: float = 0.0

    def __call__(self, step: int) -> None:
        now = time.monotonic()
        if self.step is None:
            self.step, self.since = step, now
            return
        if now - self.since < SAID_EVERY or step <= self.step:
            return
        recipe, rate = self.fleet.recipe, (step - self.step) / (now - self.since)
        self.say(
            f"{time.strftime('%F %T')} {self.fleet.name}: step {step:,} of {recipe.steps:,}, "
            f"{rate * recipe.batch:,.0f} images/s, {span((recipe.steps - step) / rate)} left"
        )
        self.step, self.since = step, now


@dataclass
class ThisProcess:
    """Trains one fleet at a time, in this process. What fails is raised.

    first: whether this is the first of the processes that train a fleet together. preempted: see `train_fleet`.
    """

    job: Job
    say: Callable[[str], None]
    first: bool = True
    preempted: threading.Event | None = None
    ended: list[Ended] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        return not self.ended

    @property
    def is_busy(self) -> bool:
        return bool(self.ended)

    def start(self, fleet: Fleet) -> None:
        from transferability.training.train import FleetTraining, train_fleet

        if self.first:
            work = f"{fleet.recipe.steps} steps" if fleet.trains else fleet.recipe.name
            self.say(f"{fleet.name}: {len(fleet.networks)} networks, {work}")
        job = self.job
        training = FleetTraining(job.study, fleet, job.folder, job.data, job.machine, self.first)
        train_fleet(training, ProgressLines(fleet, self.say), self.preempted)
        self.ended.append(Ended(fleet, "done"))

    def wait(self) -> list[Ended]:
        ended, self.ended = self.ended, []
        return ended if self.first else []


# ------------------------------------------------------------------------------------------ workers


@dataclass
class Worker:
    """One process, or several that train a fleet together; then the first one's steps count."""

    slot: int
    processes: list[BaseProcess]
    pipes: list[Connection]
    fleet: Fleet | None = None
    step: int = 0
    finished: int = 0

    def give(self, fleet: Fleet) -> None:
        self.fleet, self.step, self.finished = fleet, 0, 0
        for pipe in self.pipes:
            with suppress(BrokenPipeError, ConnectionResetError):  # `Workers.wait` sees that its process has ended
                pipe.send(fleet)

    def stop(self) -> None:
        """Tells it to end. A single process that trains writes a checkpoint first."""
        for process in self.processes:
            if self.fleet and len(self.processes) > 1:
                process.kill()  # Lightning would first speak with the others, of which one may be gone
            elif self.fleet:
                process.terminate()
        if not self.fleet:
            self._close()

    def end(self) -> None:
        """Waits until it has ended."""
        for process in self.processes:
            process.join()
        self._close()  # not before: a worker that finds its pipe closed has lost its parent

    def _close(self) -> None:
        for pipe in self.pipes:
            pipe.close()


class Workers:
    """Worker processes that live long and take one fleet after the other. A context manager: at its end they end."""

    def __init__(self, job: Job, number: int) -> None:
        self.job, self.number, self.gpus = job, number, gpus(job.machine.accelerator)
        self.pool: list[Worker] = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for worker in self.pool:
                worker.stop()
            for worker in self.pool:
                worker.end()
        except KeyboardInterrupt:  # the second one: nobody waits for a checkpoint
            for worker in self.pool:
                for process in worker.processes:
                    process.kill()
            raise

    def _new(self, slot: int) -> Worker:
        context = get_context("spawn")
        resource_tracker.ensure_running()
        worker = Worker(slot, [], [])
        for environment in _environments(slot, self.job.machine.devices, self.gpus):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, self.job, environment), daemon=True)
            with without_ctrl_c():  # it is the parent's to handle
                process.start()
            theirs.close()
            worker.processes.append(process)
            worker.pipes.append(ours)
        return worker

    @property
    def has_room(self) -> bool:
        return len(self.pool) < self.number or any(worker.fleet is None for worker in self.pool)

    @property
    def is_busy(self) -> bool:
        return any(worker.fleet for worker in self.pool)

    def start(self, fleet: Fleet) -> None:
        worker = next((worker for worker in self.pool if worker.fleet is None), None)
        if worker is None:
            taken = {worker.slot for worker in self.pool}
            worker = self._new(next(slot for slot in range(self.number) if slot not in taken))
            self.pool.append(worker)
        worker.give(fleet)

    def wait(self) -> list[Ended]:
        busy = {pipe: worker for worker in self.pool if worker.fleet for pipe in worker.pipes}
        ended = []
        for pipe in connection.wait(list(busy), timeout=1.0):
            assert isinstance(pipe, Connection)
            worker = busy[pipe]
            # None: another of its processes has failed in this round.
            if worker.fleet is not None and (fleet := self._listen(worker, pipe)) is not None:
                ended.append(fleet)
        return ended

    def _listen(self, worker: Worker, pipe: Connection) -> Ended | None:
        """Takes a message of one of the worker's processes; its fleet, if that has ended with it.

        Refused if the process cannot import what training needs: no other could.
        """
        fleet = worker.fleet
        assert fleet is not None
        useless = len(worker.pipes) > 1  # if one of several fails, the others wait for it for ever
        try:
            state, text = pipe.recv()
        except (EOFError, OSError):
            process = worker.processes[worker.pipes.index(pipe)]
            process.join()
            state, text = "failed", f"{_how_it_ended(process.exitcode)}; run the same command again to go on"
            useless = True
        if state == "unable":
            raise Refused(f"no worker can train here: {text}")
        if state == "step":
            worker.step = text
            return None
        if state == "done":
            worker.finished += 1
            if worker.finished < len(worker.pipes):
                return None
        elif useless:
            worker.stop()
            worker.end()
            self.pool.remove(worker)
        worker.fleet = None
        return Ended(fleet, state, str(text))


def _environments(slot: int, devices: int, names: Sequence[str]) -> list[dict[str, str]]:
    """What each of the `devices` processes of worker number `slot` finds in its environment. names: of the GPUs."""
    shared = {}
    if names:
        if devices > len(names):
            raise Refused(f"{devices} devices for a fleet: there are only {len(names)} GPUs here")
        # More workers than GPUs share them.
        mine = [names[(slot * devices + i) % len(names)] for i in range(devices)]
        shared["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    if devices == 1:
        return [shared]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    return [{**shared, "LOCAL_RANK": str(rank), "NODE_RANK": "0"} for rank in range(devices)]


def _work(pipe: Connection, job: Job, environment: Mapping[str, str]) -> None:
    """A worker's process: trains the fleets that come through the pipe, and says what became of each."""
    forget_ranks()  # before torch loads
    os.environ.update(environment)
    first = environment.get("LOCAL_RANK", "0") == "0"
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        import torch

        from transferability.training.checkpoint import Preempted
        from transferability.training.train import FleetTraining
        from transferability.training.trainer import quiet
    except Exception as error:  # not installed, a shared library that is missing, versions that do not match
        with suppress(OSError):
            pipe.send(("unable", in_words(error)))
        return

    quiet()
    torch.set_num_threads(threads())

    def send(state: str, content: object = "") -> None:
        try:
            pipe.send((state, content))
        except (BrokenPipeError, ConnectionResetError):  # the parent is gone, which is no failure of this fleet
            os._exit(1)

    while True:
        try:
            fleet = pipe.recv()
        except (EOFError, ConnectionResetError):  # the parent is gone or has nothing more
            return
        training = FleetTraining(job.study, fleet, job.folder, job.data, job.machine, first)
        try:
            outcome = _trained(training, send, None if "LOCAL_RANK" in environment else threading.Event())
        except Preempted:  # by `Worker.stop`
            return
        send(*outcome)


def _trained(training: Any, send: Callable[[str, object], None], preempted: threading.Event | None) -> tuple[str, str]:
    """Trains a fleet; (state, reason) of what came of it. Raises Preempted, after SIGTERM."""
    import traceback

    from transferability.runs.locks import Held
    from transferability.training.checkpoint import Preempted
    from transferability.training.train import train_fleet

    try:
        train_fleet(training, lambda step: send("step", step), preempted)
    except Preempted:
        raise
    except Held as error:
        return "held", str(error)
    except Refused as error:
        return "failed", str(error)
    except Exception as error:
        if not isinstance(error, OSError) or error.filename is None:  # else it is the disk, not the program
            traceback.print_exc()
        return "failed", in_words(error)
    return "done", ""


def _leave_with_parent() -> None:
    """Ends this process at once when its parent is killed: a second run must not meet the first one's workers."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its process was killed ({signal.Signals(-code).name})"
    return f"its process ended with code {code}"


# ------------------------------------------------------------------------------------------ a study


def run_study(job: Job, chosen: Sequence[Network], waiting: Sequence[Fleet], workers: int, console: Console) -> bool:
    """Trains the fleets of `waiting`, `workers` of them at once. True if all of `chosen` is done at the end.

    A fleet that fails is named and does not stop the others; nothing that is done is lost.
    """

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    if waiting:
        try:
            with sigterm_as_ctrl_c(), Workers(job, min(workers, len(waiting))) as pool:
                bar = Bar(job, chosen, waiting, pool, console)
                with bar.progress:
                    train_pending(job, waiting, pool, say, bar)
        except KeyboardInterrupt:
            say("interrupted; run the same command again to go on from the last checkpoints")
            raise
    return all(is_done(job.folder, network.name) for network in chosen)


class Bar:
    """The study's progress: networks done, images/s (each network's images count), time left."""

    def __init__(
        self, job: Job, chosen: Sequence[Network], waiting: Sequence[Fleet], pool: Workers, console: Console
    ) -> None:
        self.job, self.chosen, self.pool, self.console = job, chosen, pool, console
        self.tasks = Tasks(job.study, job.data)
        self.cost = {fleet.name: self._work(fleet) for fleet in waiting}
        self.fleets = {fleet.name: fleet for fleet in waiting}
        self.steps: dict[str, int] = {}  # of each fleet that was started
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
        self.task = self.progress.add_task(job.study.name, total=sum(self.cost.values()), networks="", rate="")
        self.printed = time.monotonic()

    def _work(self, fleet: Fleet) -> float:
        """Floating-point operations of a fleet, roughly."""
        if fleet.is_readout:
            return sum(reading_operations(self.job.study, fleet.networks, self.tasks))
        return fleet_operations(self.job.study, fleet)

    def swap(self, old: Fleet, new: Fleet | None) -> None:
        """Of fleet `old` only `new` is trained, or nothing."""
        del self.cost[old.name], self.fleets[old.name]
        if new is not None:
            self.cost[new.name], self.fleets[new.name] = self._work(new), new
        self.progress.update(self.task, total=sum(self.cost.values()))

    def show(self) -> None:
        working = {worker.fleet.name: worker.step for worker in self.pool.pool if worker.fleet is not None}
        self.steps.update(working)
        finished = {network.name for network in self.chosen if is_done(self.job.folder, network.name)}
        done = images = 0.0
        for name, step in self.steps.items():
            fleet = self.fleets[name]
            share = step / max(1, fleet.recipe.steps) if name in working else 1.0
            if fleet.is_readout:
                share = share_read(self.job.folder, fleet, finished)
            done += self.cost[name] * share
            images += share * fleet.recipe.steps * fleet.recipe.batch * len(fleet.networks)
        now = time.monotonic()
        self.images = [*self.images[-60:], (now, images)]
        (then, first_images), (_, last_images) = self.images[0], self.images[-1]
        rate = (last_images - first_images) / (now - then) if now > then else 0.0
        networks, speed = f"{len(finished)}/{len(self.chosen)} networks", f"{rate:,.0f} images/s" if rate else ""
        self.progress.update(self.task, completed=done, networks=networks, rate=speed)
        if not self.console.is_terminal and now - self.printed > SAID_EVERY:
            self.printed = now
            share = done / max(1.0, sum(self.cost.values()))
            line = f"{self.job.study.name}: {share:.0%}, {networks}"
            self.console.print(line + (f", {speed}" if speed else ""), highlight=False)


def share_read(folder: StudyFolder, fleet: Fleet, finished: Collection[str]) -> float:
    """How far a fleet of readouts is, which takes no steps: half of it is its features, half its classifiers.

    finished: names of networks that are done.
    """
    fitted = sum(network.name in finished for network in fleet.networks) / len(fleet.networks)
    progress, made = folder.fleet(fleet.name).progress, float(fitted > 0)
    if not fitted and progress.exists():
        blocks = read_json(progress)
        made = blocks["step"] / blocks["steps"]
    return (made + fitted) / 2

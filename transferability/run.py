"""Train a study on this machine: worker processes that live long and take one fleet after the other."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from transferability.files import Refused, read_json
from transferability.networks import Conv, shapes
from transferability.paths import StudyFolder, study_folder
from transferability.study import Fleet, Network, Study, fleets

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


def started(folder: StudyFolder) -> dict[str, list[str]]:
    """Name of each fleet that was started and is not done → names of its networks."""
    return {file.parent.name: read_json(file)["networks"] for file in sorted(folder.fleets.glob("*/fleet.json"))}


def fleet_size(chosen: Sequence[Network], workers: int) -> int | None:
    """The largest size of a fleet that gives every worker something to do in the largest stage; None: no limit."""
    if not chosen:
        return None
    last = max(network.stage for network in chosen)
    groups = [fleet for fleet in fleets(chosen) if fleet.stage == last]
    if len(groups) >= workers:
        return None
    return max(1, -(-sum(len(group.networks) for group in groups) // workers))


def operations(study: Study, network: Network) -> tuple[float, float]:
    """(frozen, trained): floating-point operations per training image in a network's frozen and trained layers.

    A multiplication and an addition are two; the backward pass costs twice the forward pass.
    """
    sizes = shapes(study.architecture)
    frozen = trained = 0.0
    plans = network.treatment.layers(study.architecture.depth)
    for (_, spec), plan, (inputs, side), (outputs, _) in zip(
        study.architecture.layers, plans, sizes, sizes[1:], strict=False
    ):
        if isinstance(spec, Conv):
            side = (side + 2 * spec.pad - spec.kernel) // spec.stride + 1
            cost = 2.0 * side * side * spec.channels * spec.kernel**2 * inputs / spec.groups
        else:
            cost = 2.0 * inputs * side * side * (outputs or 100)
        if plan.rate:
            trained += 3 * cost
        else:
            frozen += cost
    return frozen, trained


def fleet_operations(study: Study, fleet: Fleet) -> float:
    """Floating-point operations of a whole fleet's training: each shared frozen prefix counts once."""
    prefixes: dict[str, float] = {}
    trained = 0.0
    for network in fleet.networks:
        its_frozen, its_trained = operations(study, network)
        trained += its_trained
        prefixes[network.treatment.source] = max(its_frozen, prefixes.get(network.treatment.source, 0.0))
    recipe = fleet.networks[0].recipe
    return (sum(prefixes.values()) + trained) * recipe.steps * recipe.batch


# ------------------------------------------------------------------------------------------ workers


def _work(pipe: Connection, study: Study, machine: Any) -> None:
    """A worker: trains the fleets that come through the pipe, and says what became of each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    import torch

    from transferability.locks import Held
    from transferability.train import quiet, train_fleet

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

            traceback.print_exc()
            pipe.send(("failed", f"{type(error).__name__}: {error}"))


@dataclass
class Worker:
    process: BaseProcess
    pipe: Connection
    fleet: Fleet | None = None
    step: int = 0


def run_study(
    study: Study,
    chosen: Sequence[Network],
    machine: Any,
    workers: int,
    size: int | None,
    console: Console,
) -> bool:
    """Trains all of `chosen` that is not done, with `workers` processes. True if all of it is done at the end.

    A fleet that fails is named and does not stop the others; nothing that is done is lost.
    """
    folder = study_folder(study.name)
    chosen = with_sources(study, chosen)
    waiting = pending(study, chosen, size if size is not None else fleet_size(chosen, workers))
    if not waiting:
        return True
    # One thread a process, and threads that sleep while they wait: before torch loads in the workers.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    context = get_context("spawn")
    pool: list[Worker] = []
    for _ in range(min(workers, len(waiting))):
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, study, machine), daemon=True)
        process.start()
        theirs.close()
        pool.append(Worker(process, ours))

    failed: dict[str, str] = {}
    bar = Bar(study, chosen, folder, waiting, console)
    try:
        with bar.progress:
            while waiting or any(worker.fleet for worker in pool):
                for worker in pool:
                    fleet = None if worker.fleet else _ready(study, folder, waiting, failed)
                    if fleet is not None:
                        waiting.remove(fleet)
                        worker.fleet, worker.step = fleet, 0
                        worker.pipe.send(fleet)
                if not any(worker.fleet for worker in pool):
                    break  # what is left waits for what failed
                busy = {worker.pipe: worker for worker in pool if worker.fleet}
                for pipe in connection.wait(list(busy), timeout=1.0):
                    worker = busy[pipe]  # type: ignore[index]
                    assert worker.fleet is not None
                    try:
                        event, word = worker.pipe.recv()
                    except (EOFError, ConnectionResetError):
                        worker.process.join()
                        event, word = "failed", f"its process ended with code {worker.process.exitcode}"
                        pool.remove(worker)
                    if event == "step":
                        worker.step = word
                        continue
                    if event in ("failed", "held"):
                        failed.update({network.name: word for network in worker.fleet.networks})
                        others = len(worker.fleet.networks) - 1
                        more = f" and {others} more" if others else ""
                        console.print(f"{event}: {worker.fleet.networks[0].name}{more}: {word}", soft_wrap=True)
                    worker.fleet = None
                bar.show(pool)
    except KeyboardInterrupt:
        console.print("interrupted; run the same command again to go on from the last checkpoints")
        raise
    finally:
        for worker in pool:
            worker.pipe.close()
            if worker.fleet:
                worker.process.terminate()
        for worker in pool:
            worker.process.join()
    return all(folder.result(network.name).exists() for network in chosen)


def _ready(study: Study, folder: StudyFolder, waiting: Sequence[Fleet], failed: dict[str, str]) -> Fleet | None:
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
            share = done / sum(self.cost.values())
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

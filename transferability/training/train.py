"""Train one fleet, top to bottom."""

import datetime
import hashlib
import logging
import os
import pickle
import platform
import signal
import socket
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import safetensors.torch
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy

import transferability
from transferability.data.packed import PackedImages, open_packed, verify_at_first_use
from transferability.data.stream import ImagesModule, mean_image, task_images
from transferability.files import Refused, in_words, read_json, remove_unfinished, write_atomically, write_json
from transferability.launch.local import is_first, refuse_difference, refuse_form, refuse_unfit, remove_fleet
from transferability.launch.plan import Kind, fastest, measure_forms
from transferability.launch.slurm import fleet_memory
from transferability.recipe import BEST_NEEDS, BEST_OF
from transferability.runs.locks import Grip, Lost, hold
from transferability.runs.paths import StudyFolder, data_root, study_folder
from transferability.splits import task_classes
from transferability.study import Fleet, Network, Study, record
from transferability.training.device import gpu_arithmetic, keep_memory, release_memory
from transferability.training.fleet import FleetModule
from transferability.training.tracking import Tracker

PROBE_PAYS = 2_000  # steps of a recipe from which it pays to try each form for 60


@dataclass(frozen=True)
class Machine:
    """What may change from machine to machine and changes no result, but for rounding where devices differ.

    Several processes see the same pictures and masks as one, and add up in another order. The tolerance: after 20
    steps in 1, 2 and 4 processes, losses agree to 1e-4 of their value, each layer's weights to 1e-4 of their norm,
    accuracies, counts of images and steps of divergence exactly; frozen layers to the bit (tests/test_train.py).
    checkpoint_minutes: how much work a kill may cost; there is always a checkpoint after a validation.
    keep_weights: keep the last weights of every network, not of the bases alone.
    wandb: disabled, offline or online (`tracking.py`). wandb_artifacts: the bases' weights go there too.
    resident: hold the pictures in the device's memory, "yes", "no", or "auto": on a GPU where they fit (`stream.py`).
    form: of a training step (`device.py`), or "auto": a started fleet's own; else the fastest where one GPU trains a
    fleet, and the plain one elsewhere.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    checkpoint_minutes: float = 10.0
    keep_weights: bool = False
    wandb: str = "disabled"
    wandb_artifacts: bool = False
    resident: str = "auto"
    form: str = "auto"
    most_validated: int | None = None


Report = Callable[[int], None]  # called with the step that a fleet has reached


class Warned(Exception):
    """This process was told that its time is over: a checkpoint is written, and training has ended there."""


def train_fleet(
    study: Study,
    fleet: Fleet,
    machine: Machine,
    report: Report = lambda step: None,
    warning: threading.Event | None = None,
) -> None:
    """Trains `fleet` to its end, from its last checkpoint if there is one, and writes its networks' results.

    Safe to call again after any kill. Raises `locks.Held` if another process trains one of its networks,
    Refused where something is missing or does not match; the reason is left in the fleet's failed.json.
    `warning`: once it is set, in any of the processes, all write a checkpoint together and raise Warned. So does
    SIGTERM, where a warning is given.
    """
    folder = study_folder(study.name)
    place = folder.fleet(fleet.name)
    # Under DDP all processes come through here; the first one holds the locks and writes the files.
    first = is_first()
    with hold([folder.lock(n.name) for n in fleet.networks]) if first else nullcontext() as grip:
        if all(folder.result(network.name).exists() for network in fleet.networks):
            remove_fleet(folder, fleet.name)
            return
        (place / "failed.json").unlink(missing_ok=True)
        if first:  # and alone: it holds the locks
            for each in (place, *(folder.network(network.name) for network in fleet.networks)):
                remove_unfinished(each)
        try:
            with ExitStack() as at_end:
                _train(study, fleet, machine, folder, report, warning, first, grip, at_end)
        except (Lost, Warned):  # another process trains these networks now, or will go on; nothing has failed
            raise
        except Exception as error:
            # Any process may be the one that fails; that the others lose their connection to it says nothing.
            echo = not first and ("closed by peer" in str(error) or isinstance(error, torch.distributed.DistError))
            if not echo and not (place / "failed.json").exists():
                names = [network.name for network in fleet.networks]
                failure = {"networks": names, "reason": in_words(error), "time": time.time()}
                with suppress(OSError):  # the reason may be that nothing can be written
                    write_json(place / "failed.json", failure)
            raise


def _train(
    study: Study,
    fleet: Fleet,
    machine: Machine,
    folder: StudyFolder,
    report: Report,
    warning: threading.Event | None,
    first: bool,
    grip: Grip | None,
    at_end: ExitStack,
) -> None:
    place, recipe, one = folder.fleet(fleet.name), fleet.networks[0].recipe, fleet.networks[0]
    target = one.treatment.target

    # ---------------------------------------------------------------- what the results will depend on
    packed = open_packed(data_root() / study.data)
    verify_at_first_use(packed)
    refuse_unfit(study, fleet.networks, packed)
    classes = len(task_classes(packed.classes, one.split, target))
    records = {network.name: record(study, network, packed.checksum) for network in fleet.networks}
    started = place / "fleet.json"
    resumes = started.exists()
    choice = None
    if resumes:
        start = read_json(started)
        then, choice = start["records"], Choice(*start.get("form", ["plain"]))
        if then.keys() != records.keys():
            raise Refused(f"{place} was started with other networks by another process; run the same command again")
        for name in records:
            refuse_difference(name, started, then[name], records[name])
    elif first:
        # If there is one, nothing says of what.
        (place / "checkpoint.pt").unlink(missing_ok=True)

    # ---------------------------------------------------------------- where weights come from
    # 1. the fleet's checkpoint, if there is one: all trained layers;
    # 2. the source's base: copied layers, and frozen ones also after a checkpoint;
    # 3. the draw of source R for random layers, the network's own for the rest (`FleetModule`).
    sources = {
        network.treatment.source: base_weights(study, network, folder, packed)
        for network in fleet.networks
        if network.source_name is not None
    }
    seen = dict.fromkeys([target, *sources])
    pixels = packed.size // recipe.shrink
    means = {
        task: mean_image(packed, one.split, task, recipe.shrink, folder.mean(one.split, task, pixels)) for task in seen
    }
    release_memory()  # of the fleet before
    choice = choose_form(study, fleet, classes, machine, choice)
    module = FleetModule(study, fleet, classes, sources, means, choice.form)
    tracked = None
    if resumes and (place / "checkpoint.pt").exists():
        checkpoint = read_checkpoint(place / "checkpoint.pt")
        module.restore(checkpoint, first)
        tracked = checkpoint.get("tracked")
    elif first and not resumes:
        write_json(started, {"networks": list(records), "records": records, "form": list(choice)})
    tracker = None
    if first and machine.wandb != "disabled":
        epoch = task_images(packed.train, task_classes(packed.classes, one.split, target), one.images_per_class, 1)
        shared = {
            **provenance(),
            "devices": machine.devices * machine.nodes,
            "accelerator": machine.accelerator,
            "form": choice.form,
        }
        tracker = Tracker(study, fleet, folder.root, machine.wandb, len(epoch.rows), shared)
        at_end.callback(tracker.close)
        tracker.start(module, tracked)

    # ---------------------------------------------------------------- training
    if module.step < recipe.steps and not module.all_diverged:
        processes = machine.devices * machine.nodes
        images = ImagesModule(
            packed,
            one.split,
            target,
            one.images_per_class,
            recipe,
            one.stream,
            module.stretch,
            machine.most_validated,
            machine.resident,
            # Half as much again: it is calculated, or measured without a validation, and the allocator wastes some.
            1.5 * max(fleet_memory(study, fleet, processes), choice.memory),
        )
        if recipe.batch % processes:
            raise Refused(
                f"recipe {recipe.name!r}: a batch of {recipe.batch} does not divide among {processes} processes; "
                f"use a number of devices that divides it"
            )
        visible = 0 if machine.accelerator == "cpu" else torch.cuda.device_count()
        if 0 < visible < machine.devices:  # each process picks its own among all GPUs of the node
            raise Refused(
                f"{machine.devices} devices on each node, but this process sees {visible} GPUs; let each see all: "
                f"--gres=gpu:{machine.devices} for the node, no --gpus-per-task, no --gpu-bind"
            )
        trainer = L.Trainer(
            accelerator=machine.accelerator,
            devices=machine.devices,
            num_nodes=machine.nodes,
            # Buffers are equal everywhere, but for the steps of divergence, which are each process's own; and a
            # broadcast at each forward would hang where one process has fewer batches for validation.
            strategy=DDPStrategy(broadcast_buffers=False) if processes > 1 else "auto",
            precision="bf16-mixed" if recipe.precision == "bfloat16" else "32-true",
            # A Lightning epoch is the stretch up to the next validation, wherever it starts.
            max_epochs=recipe.validations - module.step // recipe.validate_every,
            check_val_every_n_epoch=1,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            callbacks=[Keeper(place, machine.checkpoint_minutes, report, warning, grip, tracker)],
            # Its own requeueing deadlocks under DDP and picks up foreign checkpoints; `slurm/` does it.
            plugins=[SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else [],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        keep_memory()
        with gpu_arithmetic():
            trainer.fit(module, images)
    if not first:
        meet()
        return

    # ---------------------------------------------------------------- results; the last file says "done"
    if grip is not None:
        grip.check()
    chance = guess(packed, one.split, target)
    found: list[dict[str, Any]] = []
    kept: list[Path | None] = []
    for i, network in enumerate(fleet.networks):
        digest = None
        if machine.keep_weights or network.treatment.kind == "base":
            weights = safetensors.torch.save(module.weights(i))
            digest = hashlib.sha256(weights).hexdigest()
            with write_atomically(folder.weights(network.name)) as handle:
                handle.write(weights)
        its = result(study, module, i, records[network.name], machine, choice)
        found.append({**its, "chance": chance, "weights_sha256": digest})
        artifact = machine.wandb_artifacts and network.treatment.kind == "base"
        kept.append(folder.weights(network.name) if artifact else None)
    if tracker is not None:  # before the networks are done: what a kill leaves out here is made up for
        tracker.finish(found, kept)
        tracker.close()
    for network, its in zip(fleet.networks, found, strict=True):
        write_json(folder.result(network.name), its)
    report(recipe.steps)
    remove_fleet(folder, fleet.name)
    meet()


class Choice(NamedTuple):
    """The form of a fleet's training step (`device.py`).

    tried: where forms were measured, each one's ms a step, or why it must not be used. memory: bytes, as measured.
    """

    form: str
    tried: dict[str, float | str] = {}
    memory: float = 0.0


def choose_form(study: Study, fleet: Fleet, classes: int, machine: Machine, chosen: Choice | None) -> Choice:
    """The fastest form on a GPU; `chosen` when the fleet was started, it stays, as far as this machine can do it."""
    gpu, processes = machine.accelerator != "cpu" and torch.cuda.is_available(), machine.devices * machine.nodes
    refuse_form(machine.form, gpu, processes)
    if machine.form != "auto":
        return Choice(machine.form)
    alone, recipe = gpu and processes == 1, fleet.networks[0].recipe
    if chosen is not None:
        able = chosen.form if alone else chosen.form.replace("split+graph", "split").replace("graph", "plain")
        return chosen._replace(form=able)
    if not alone or recipe.steps < PROBE_PAYS:
        return Choice("plain")
    measured = measure_forms(study, Kind((fleet,), classes), recipe.precision, recipe.batch, torch.device("cuda", 0))
    for each in measured[1:]:
        if each.why:
            warnings.warn(f"{fleet.name}, in form {each.form}: {each.why}; it is not used", stacklevel=1)
    best = fastest(measured)
    tried = {each.form: each.why or round(1000 * each.seconds, 3) for each in measured}
    return Choice(best.form, tried, best.memory)


def meet() -> None:
    """Waits for the other processes, if there are any: their next fleet may need what the first one has written."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


class Keeper(L.Callback):
    """Writes the fleet's checkpoint: after each validation, when the last is older than some minutes, at a warning.

    Also the fleet's progress.json, for whoever asks how far it is.
    """

    def __init__(
        self,
        place: Path,
        minutes: float,
        report: Report,
        warning: threading.Event | None,
        grip: Grip | None,
        tracker: Tracker | None,
    ) -> None:
        self.place, self.seconds, self.report, self.grip, self.tracker = place, 60 * minutes, report, grip, tracker
        self.warning = warning
        self.saved = self.shown = time.monotonic()
        self.shown_step = -1

    def _save(self, trainer: L.Trainer, module: FleetModule) -> None:
        checkpoint = module.checkpoint()  # in all processes: it adds up their sums
        if self.tracker is not None:
            checkpoint["tracked"] = self.tracker.state(module)
        if self.grip is not None:
            self.grip.check()
        if trainer.is_global_zero:
            with write_atomically(self.place / "checkpoint.pt") as handle:
                torch.save(checkpoint, handle)
        self.saved = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        # In the place of Lightning's handler, which speaks with the other processes from within the signal, and
        # hangs where they are out of step; Lightning takes it back at the end.
        if (warning := self.warning) is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: warning.set())

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, *_: Any) -> None:
        now, step = time.monotonic(), module.step
        if self.tracker is not None:
            self.tracker.step(module)
        if self.grip is not None:
            self.grip.check()  # stops here if another process took the networks over
        if trainer.is_global_zero and now - self.shown >= 5:
            self._show(module, now)
        if step % module.recipe.validate_every == 0 or step == module.recipe.steps:
            return  # a validation comes now, then a checkpoint
        warned = self.warning is not None and self.warning.is_set()
        if step % 20 and (trainer.world_size > 1 or not warned):
            return
        # The first process's clock decides for all, and any process's warning; all of them ask in the same step.
        due = warned or (trainer.is_global_zero and now - self.saved >= self.seconds)
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            module.lap()
            self._save(trainer, module)
            self._end_if_warned(trainer, step, module.recipe.steps)

    def _end_if_warned(self, trainer: L.Trainer, step: int, steps: int) -> None:
        """After a checkpoint: raises Warned in all processes if any of them was."""
        warned = self.warning is not None and self.warning.is_set()
        if trainer.strategy.reduce_boolean_decision(warned, all=False):
            meet()  # what ends first may end the others
            raise Warned(f"warned: a checkpoint is written at step {step} of {steps}")

    def on_validation_end(self, trainer: L.Trainer, module: Any) -> None:
        if self.tracker is not None:
            self.tracker.validated(module)
        self._save(trainer, module)
        if trainer.is_global_zero:
            self._show(module, time.monotonic())
        if module.all_diverged:
            trainer.should_stop = True
        elif module.step < module.recipe.steps:
            self._end_if_warned(trainer, module.step, module.recipe.steps)

    def _show(self, module: FleetModule, now: float) -> None:
        step, batch = module.step, module.recipe.batch
        rate = (step - self.shown_step) * batch / (now - self.shown) if self.shown_step >= 0 else 0.0
        self.shown, self.shown_step = now, step
        progress = {
            "networks": list(module.series),
            "step": step,
            "steps": module.recipe.steps,
            "images_per_second": round(rate, 1),
            "updated": time.time(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        write_json(self.place / "progress.json", progress)
        self.report(step)


def quiet() -> None:
    """Leaves Lightning its warnings about the work, not its words about itself."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for noise in (
        "does not have many workers",
        "`srun` command is available",
        "isinstance.treespec",
        "LeafSpec",
        "broadcast_buffers. is deprecated",
        "all_gather is deprecated",
    ):
        warnings.filterwarnings("ignore", f".*{noise}.*")


def base_weights(study: Study, network: Network, folder: StudyFolder, packed: PackedImages) -> dict[str, torch.Tensor]:
    """The weights of the base that `network` copies from; Refused if it is missing, diverged or another's."""
    name = network.source_name
    assert name is not None
    if not folder.result(name).exists():
        raise Refused(f"{network.name} copies from {name}, which is not trained yet; train it first")
    found = read_json(folder.result(name))
    refuse_difference(name, folder.result(name), found["record"], record(study, study.by_name[name], packed.checksum))
    if found["diverged_at"] is not None:
        raise Refused(f"{network.name} copies from {name}, which diverged at step {found['diverged_at']}")
    file = folder.weights(name)
    try:
        weights = file.read_bytes()
    except FileNotFoundError:
        raise Refused(f"{file} is missing; move {file.parent} away to train {name} again") from None
    # Results of earlier versions have no digest.
    if found.get("weights_sha256") not in (None, hashlib.sha256(weights).hexdigest()):
        raise Refused(f"{file} is not what {name} ended with; move {file.parent} away to train it again")
    try:
        return safetensors.torch.load(weights)
    except safetensors.SafetensorError as error:
        raise Refused(f"{file} is damaged ({error}); move {file.parent} away to train {name} again") from None


def read_checkpoint(file: Path) -> dict[str, Any]:
    """A fleet's checkpoint; no code in it is run. Refused, by name, if it is damaged."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0][:100]
        raise Refused(f"{file} is damaged ({why}); remove {file.parent} to train this fleet from its start") from None


def guess(packed: PackedImages, split: str, task: str) -> float:
    """The accuracy of one who always names the same class: the largest class's share of the validation images."""
    counts = np.bincount(packed.val.labels, minlength=len(packed.classes))[task_classes(packed.classes, split, task)]
    return float(counts.max() / counts.sum())


def result(
    study: Study,
    module: FleetModule,
    index: int,
    its_record: Mapping[str, Any],
    machine: Machine,
    choice: Choice,
) -> dict[str, Any]:
    """What result.json holds."""
    network = module.fleet.networks[index]
    treatment, series = network.treatment, module.series[network.name]
    diverged, last = int(module.diverged_at[index]), series[-1]
    accuracies = [row["val_top1"] for row in series]
    best = float(np.mean(sorted(accuracies)[-BEST_OF:])) if len(accuracies) >= BEST_NEEDS else None
    seen = int(last["step"]) * module.recipe.batch
    return {
        "name": network.name,
        "study": study.name,
        "split": network.split,
        "network": network.short_name,
        "kind": treatment.kind,
        "source": treatment.source,
        "target": treatment.target,
        "n": treatment.n,
        "preserved": treatment.preserved,
        "plus": treatment.plus,
        "images_per_class": network.images_per_class,
        "variant": network.variant,
        "seed": network.seed,
        "diverged_at": diverged if diverged >= 0 else None,
        **{key: last[key] for key in ("val_top1", "val_top5", "val_loss", "val_images", "train_loss", "train_top1")},
        "val_top1_best10": best,
        "steps": int(last["step"]),
        "images_seen": seen,
        "seconds": module.seconds,
        "images_per_second": seen / module.seconds,
        "series": {key: [row[key] for row in series] for key in last},
        "recipe": asdict(module.recipe),
        "record": its_record,
        "provenance": {
            **provenance(),
            "devices": machine.devices * machine.nodes,
            "accelerator": module.device.type,
            "form": choice.form,
            "forms_tried": choice.tried,  # ms a step, or why a form must not be used
            "fleet": [each.name for each in module.fleet.networks],
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
    }


def provenance() -> dict[str, Any]:
    """Commit, versions and hardware of this process."""
    here = Path(transferability.__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", here, *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        if commit and git("status", "--porcelain", "--untracked-files=no", "."):
            commit += " with changes"
    except OSError:  # no git
        commit = ""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    return {
        "git_commit": commit or "unknown",
        "versions": {
            "transferability": transferability.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": L.__version__,
            "numpy": np.__version__,
        },
        "hardware": {
            "host": socket.gethostname(),
            "cpu": cpu,
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }

"""The fleet's checkpoint: when it is written, and how it is read."""

import os
import socket
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch

from transferability.files import Refused, write_atomically, write_json
from transferability.runs.locks import Grip
from transferability.runs.paths import FleetFolder
from transferability.training.fleet import FleetModule
from transferability.training.tracking import Tracker
from transferability.training.trainer import on_sigterm

ASKED_EVERY = 20  # steps: in several processes, how often all of them ask whether a checkpoint is due
SHOWN_EVERY = 5.0  # seconds between two writings of progress.json


class Preempted(Exception):
    """This process was told that its time is over: a checkpoint is written, and training has ended there."""


@dataclass(frozen=True)
class Listeners:
    """Who is told how a fleet's training goes.

    report: called with the step that was reached. preempted: set, by anybody, when this process is to write a
    checkpoint and end; None if that cannot happen. grip: the locks, in the first process. tracker: W&B.
    """

    report: Callable[[int], None] = lambda step: None
    preempted: threading.Event | None = None
    grip: Grip | None = None
    tracker: Tracker | None = None


class CheckpointCallback(L.Callback):
    """Writes the fleet's checkpoint after each validation, when the last is older than some minutes, and at preemption.

    Also the fleet's progress.json, which `status` reads.
    """

    def __init__(self, folder: FleetFolder, minutes: float, listeners: Listeners) -> None:
        self.folder, self.seconds, self.listeners = folder, 60 * minutes, listeners
        self.saved = self.shown = time.monotonic()
        self.shown_step = -1

    @property
    def _is_preempted(self) -> bool:
        return self.listeners.preempted is not None and self.listeners.preempted.is_set()

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        if (preempted := self.listeners.preempted) is not None:
            on_sigterm(lambda *_: preempted.set())

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, *_: Any) -> None:
        now, step = time.monotonic(), module.step
        if self.listeners.tracker is not None:
            self.listeners.tracker.step(module)
        if self.listeners.grip is not None:
            self.listeners.grip.check()  # stops here if another process took the networks over
        if trainer.is_global_zero and now - self.shown >= SHOWN_EVERY:
            self._show(module, now)
        if step % module.recipe.validate_every == 0 or step == module.recipe.steps:
            return  # a validation comes now, then a checkpoint
        if step % ASKED_EVERY and (trainer.world_size > 1 or not self._is_preempted):
            return
        # The first process's clock decides for all, and any process's preemption; all of them ask in the same step.
        due = self._is_preempted or (trainer.is_global_zero and now - self.saved >= self.seconds)
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            module.stopwatch.lap()
            self._save(trainer, module)
            self._end_if_preempted(trainer, step, module.recipe.steps)

    def on_validation_end(self, trainer: L.Trainer, module: Any) -> None:
        if self.listeners.tracker is not None:
            self.listeners.tracker.validated(module)
        self._save(trainer, module)
        if trainer.is_global_zero:
            self._show(module, time.monotonic())
        if module.is_over:
            trainer.should_stop = True
        else:
            self._end_if_preempted(trainer, module.step, module.recipe.steps)

    def _save(self, trainer: L.Trainer, module: FleetModule) -> None:
        checkpoint = module.checkpoint()  # in all processes: it adds up their sums
        if self.listeners.tracker is not None:
            checkpoint["tracked"] = self.listeners.tracker.state(module)
        if self.listeners.grip is not None:
            self.listeners.grip.check()
        if trainer.is_global_zero:
            with write_atomically(self.folder.checkpoint) as handle:
                torch.save(checkpoint, handle)
        self.saved = time.monotonic()

    def _end_if_preempted(self, trainer: L.Trainer, step: int, steps: int) -> None:
        """After a checkpoint: raises Preempted in all processes if any of them was."""
        if trainer.strategy.reduce_boolean_decision(self._is_preempted, all=False):
            meet()  # the process that ends first may end the others
            raise Preempted(f"preempted: a checkpoint is written at step {step} of {steps}")

    def _show(self, module: FleetModule, now: float) -> None:
        step, batch = module.step, module.recipe.batch
        rate = (step - self.shown_step) * batch / (now - self.shown) if self.shown_step >= 0 else 0.0
        self.shown, self.shown_step = now, step
        progress = {
            "networks": module.asked,
            "step": step,
            "steps": module.recipe.steps,
            "images_per_second": round(rate, 1),
            "updated": time.time(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        write_json(self.folder.progress, progress)
        self.listeners.report(step)


def meet() -> None:
    """Waits for the other processes, if there are any: their next fleet may need what the first one has written."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def read_checkpoint(file: Path) -> dict[str, Any]:
    """A fleet's checkpoint; no code in it is run. Refused, by name, if it is damaged."""
    try:
        # torch.load does not look at the checksums: most flipped bytes would load, as other numbers.
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(checkpoint, dict):
            raise TypeError("it holds no dictionary")
        return checkpoint
    except MemoryError:
        raise
    except Exception as error:  # what the unpickler raises on damaged bytes can be of any type
        reason = (str(error) or type(error).__name__).splitlines()[0][:100]
        raise Refused(
            f"{file} is damaged ({reason}); remove {file.parent} to train this fleet from its start"
        ) from None

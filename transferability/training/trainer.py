"""Lightning's Trainer without its extras: what is left of it is the loop, the devices, and the precision."""

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy

from transferability.runs.machine import Machine, forget_trainer_defaults


def bare_trainer(machine: Machine, precision: str, callbacks: Sequence[L.Callback], **limits: Any) -> L.Trainer:
    """A Trainer for `machine` with nothing of Lightning's own logging, checkpoints, bars and requeueing.

    precision: a recipe's. limits: how long it trains, as Trainer takes it.
    """
    forget_trainer_defaults()
    return L.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.nodes,
        # Buffers are equal everywhere, except the steps of divergence, which are each process's own; and a broadcast
        # at each forward pass would hang where one process has fewer batches for validation.
        strategy=DDPStrategy(broadcast_buffers=False) if machine.processes > 1 else "auto",
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
        use_distributed_sampler=False,
        callbacks=list(callbacks),
        plugins=[_environment()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **limits,
    )


def _environment() -> Any:
    """Who tells this process its rank. Chosen here: Lightning would take any launcher's leftovers for its own."""
    if SLURMEnvironment.detect():
        # Lightning's own requeueing deadlocks under DDP and picks up foreign checkpoints; `slurm/` does it.
        return SLURMEnvironment(auto_requeue=False)
    return TorchElasticEnvironment() if TorchElasticEnvironment.detect() else LightningEnvironment()


def on_sigterm(handler: Callable[..., Any] | signal.Handlers) -> None:
    """Replaces Lightning's handler of SIGTERM, which would speak with the other processes from within the signal.

    To be called once training has started; Lightning restores the handler of before at the end.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def quiet() -> None:
    """Silences what Lightning says about itself; its warnings about the work are left."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        "does not have many workers",
        "`srun` command is available",
        "isinstance.treespec",
        "LeafSpec",
        "broadcast_buffers. is deprecated",
        "all_gather is deprecated",
        "in eval mode at the start of training",  # norms of frozen layers
        "was called before the ``update`` method",  # tallies of training, at the validation before the first step
    ):
        warnings.filterwarnings("ignore", f".*{message}.*")

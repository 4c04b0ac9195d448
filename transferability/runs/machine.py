"""The machine: what may differ from one to the next and changes no result, and what this process is on it.

Nothing here needs torch. What the environment says (ranks, GPUs, threads, SLURM's allocation) is read here, by the
entry points, and handed on as values.
"""

import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from transferability import available_cores
from transferability.files import Refused
from transferability.study import Network

# Forms of a training step (`training/forms.py`): of CaffeNet and its sisters, and of networks that were cut.
FORMS = ("plain", "ungrouped", "graph", "ungrouped+graph")
CHAIN_FORMS = ("plain", "folded")


@dataclass(frozen=True)
class Machine:
    """What may change from machine to machine and changes no result, except for rounding where devices differ.

    Several processes see the same images and dropout masks as one, and add up in another order. The tolerance: after
    20 steps in 1, 2 and 4 processes, losses agree to 1e-5 of their value, each layer's weights to 1e-5 of their norm,
    accuracies, counts of images and steps of divergence exactly; frozen layers to the bit
    (tests/training/test_train.py). Where rounding decides which unit of a max-pool or ReLU passes, which is rare in so
    few steps, weights were seen to differ by 3e-4 of their norm; from there on the networks part.
    devices: processes on each of `nodes` nodes that train one fleet together.
    checkpoint_minutes: how much work a kill may cost; there is always a checkpoint after a validation.
    keep_weights: keep the final weights of every network, not of the bases alone. keep: of networks like these
    patterns too (`Study.select`).
    wandb: disabled, offline or online (`training/tracking.py`). wandb_artifacts: the bases' weights go there too.
    resident: hold the images in the device's memory, "yes", "no", or "auto": on a GPU where they fit.
    form: of a training step (`training/forms.py`), or "auto": that of a fleet that was started before; else the fastest
    where one GPU trains a fleet, and the plain one elsewhere.
    most_validated: so many validation images at most, for dry runs.
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
    keep: tuple[str, ...] = ()

    def keeps(self, network: Network) -> bool:
        """Whether its final weights are asked for."""
        return self.keep_weights or any(network.is_like(pattern) for pattern in self.keep)

    @property
    def processes(self) -> int:
        """How many processes train one fleet together."""
        return self.devices * self.nodes


def refuse_form(form: str, gpu: bool, processes: int) -> None:
    """Refuses an unknown form, or one in which this machine cannot train a fleet."""
    known = [*FORMS, *CHAIN_FORMS[1:]]
    if form not in ("auto", *known):
        raise Refused(f"--form {form}: write auto, {', '.join(known[:-1])} or {known[-1]}")
    if "graph" in form and not gpu:
        raise Refused(f"--form {form}: only a GPU replays graphs; write auto, plain or ungrouped")
    if "graph" in form and processes > 1:
        raise Refused(
            f"--form {form}: a graph trains a fleet on one GPU; for {processes}, write auto, plain or ungrouped"
        )


# ------------------------------------------------------------------------------------------ devices and threads


def gpus(accelerator: str) -> list[str]:
    """The GPUs of this machine that may be used, as CUDA_VISIBLE_DEVICES names them; none for "cpu"."""
    if accelerator == "cpu":
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = []
        for name in (word.strip() for word in visible.split(",")):
            # As CUDA reads the list: the first name that is no GPU (NoDevFiles, void, -1, …) ends it.
            if not re.fullmatch(r"\d+|(GPU|MIG)-\S+", name):
                break
            names.append(name)
        return names
    try:  # not by torch: the parent of the workers does not load it
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        listing = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []
    return [name for name in listing if name.isdigit()]  # without a GPU it may print a sentence, and end with 0


def default_workers(accelerator: str, devices: int) -> int:
    """One worker for every `devices` GPUs; for as many cores where there is no GPU."""
    return max(1, (len(gpus(accelerator)) or available_cores()) // devices)


def set_thread_defaults() -> None:
    """One thread per process, and threads that sleep while they wait; to be called before torch loads."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def threads() -> int:
    """The number of threads that OMP_NUM_THREADS asks for: the first of its list, as OpenMP has it; else 1."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdigit() and int(first) > 0 else 1


def forget_trainer_defaults() -> None:
    """Removes PL_TRAINER_… from the environment: Lightning takes from there what its Trainer is not given.

    PL_TRAINER_FAST_DEV_RUN would train one step in place of all.
    """
    for variable in [name for name in os.environ if name.startswith("PL_TRAINER_")]:
        del os.environ[variable]


# ------------------------------------------------------------------------------------------ ranks

# What tells a process its place among several, and on which Lightning and torch act of themselves: set by torchrun,
# srun, mpirun, jsrun, Kubernetes operators and `accelerate`, and inherited by whatever is started from there.
TORCHRUN_VARIABLES = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "NODE_RANK"),
    *("ROLE_RANK", "ROLE_NAME", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS"),
    *("TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_ERROR_FILE"),
)
OTHER_RANK_VARIABLES = (
    *("SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"),
    *("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_LOCAL_RANK", "JSM_NAMESPACE_SIZE"),
    *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_SIZE"),
    *("PMI_RANK", "PMI_SIZE", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_LOCAL_RANK"),
)
LAUNCHER = "TRANSFERABILITY_LAUNCHER"  # the process whose Lightning starts the other ranks
# Lightning takes a job of such a name for a terminal, and every task of it would train everything by itself.
TERMINALS = ("bash", "interactive")


def forget_ranks(environment: MutableMapping[str, str] | None = None) -> None:
    """Removes from the environment every rank that somebody else set: this process is the only or the first one."""
    environment = os.environ if environment is None else environment
    for variable in (*TORCHRUN_VARIABLES, *OTHER_RANK_VARIABLES):
        environment.pop(variable, None)


def settle_rank(devices: int, nodes: int, environment: MutableMapping[str, str] | None = None) -> bool:
    """Whether this process is the first of the `devices` x `nodes` that train a fleet together: the one that writes.

    A rank in the environment is believed only from who started this process for this purpose: our own first process,
    torchrun, or SLURM, with as many processes as were asked for. Any other is a leftover of a launcher further up (a
    pod of a PyTorchJob, a shell within `accelerate launch`, an allocation), and is removed, since Lightning would
    believe it.
    Refused: torchrun or SLURM with another number of processes; several nodes without either.
    """
    environment = os.environ if environment is None else environment
    processes = devices * nodes
    launcher = environment.get(LAUNCHER, "")
    if launcher and environment.get("LOCAL_RANK", "").isdigit():
        if launcher == str(os.getppid()):
            return environment["LOCAL_RANK"] == "0"  # Lightning in our first process started this one
        if not _is_alive(launcher):
            raise Refused(f"process {launcher}, which started this one as a further rank, has ended: so does this one")
    if environment.get("TORCHELASTIC_RUN_ID") and processes > 1:
        world = environment.get("WORLD_SIZE", "")
        if world != str(processes):
            raise Refused(
                f"torchrun started {world or 'no known number of'} processes, --devices {devices} --nodes {nodes} "
                f"needs {processes}; start it with --nproc-per-node={devices} --nnodes={nodes}"
            )
        return environment.get("RANK") == "0"
    refuse_allocation(devices, nodes, environment)
    if processes > 1 and "SLURM_STEP_ID" in environment:
        return environment.get("SLURM_PROCID", "0") == "0"
    forget_ranks(environment)
    return True


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def follow_launcher() -> None:
    """In a rank above 0 that our first process started: exit within a second of that process's death.

    It would wait 30 minutes at the rendezvous otherwise. In the first process: leaves its number for the others.
    """
    launcher = os.environ.get(LAUNCHER)
    if launcher != str(os.getppid()) or "LOCAL_RANK" not in os.environ:
        os.environ[LAUNCHER] = str(os.getpid())
        return

    def watch() -> None:
        while str(os.getppid()) == launcher:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def refuse_allocation(devices: int, nodes: int, environment: Mapping[str, str] | None = None) -> None:
    """Refuses to train in a SLURM allocation other than `devices` x `nodes`; outside SLURM, on several nodes.

    Too many tasks would each train the same networks into the same folder; too few would wait for the others for half
    an hour. One process that no `srun` has started may train anywhere.
    """
    environment = os.environ if environment is None else environment
    processes = devices * nodes
    if "SLURM_JOB_ID" not in environment:
        if nodes > 1:
            raise Refused(
                f"--nodes {nodes}: several nodes need SLURM (`transferability submit`) or torchrun; leave it out here"
            )
        return
    started_by_srun = "SLURM_STEP_ID" in environment
    if processes == 1 and not started_by_srun:
        return
    name = environment.get("SLURM_JOB_NAME", "")
    if name in TERMINALS and processes > 1:
        raise Refused(
            f"a SLURM job named {name!r} is taken for a terminal, and its tasks would not find each other; "
            "give it another name (sbatch --job-name), or use `transferability run`, which works here"
        )
    tasks = _count(environment, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")
    hosts = _count(environment, "SLURM_STEP_NUM_NODES", "SLURM_NNODES")
    if (tasks, hosts) != (processes, nodes):
        raise Refused(
            f"SLURM started {tasks} tasks on {hosts} nodes, --devices {devices} --nodes {nodes} needs "
            f"{processes} on {nodes}; submit with --nodes={nodes} --ntasks-per-node={devices}"
        )
    if not started_by_srun:
        raise Refused(f"{processes} processes have to be started by srun, as slurm/fleet.sbatch does")


def _count(environment: Mapping[str, str], *variables: str) -> int:
    """The first of these variables that is a number; 1 if none is."""
    return next((int(environment[name]) for name in variables if environment.get(name, "").isdigit()), 1)

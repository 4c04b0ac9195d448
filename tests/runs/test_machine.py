"""What the environment says of this process, and what is believed of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import LIMIT

from transferability.files import Refused
from transferability.runs import machine
from transferability.runs.machine import (
    LAUNCHER,
    OTHER_RANK_VARIABLES,
    TORCHRUN_VARIABLES,
    gpus,
    settle_rank,
    threads,
)

PARENT = str(os.getppid())


@pytest.mark.parametrize(
    "leftover",
    [
        {"RANK": "1", "WORLD_SIZE": "2"},  # a pod of a PyTorchJob
        {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "MASTER_PORT": "1", "KUBERNETES_PORT": "tcp://10"},
        {"LOCAL_RANK": "1"},
        {"LOCAL_RANK": "1", LAUNCHER: "1"},  # of a first process that is not this one's parent
        {"LOCAL_RANK": "", LAUNCHER: PARENT},
        {"RANK": ""},
        {"RANK": "3", "LOCAL_RANK": "3", "TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4"},  # a shell within torchrun
        {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1"},
        {"JSM_NAMESPACE_RANK": "2", "OMPI_COMM_WORLD_RANK": "2", "PMI_RANK": "2"},
    ],
)
def test_a_rank_that_others_left_is_not_believed(leftover: dict[str, str]) -> None:
    """One process is the first, whatever it inherits; and Lightning, which would believe it, does not see it."""
    environment = {"PATH": "/bin", **leftover}
    assert settle_rank(1, 1, environment)
    assert not environment.keys() & {*TORCHRUN_VARIABLES, *OTHER_RANK_VARIABLES} and environment["PATH"] == "/bin"


def test_ranks_of_who_started_this_process_are_believed() -> None:
    for rank in ("0", "1"):
        ours = {LAUNCHER: PARENT, "LOCAL_RANK": rank}
        assert settle_rank(2, 1, ours) == (rank == "0") and "LOCAL_RANK" in ours
        torchrun = {"TORCHELASTIC_RUN_ID": "7", "WORLD_SIZE": "4", "RANK": rank, "LOCAL_RANK": "0"}
        assert settle_rank(2, 2, torchrun) == (rank == "0") and torchrun["RANK"] == rank
        slurm = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "s", "SLURM_STEP_ID": "0", "SLURM_PROCID": rank}
        slurm |= {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1"}
        assert settle_rank(2, 1, slurm) == (rank == "0") and slurm["SLURM_PROCID"] == rank
    with pytest.raises(Refused, match=r"torchrun started 2 processes, --devices 4 --nodes 1 needs 4; .*--nproc"):
        settle_rank(4, 1, {"TORCHELASTIC_RUN_ID": "7", "WORLD_SIZE": "2", "RANK": "0"})
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with pytest.raises(Refused, match=f"process {gone.pid}, which started this one as a further rank, has ended"):
        settle_rank(2, 1, {LAUNCHER: str(gone.pid), "LOCAL_RANK": "1"})
    with pytest.raises(Refused, match="--nodes 2: several nodes need SLURM"):
        settle_rank(1, 2, {})


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("0,1", ["0", "1"]),
        (" 3 , 5", ["3", "5"]),
        ("GPU-8932f937,MIG-1/2/3", ["GPU-8932f937", "MIG-1/2/3"]),
        ("0,-1,2", ["0"]),  # as CUDA reads it: what comes behind a name that is none does not count
        *((word, []) for word in ("", "NoDevFiles", "void", "none", "-1", "all", "NoDevFiles,1")),
    ],
)
def test_gpus_are_what_cuda_would_see(visible: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus("auto") == expected and gpus("cpu") == []
    monkeypatch.setattr(machine, "available_cores", lambda: 64)
    assert machine.default_workers("auto", 1) == (len(expected) or 64)


def test_without_a_gpu_nvidia_smi_may_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho No devices were found\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpus("auto") == []


@pytest.mark.parametrize(
    ("value", "expected"), [("", 1), ("4,2", 4), (" 3 ", 3), ("0", 1), ("-2", 1), ("many", 1), ("2", 2), (None, 1)]
)
def test_threads_are_the_first_of_openmps_list(
    value: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if value is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads() == expected


def test_a_rank_ends_with_the_process_that_started_it() -> None:
    second = "import time; from transferability.runs.machine import *; follow_launcher(); print('on'); time.sleep(9e3)"
    first = (
        "import os, subprocess, sys, time; from transferability.runs.machine import *; follow_launcher()\n"
        f"subprocess.Popen([sys.executable, '-uc', {second!r}], env={{**os.environ, 'LOCAL_RANK': '1'}})\n"
        "time.sleep(9e3)"
    )
    process = subprocess.Popen([sys.executable, "-c", first], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.kill()
    # Both of them hold the pipe: it ends when both have.
    assert process.communicate(timeout=LIMIT) == ("", None)

"""Processes that start in a moment: forked by a server that has imported what training needs, and has run nothing.

For tests of what becomes of processes: they are killed, warned, or train together. An interpreter of their own would
spend five seconds on importing PyTorch and Lightning. How the package starts processes by itself, some tests still
show: test_run, test_smoke, test_train (one process of two is killed), test_local (Ctrl-C), test_slurm.
"""

import multiprocessing
import os
import runpy
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from waiting import LIMIT

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["transferability.training.train"])


@dataclass(frozen=True)
class Started:
    """A process, and the files to which it writes."""

    process: BaseProcess
    output: Path
    errors: Path

    @property
    def has_ended(self) -> bool:
        return self.process.exitcode is not None

    def ended(self) -> tuple[int, str, str]:
        """(exit code, output, errors), when it has ended; the code of one that was killed is -9."""
        self.process.join(LIMIT)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"it did not end: {self.output.read_text()}{self.errors.read_text()}")
        return self.process.exitcode, self.output.read_text(), self.errors.read_text()


def start(script: Path | None, *words: object, environment: Mapping[str, str] = os.environ, folder: Path) -> Started:
    """Starts a Python file, or for None the command line, with `words`. folder: for what it writes."""
    number = len(list(folder.glob("*.out")))
    output, errors = folder / f"{number}.out", folder / f"{number}.err"
    output.touch()
    errors.touch()
    arguments = (script, [str(word) for word in words], dict(environment), os.getcwd(), output, errors)
    process = CONTEXT.Process(target=_run, args=arguments)
    process.start()
    return Started(process, output, errors)


def start_together(
    processes: int, script: Path | None, *words: object, environment: Mapping[str, str], folder: Path
) -> list[Started]:
    """`start` in several processes that train together: with what torchrun says to each of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes), "GROUP_RANK": "0"}
    shared |= {"TORCHELASTIC_RUN_ID": "tests", "LOCAL_WORLD_SIZE": str(processes)}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    return [start(script, *words, environment={**environment, **shared, **rank}, folder=folder) for rank in ranks]


def fork_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the server start the workers of `transferability run`, too."""
    monkeypatch.setattr("transferability.launch.local.get_context", lambda method: CONTEXT)


def _run(
    script: Path | None, words: Sequence[str], environment: Mapping[str, str], cwd: str, output: Path, errors: Path
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for path, descriptor in ((output, 1), (errors, 2)):
        with open(path, "ab") as file:
            os.dup2(file.fileno(), descriptor)
    sys.argv = [str(script or "transferability"), *words]
    if script is None:
        from transferability.cli import main

        main()
    else:
        runpy.run_path(str(script), run_name="__main__")

"""Workers that die, readers that leave, and interruptions: nothing of it is a failure of training."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from forked import fork_workers
from rich.console import Console
from tiny import RECIPE, tiny_study, write_experiment
from waiting import LIMIT

from transferability.data.packed import PackedImages
from transferability.files import Refused
from transferability.launch import local
from transferability.launch.local import Job, ProgressLines, ThisProcess, Workers, run_study, train_pending
from transferability.runs.ledger import is_done, pending
from transferability.runs.machine import Machine
from transferability.runs.paths import data_root, study_folder
from transferability.study import Study, fleets

MAIN = "import sys; from transferability.cli import main; sys.exit(main())"
CPU = Machine(accelerator="cpu")


def job_of(study: Study) -> Job:
    return Job(study, study_folder(study.name), data_root(), CPU)


def ended(pool: Workers) -> list[tuple[str, str]]:
    """(state, reason) of the fleets that end next."""
    while not (those := pool.wait()):
        assert pool.is_busy
    return [(fleet.state, fleet.reason) for fleet in those]


def test_an_idle_worker_that_is_killed_is_named_and_replaced(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does for want of memory. The fleet that is sent to it next fails; the one after that is trained."""
    fork_workers(monkeypatch)
    study = tiny_study(["baseA", "baseB", "R1A"])
    first, second, third = fleets(study.networks, 1)
    with Workers(job_of(study), 1) as pool:
        pool.start(first)
        assert ended(pool) == [("done", "")]
        (worker,) = pool.pool
        os.kill(worker.processes[0].pid or 0, signal.SIGKILL)
        worker.processes[0].join()
        pool.start(second)
        ((state, reason),) = ended(pool)
        assert state == "failed" and "was killed (SIGKILL); run the same command again" in reason
        pool.start(third)
        assert ended(pool) == [("done", "")]
    assert not list(study_folder("tiny").fleets.glob("*/failed.json"))


def test_ctrl_c_reaches_no_worker_not_even_one_that_starts(roots: Path, packed: PackedImages) -> None:
    """A terminal sends it to all processes; a worker whose interpreter is starting would end in a traceback."""
    study = tiny_study(["baseA"])
    (fleet,) = fleets(study.networks)
    with Workers(job_of(study), 1) as pool:
        pool.start(fleet)
        os.kill(pool.pool[0].processes[0].pid or 0, signal.SIGINT)
        assert ended(pool) == [("done", "")]


def test_sigterm_leaves_a_checkpoint_as_ctrl_c_does(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill`, `timeout` and SLURM's time limit send it to `run`, which tells its workers."""
    fork_workers(monkeypatch)
    study = tiny_study(["baseA"], replace(RECIPE, steps=100_000, validate_every=100_000))
    waiting, before, lines = fleets(study.networks), signal.getsignal(signal.SIGTERM), StringIO()

    def show(bar: local.Bar) -> None:
        if any(worker.step for worker in bar.pool.pool):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(local.Bar, "show", show)
    with pytest.raises(KeyboardInterrupt):
        run_study(job_of(study), study.networks, waiting, 1, Console(file=lines))
    assert "interrupted; run the same command again to go on" in lines.getvalue()
    assert signal.getsignal(signal.SIGTERM) == before
    assert study_folder("tiny").fleet(waiting[0].name).checkpoint.exists()


def test_where_nothing_can_be_trained_one_line_says_why(
    roots: Path, packed: PackedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers look where this process looks, and there find a broken Lightning."""
    (tmp_path / "lightning.py").write_text("raise ModuleNotFoundError('none', name='lightning')")
    monkeypatch.syspath_prepend(tmp_path)
    study = tiny_study(["baseA", "baseB"])
    message = "needs lightning, which is not installed; install"
    with Workers(job_of(study), 1) as pool, pytest.raises(Refused, match=message):
        pool.start(fleets(study.networks)[0])
        ended(pool)
    assert not list(study_folder("tiny").fleets.glob("*/failed.json"))


def test_a_worker_without_its_parent_leaves_and_records_no_failure(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C closes the pipes while a fleet is trained: an interruption is no failure of the fleet."""
    fork_workers(monkeypatch)
    study = tiny_study(["baseA"])
    (fleet,) = fleets(study.networks)
    with Workers(job_of(study), 1) as pool:
        pool.start(fleet)
        (worker,) = pool.pool
        worker.pipes[0].close()  # what the worker sends next finds nobody
        worker.processes[0].join(LIMIT)
        assert worker.processes[0].exitcode in (0, 1)
        worker.pipes.clear()
    assert not study_folder("tiny").fleet(fleet.name).failed.exists()


def test_the_log_of_an_array_task_has_lines_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """12 steps of 8 images; the clock is set by hand."""
    (fleet,) = fleets(tiny_study(["baseA"]).networks)
    now, lines = [100.0], list[str]()
    monkeypatch.setattr(local.time, "monotonic", lambda: now[0])
    tell = ProgressLines(fleet, lines.append)
    for seconds, step in ((0, 2), (59, 3), (61, 4), (70, 5), (140, 8), (300, 8)):
        now[0] = 100.0 + seconds
        tell(step)
    assert [line.partition(" random-0.")[2] for line in lines] == [
        "baseA.seed-0: step 4 of 12, 0 images/s, 4 min left",
        "baseA.seed-0: step 8 of 12, 0 images/s, 79 s left",
    ]


def test_this_process_says_how_far_it_is(roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "SAID_EVERY", 0.0)
    lines: list[str] = []
    job = job_of(tiny_study(["baseA"]))
    assert train_pending(job, fleets(job.study.networks), ThisProcess(job, lines.append), lines.append) == []
    assert lines[0] == "random-0.baseA.seed-0: 1 networks, 12 steps"
    assert any("baseA.seed-0: step 12 of 12, " in line and line.endswith("images/s, 0 s left") for line in lines)


def test_what_waits_for_a_source_that_is_not_trained_is_left(roots: Path, packed: PackedImages) -> None:
    study = tiny_study(["baseA", "baseB", "A1B", "R1B"])
    folder, lines = study_folder("tiny"), list[str]()
    copies = [study.by_name[f"random-0/{name}/seed-0"] for name in ("A1B", "R1B")]
    waiting = pending(study, folder, copies, 1)
    left = train_pending(job_of(study), waiting, ThisProcess(job_of(study), lines.append), lines.append)
    assert [network.short_name for fleet in left for network in fleet.networks] == ["A1B"]
    assert is_done(folder, "random-0/R1B/seed-0") and not is_done(folder, "random-0/A1B/seed-0")


@pytest.mark.parametrize("command", ["plan", "status", "run"])
def test_a_reader_that_leaves_ends_what_prints_and_not_what_trains(
    roots: Path, packed: PackedImages, command: str
) -> None:
    """As in `transferability run … | head -0`."""
    splits = 2 if command == "run" else 400
    file = write_experiment(roots / "mine.py", [f"random-{i}/base{t}" for i in range(splits) for t in "AB"])
    reading, writing = os.pipe()
    os.close(reading)
    options = {"plan": (), "status": ("--all",), "run": ("--accelerator", "cpu", "--workers", "1")}[command]
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, command, str(file), *options], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    _, errors = process.communicate(timeout=LIMIT)
    assert "Traceback" not in errors and "Exception ignored" not in errors, errors
    if command == "run":
        assert process.returncode == 0
        assert is_done(study_folder("tiny"), "random-1/baseB/seed-0")
    else:
        assert process.returncode == 1

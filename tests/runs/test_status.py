"""What status says, from files alone; and how fast."""

import io
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from outcomes import result_of
from rich.console import Console
from trained import statuses

from transferability.files import Refused, read_json, write_json
from transferability.networks.caffenet import small_caffenet
from transferability.recipe import Recipe
from transferability.runs import status
from transferability.runs.locks import hold, myself
from transferability.runs.paths import StudyFolder, data_root, study_folder
from transferability.runs.queue import ArrayTask, ended_jobs, queued_tasks, submitted_arrays
from transferability.runs.result import write_result
from transferability.runs.status import NetworkStatus, print_status
from transferability.study import Study, grid

SMOKE = small_caffenet(28, 0.1)
RECIPE = Recipe("tiny", steps=100, batch=8, rate=0.1, crop=SMOKE.crop, validate_every=50)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PATH", "/nowhere")  # no SLURM
    return Study("s", "none", SMOKE, tuple(grid(RECIPE, SMOKE.depth, ["random-0"], seeds=(0, 1))))


def finish(study: Study, name: str, diverged_at: int | None = None) -> None:
    write_result(study_folder(study.name).result(name), result_of(study, name, diverged_at=diverged_at))


def fail(study: Study, names: list[str], reason: str) -> None:
    file = study_folder(study.name).fleet(names[0].replace("/", ".")).failed
    write_json(file, {"networks": names, "reason": reason, "time": 0.0})


def progress(study: Study, names: list[str], step: int, updated: float) -> None:
    file = study_folder(study.name).fleet(names[0].replace("/", ".")).progress
    said = {"networks": names, "step": step, "steps": 100, "images_per_second": 16.0, "updated": updated}
    write_json(file, {**said, "host": "h", "pid": 1})


def of(study: Study, **more: Any) -> dict[str, NetworkStatus]:
    return {found.network.name: found for found in statuses(study, study.networks, **more)}


def test_missing_waiting_done_diverged(study: Study) -> None:
    finish(study, "random-0/baseA/seed-0")
    finish(study, "random-0/B1B/seed-0", diverged_at=7)
    found = of(study)
    assert len(found) == len(study.networks)
    assert found["random-0/baseA/seed-0"].state == "done"
    assert found["random-0/baseB/seed-0"].state == "missing"
    assert found["random-0/A1B/seed-0"].state == "missing"
    assert (found["random-0/B2B/seed-0"].state, found["random-0/B2B/seed-0"].detail) == (
        "waiting",
        "for random-0/baseB",
    )
    assert found["random-0/A1B/seed-1"].detail == "for random-0/baseA/seed-1"
    assert (found["random-0/B1B/seed-0"].state, found["random-0/B1B/seed-0"].detail) == (
        "diverged",
        "at step 7",
    )


def test_what_copies_from_a_failed_or_diverged_base_is_blocked_with_the_reason(study: Study) -> None:
    fail(study, ["random-0/baseA/seed-0"], "the packed set data/none is missing")
    finish(study, "random-0/baseB/seed-0", diverged_at=3)
    # A dependant that was started all the same failed for the same reason, and is blocked, not failed.
    fail(study, ["random-0/A1B/seed-0"], "copies from random-0/baseA/seed-0, which is not trained yet")
    finish(study, "random-0/baseB/seed-1")
    fail(study, ["random-0/B1B/seed-1"], "out of memory")
    found = of(study)
    assert found["random-0/baseA/seed-0"].state == "failed"
    for name in ("A1B", "A2B+", "A1A"):
        blocked = found[f"random-0/{name}/seed-0"]
        assert blocked.state == "blocked"
        assert blocked.detail == "random-0/baseA failed: the packed set data/none is missing"
    assert found["random-0/B1A/seed-0"].detail == "random-0/baseB diverged: at step 3"
    assert (found["random-0/B1B/seed-1"].state, found["random-0/B1B/seed-1"].detail) == (
        "failed",
        "out of memory",
    )
    assert found["random-0/B2B/seed-1"].state == "missing"


def test_running_stopped_and_ended(study: Study) -> None:
    names = ["random-0/baseA/seed-0"]
    lock = study_folder(study.name).lock(names[0])
    progress(study, names, step=40, updated=time.time())
    fail(study, names, "an earlier failure")
    with hold([lock]):
        running = of(study)[names[0]]
        assert (running.state, running.step, running.left) == ("running", 40, 60 * 8 / 16.0)
        assert running.holder and running.holder.pid == os.getpid()
        progress(study, names, step=40, updated=time.time() - 3600)
        assert of(study)[names[0]].detail == "silent for 60 min"
    (study_folder(study.name).fleet("random-0.baseA.seed-0").failed).unlink()
    stopped = of(study)[names[0]]
    assert stopped.state == "missing" and "after step 40 of 100" in stopped.detail
    lock.parent.mkdir(exist_ok=True)
    lock.write_text(json.dumps({**asdict(myself("t")), "start": "1"}))  # of a dead process here
    assert of(study)[names[0]].state == "missing"
    lock.write_text(json.dumps({**asdict(myself("t")), "host": "n7", "job": "12_3"}))
    assert of(study)[names[0]].state == "running"
    assert of(study, ended={"12_3"})[names[0]].state == "missing"


def test_the_time_left_is_that_of_all_networks_at_the_present_speed(study: Study) -> None:
    """Two networks run at 16 images/s each; each network of the study sees 100 steps of 8 images."""
    names = ["random-0/baseA/seed-0", "random-0/baseB/seed-0"]
    folder = study_folder(study.name)
    progress(study, names, step=40, updated=time.time())
    assert status.time_left(statuses(study, study.networks)) is None  # nothing runs
    with hold([folder.lock(name) for name in names]):
        known = statuses(study, study.networks)
        left = (2 * 60 + (len(study.networks) - 2) * 100) * 8 / 32
        assert status.time_left(known) == left
        fail(study, ["random-0/baseA/seed-1"], "out of memory")  # what copies from it is blocked, and not counted
        blocked = [member for member in statuses(study, study.networks) if member.state in ("failed", "blocked")]
        assert status.time_left(statuses(study, study.networks)) == left - len(blocked) * 100 * 8 / 32
        console = Console(width=200, record=True, file=io.StringIO())
        print_status(study, folder, study.networks, console)
        assert f"about {status.span(left - len(blocked) * 25)} left, if as many networks go on" in console.export_text()
        assert status.time_left([member for member in known if member.network.name in names]) == 30.0


def test_what_can_be_exported_is_said(study: Study) -> None:
    folder = study_folder(study.name)
    for name in ("random-0/baseA/seed-0", "random-0/A1B/seed-0", "random-0/A2B/seed-0", "random-0/A3B/seed-0"):
        finish(study, name)
    console = Console(width=200, record=True, file=io.StringIO())
    print_status(study, folder, study.networks, console)
    assert "can be exported: 0 of 4; the others were trained without --keep-weights" in console.export_text()
    for name in ("random-0/baseA/seed-0", "random-0/A1B/seed-0", "random-0/A2B/seed-0"):
        folder.weights(name).touch()
    print_status(study, folder, study.networks, console)
    expected = (
        "can be exported: 3 of 4: random-0/baseA/seed-0; random-0/A{1,2}B/seed-0; the others were trained without"
    )
    assert expected in console.export_text()
    assert [member.network.short_name for member in statuses(study, study.networks) if member.has_weights] == [
        *("baseA", "A1B", "A2B")
    ]


def test_what_is_printed(study: Study) -> None:
    finish(study, "random-0/baseB/seed-0")
    fail(study, ["random-0/baseA/seed-0"], "no [room] left")
    progress(study, ["random-0/B1B/seed-0", "random-0/B2B/seed-0"], step=40, updated=time.time())
    folder = study_folder(study.name)
    console = Console(width=200, record=True, file=io.StringIO())
    with hold([folder.lock("random-0/B1B/seed-0"), folder.lock("random-0/B2B/seed-0")]):
        print_status(study, folder, study.networks, console)
    text = console.export_text()
    assert f"s: 1 of {len(study.networks)} networks done, 2 running, " in text
    assert "running: random-0/B1B/seed-0 and 1 more, on " in text
    assert "step 40 of 100, 16 images/s, 30 s left" in text
    assert "failed: random-0/baseA/seed-0: no [room] left" in text
    assert "more: random-0/baseA failed: no [room] left" in text


def test_a_folder_that_is_not_there_is_named(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    console = Console(width=200, record=True, file=io.StringIO())
    print_status(study, StudyFolder(Path("elsewhere/s")), study.networks, console)
    assert f"{tmp_path}/elsewhere/s does not exist: nothing was trained here" in console.export_text()


@pytest.mark.parametrize("damage", [{"step": None}, {"steps": "x"}, {"images_per_second": []}, {"updated": {}}])
def test_progress_that_is_damaged_tells_nothing(study: Study, damage: dict[str, object]) -> None:
    progress(study, ["random-0/baseA/seed-0"], step=40, updated=0.0)
    file = study_folder(study.name).fleet("random-0.baseA.seed-0").progress
    assert of(study)["random-0/baseA/seed-0"].step == 40
    write_json(file, {**read_json(file), **damage})
    assert of(study)["random-0/baseA/seed-0"].step == 0


@pytest.mark.parametrize("damage", [{"host": []}, {"pid": "1"}, {"since": None}, {"counter": "0"}])
def test_a_lock_that_is_damaged_names_nobody(study: Study, damage: dict[str, object]) -> None:
    lock = study_folder(study.name).lock("random-0/baseA/seed-0")
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({**asdict(myself("t")), **damage}))
    status = of(study)["random-0/baseA/seed-0"]
    assert (status.state, status.holder) == ("running", None) and "its lock does not name" in status.detail


@pytest.mark.parametrize(
    ("listing", "jobs", "message"),
    [
        ({}, {"jobs": []}, "1.json lacks 'fleets'; remove it"),
        ({"fleets": 3}, {"jobs": []}, "1.json is damaged "),
        ({"fleets": [["a"]]}, {}, "1.jobs.json lacks 'jobs'; remove it"),
        ({"fleets": [["a"]]}, {"jobs": [{"job": "1"}]}, "1.jobs.json lacks 'first'; remove it"),
        ({"fleets": [["a"]]}, {"jobs": [{"job": "1", "first": 0, "elements": "x"}]}, "1.jobs.json is damaged "),
    ],
)
def test_a_damaged_submission_is_named(study: Study, listing: object, jobs: object, message: str) -> None:
    folder = study_folder(study.name)
    write_json(folder.submission(1), listing)
    write_json(folder.jobs(1), jobs)
    with pytest.raises(Refused, match=re.escape(message)):
        submitted_arrays(folder)


def test_the_queue_is_read_from_squeue(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = study_folder(study.name)
    write_json(folder.submission(1), {"fleets": [["a"], ["b", "c"]]})
    write_json(
        folder.jobs(1),
        {"jobs": [{"job": "12", "name": "s-1", "first": 1, "elements": 1}]},
    )
    fake = tmp_path / "bin" / "squeue"
    fake.parent.mkdir()
    rows = [
        ("12_0", "s-1", "RUNNING", "n1", "2", "1:00", "None"),
        ("13_0", "x", "RUNNING", "n2", "0", "1:00", "None"),
    ]
    lines = [f"{a:60}{b:120}{c:20}{d:60}{e:10}{f:20}{g:60}" for a, b, c, d, e, f, g in rows]
    fake.write_text(f"#!{sys.executable}\nprint({chr(10).join(lines)!r})\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    found = queued_tasks(folder)
    assert found and len(found) == 1
    element = found[0]
    assert (element.job, element.state, element.nodes, element.restarts) == ("12_0", "running", "n1", 2)
    assert element.networks == ("b", "c")
    assert ended_jobs(folder, found) == set()
    assert ended_jobs(folder, []) == {"12_0"}


def test_at_any_width_no_name_is_cut(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(network.name for network in study.networks[-20:])
    task = ArrayTask("1234_17", "pending", "", 0, "1-00:00:00", "JobArrayTaskLimit", names)
    monkeypatch.setattr(status, "queued_tasks", lambda folder: [task])
    for width in (40, 80, 200):
        console = Console(width=width, record=True, file=io.StringIO())
        print_status(study, study_folder(study.name), study.networks, console)
        lines = console.export_text().splitlines()
        assert any(line.endswith(f"{names[0]} + 19") for line in lines)
        assert any("1234_17  pending" in line and "JobArrayTaskLimit" in line for line in lines)
        (header,) = (line.split() for line in lines if line.startswith("split"))
        assert header == ["split", "seed", "queued", "missing", "waiting"]
        rows = [line.split() for line in lines if line.startswith("random-0 ")]
        assert [row[:2] for row in rows] == [["random-0", "0"], ["random-0", "1"]]


def test_what_a_network_costs_stays_small_and_the_same_in_a_study_of_thousands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in calls, which no other process can change. A quarter of a second for 10,000 on one core."""
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path))
    kinds = ("base", "BnB", "BnB+", "AnB", "AnB+")
    text = json.dumps({"name": "x", "diverged_at": None, "series": [0.123] * 1000})
    per = len(grid(RECIPE, SMOKE.depth, ["random-0"], kinds=kinds))

    def calls(seeds: int) -> tuple[Counter[str], int]:
        networks = grid(RECIPE, SMOKE.depth, ["random-0"], seeds=range(seeds), kinds=kinds)
        study = Study(f"seeds-{seeds}", "none", SMOKE, tuple(networks))
        folder = study_folder(study.name)
        done = networks[::2]
        for network in done:
            folder.result(network.name).parent.mkdir(parents=True)
            folder.result(network.name).write_text(text)
        counted: Counter[str] = Counter()

        def count(frame: FrameType, event: str, function: object) -> None:
            if event == "c_call":
                counted[getattr(function, "__name__", "")] += 1
            elif event == "call":
                counted["Python"] += 1

        sys.setprofile(count)
        try:
            known = statuses(study, study.networks)
        finally:
            sys.setprofile(None)
        assert len(known) == len(networks) and {status.state for status in known} >= {"done", "waiting"}
        assert counted["open"] <= len(networks) + 20, counted  # each result once, whether it is there or not
        assert counted["raw_decode"] + counted["loads"] < 20, counted  # none is parsed
        return counted, len(networks)

    (few, small), (many, large) = calls(5), calls(-(-5_000 // per))
    assert large >= 5_000
    assert many.total() / large <= 1.1 * few.total() / small
    assert many.total() <= 100 * large, many.most_common(20)


def test_no_torch() -> None:
    code = "import sys, transferability.runs.status, transferability.runs.locks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_tilde_in_a_variable_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An .env file, a notebook's %env and Docker hand it on as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TRANSFERABILITY_RUNS", "~/mine")
    monkeypatch.setenv("TRANSFERABILITY_DATA", "~/sets")
    assert study_folder("s").root == tmp_path / "mine" / "s"
    assert data_root() == tmp_path / "sets"

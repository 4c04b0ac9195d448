"""One holder a network, whatever dies, sleeps or races."""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from transferability.runs import locks
from transferability.runs.locks import Held, Holder, Lost, dead, hold, holder

HOLD = """
import sys, time
from pathlib import Path
from transferability.runs.locks import Held, hold
start, seconds, *paths = sys.argv[1:]
while time.time() < float(start):
    time.sleep(0.001)
try:
    with hold([Path(p) for p in paths], beat=0.1, stale=0.6) as grip:
        print("held", flush=True)
        time.sleep(float(seconds))
        grip.check()
        print("kept", flush=True)
except Held as error:
    print(type(error).__name__, error, flush=True)
"""


def start(*paths: Path, seconds: float = 60, at: float = 0, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(at), str(seconds), *map(str, paths)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def lock(folder: Path, network: str = "A3B") -> Path:
    return folder / "study" / "random-0" / network / "seed-0" / "lock"


def elsewhere(path: Path, **fields: object) -> Holder:
    """A lock of a process on another machine, which cannot be seen from here."""
    values = {
        "host": "n7", "machine": "b p", "pid": 12, "start": "5", "cluster": "", "job": "", "restarts": 0,
        "since": 0.0, "token": "feed", "counter": 3,
    }  # fmt: skip
    there = Holder(**{**values, **fields})  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(there)))
    return there


def test_nothing_remains_and_the_counter_rises(tmp_path: Path) -> None:
    paths = [lock(tmp_path, name) for name in ("A3B", "A1B")]
    with hold(paths, beat=0.05) as grip:
        mine = holder(paths[0])
        assert mine and mine.pid == os.getpid() and dead(mine) is False
        limit, later = time.monotonic() + 30, mine
        while later and later.counter < mine.counter + 3:
            assert time.monotonic() < limit, "the counter does not rise"
            time.sleep(0.01)
            later = holder(paths[0])
        assert later and later.token == mine.token
        grip.check()
    assert holder(paths[0]) is None
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_live_holder_here_is_named_at_once_and_nothing_else_stays_held(tmp_path: Path) -> None:
    free, taken = lock(tmp_path, "A1B"), lock(tmp_path, "A3B")
    with hold([taken]):
        begun = time.monotonic()
        match = rf"random-0/A3B/seed-0 .* process {os.getpid()}, "
        with pytest.raises(Held, match=match), hold([free, taken]):
            pass
        assert time.monotonic() - begun < 1
        assert holder(free) is None and holder(taken) is not None


def test_a_killed_holder_here_is_replaced_at_once_buried_or_not(tmp_path: Path) -> None:
    process = start(lock(tmp_path))
    assert said(process) == "held"
    process.kill()
    begun = time.monotonic()
    for _ in range(100):  # not waited for: it stays in the table of processes
        if dead(holder(lock(tmp_path))):  # type: ignore[arg-type]
            break
        time.sleep(0.01)
    with hold([lock(tmp_path)]):
        mine = holder(lock(tmp_path))
        assert mine and mine.pid == os.getpid()
    assert time.monotonic() - begun < 5
    process.wait()


def test_a_number_of_a_process_that_was_used_again_is_no_holder(tmp_path: Path) -> None:
    here = locks._myself("feed")
    elsewhere(lock(tmp_path), host=here.host, machine=here.machine, pid=os.getpid(), start="1")
    with hold([lock(tmp_path)], stale=60):
        pass


def test_another_users_process_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert dead(locks._myself("feed")) is False


def test_the_same_job_after_its_requeue_takes_over_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ARRAY_JOB_ID=7", "ARRAY_TASK_ID=3", "JOB_ID=9", "RESTART_COUNT=2"):
        monkeypatch.setenv(f"SLURM_{variable.partition('=')[0]}", variable.partition("=")[2])
    monkeypatch.delenv("SLURM_CLUSTER_NAME", raising=False)
    before = elsewhere(lock(tmp_path), job="7_3", restarts=1)
    assert dead(before) is True
    with hold([lock(tmp_path)], stale=60):
        mine = holder(lock(tmp_path))
        assert mine and (mine.job, mine.restarts) == ("7_3", 2)
    assert dead(elsewhere(lock(tmp_path), job="7_3", restarts=2)) is None
    assert dead(elsewhere(lock(tmp_path), job="7_4", restarts=0)) is None
    assert dead(elsewhere(lock(tmp_path), job="7_3", restarts=1, cluster="other")) is None


def test_a_counter_that_stands_still_is_waited_for_once_for_all_locks(tmp_path: Path) -> None:
    paths = [lock(tmp_path, f"A{n}B") for n in range(1, 6)]
    for path in paths[:-1]:
        elsewhere(path)
    paths[-1].parent.mkdir(parents=True)
    paths[-1].write_text('{"host": "n7", "ma')  # half-written
    begun = time.monotonic()
    with hold(paths, stale=0.5):
        assert 0.5 <= time.monotonic() - begun < 1.5
        assert all((mine := holder(path)) and mine.pid == os.getpid() for path in paths)


def test_a_counter_that_moves_is_alive(tmp_path: Path) -> None:
    path = lock(tmp_path)
    process = start(path, seconds=20)
    assert said(process) == "held"
    here = holder(path)
    assert here
    # The same process, seen from a machine from which it cannot be looked up.
    source = f"import socket\nsocket.gethostname = lambda: 'n8'\n{HOLD}"
    other = subprocess.run(
        [sys.executable, "-c", source, "0", "0", str(path)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=20,
    )
    assert other.stdout.startswith("Held random-0/A3B/seed-0 is being trained by host")
    process.kill()
    process.wait()


@pytest.mark.parametrize("kind", ["elsewhere", "dead here", "empty"])
def test_of_many_that_take_over_at_once_one_wins(tmp_path: Path, kind: str) -> None:
    path = lock(tmp_path)
    if kind == "elsewhere":
        elsewhere(path)
    elif kind == "empty":
        path.parent.mkdir(parents=True)
        path.touch()
    else:
        first = start(path)
        assert said(first) == "held"
        first.kill()
        first.wait()
    crowd = [start(path, seconds=2.0, at=time.time() + 1.0) for _ in range(6)]
    answers = [process.communicate(timeout=30)[0].split() for process in crowd]
    assert sorted(answer[0] for answer in answers) == ["Held"] * 5 + ["held"]
    assert ["held", "kept"] in answers
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_holder_that_slept_finds_its_lock_gone_and_writes_into_nobodys(tmp_path: Path) -> None:
    path = lock(tmp_path)
    with pytest.raises(Lost, match="was taken over by host n9"), hold([path], beat=30, stale=1.0) as grip:
        beside = path.with_name("other")
        there = elsewhere(beside, host="n9", counter=41)
        os.replace(beside, path)  # as a process on another machine does
        grip._last -= 10  # it stood still
        grip.check()
    assert holder(path) == there


def test_a_lock_that_was_removed_is_lost(tmp_path: Path) -> None:
    with hold([lock(tmp_path)], beat=0.05) as grip:
        lock(tmp_path).unlink()
        limit = time.monotonic() + 30
        with pytest.raises(Lost, match="is gone"):
            while time.monotonic() < limit:  # until the next beat has looked
                grip.check()
                time.sleep(0.01)


def test_one_that_died_while_it_took_over_blocks_nobody(tmp_path: Path) -> None:
    path = lock(tmp_path)
    here = locks._myself("feed")
    buried = {"host": here.host, "machine": here.machine, "pid": os.getpid(), "start": "1"}
    elsewhere(path, token="aa", **buried)
    elsewhere(path.with_name("lock.aa"), token="bb", **buried)
    elsewhere(path.with_name("lock.aa.bb"), token="cc", **buried)
    with hold([path], stale=60):
        mine = holder(path)
        assert mine and mine.start == here.start
        assert [p.name for p in path.parent.iterdir()] == ["lock"]
    assert list(path.parent.iterdir()) == []


def test_one_that_lives_while_it_takes_over_is_left_in_peace(tmp_path: Path) -> None:
    path = lock(tmp_path)
    here = locks._myself("feed")
    elsewhere(path, token="aa", host=here.host, machine=here.machine, pid=os.getpid(), start="1")
    elsewhere(path.with_name("lock.aa"), **{**asdict(here), "token": "bb"})
    with pytest.raises(Held), hold([path], stale=60):
        pass
    left = holder(path)
    assert left and left.token == "aa"

"""One holder a network, whatever dies, sleeps or races."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from waiting import LIMIT, wait_for

from transferability.runs import locks
from transferability.runs.locks import Held, Holder, Lost, dead, hold, holder, myself

# Tries to hold a lock at the first line that it reads, and releases it at the second one.
HOLD = """
import sys
from pathlib import Path
from transferability.runs.locks import Held, hold
print("ready", flush=True)
sys.stdin.readline()
try:
    with hold([Path(sys.argv[1])], beat=0.1, stale=float(sys.argv[2])) as grip:
        print("held", flush=True)
        sys.stdin.readline()
        grip.check()
        print("kept", flush=True)
except Held as error:
    print(type(error).__name__, error, flush=True)
"""
# Sees the processes of this machine as those of another one, which cannot be looked up.
FROM_ELSEWHERE = f"import socket\nsocket.gethostname = lambda: 'n8'\n{HOLD}"


class Process:
    """One that runs HOLD, ready for its first line."""

    def __init__(self, path: Path, stale: float = 0.6, script: str = HOLD) -> None:
        command = [sys.executable, "-c", script, str(path), str(stale)]
        self.started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.line() == "ready"

    def line(self) -> str:
        """Its next line."""
        assert self.started.stdout
        return self.started.stdout.readline().strip()

    def go_on(self) -> None:
        assert self.started.stdin
        self.started.stdin.write("\n")
        self.started.stdin.flush()

    def end(self) -> str:
        """All that it still says, once it may release its lock."""
        return self.started.communicate("\n", timeout=LIMIT)[0]


@contextmanager
def holding(path: Path) -> Iterator[Process]:
    """A process that holds the lock, and is killed in the end."""
    process = Process(path)
    try:
        process.go_on()
        assert process.line() == "held"
        yield process
    finally:
        process.started.kill()
        process.started.communicate()


class Clock:
    """The time for the locks of this process; it passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(locks, "time", clock)
    return clock


def lock(folder: Path, network: str = "A3B") -> Path:
    return folder / "study" / "random-0" / network / "seed-0" / "lock"


def elsewhere(path: Path, **fields: object) -> Holder:
    """A lock of a process on another machine, which cannot be seen from here."""
    values = {
        "host": "n7", "machine": "b p", "pid": 12, "start": "5", "cluster": "", "job": "", "restarts": 0,
        "since": 0.0, "token": "feed", "counter": 3,
    }  # fmt: skip
    owner = Holder(**{**values, **fields})  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(owner)))
    return owner


def test_nothing_remains_and_the_counter_rises(tmp_path: Path) -> None:
    paths = [lock(tmp_path, name) for name in ("A3B", "A1B")]
    with hold(paths, beat=0.05) as grip:
        mine = holder(paths[0])
        assert mine and mine.pid == os.getpid() and dead(mine) is False
        first = mine.counter
        wait_for("a counter that rises", lambda: (now := holder(paths[0])) and now.counter >= first + 3)
        later = holder(paths[0])
        assert later and later.token == mine.token
        grip.check()
    assert holder(paths[0]) is None
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_live_holder_here_is_named_at_once_and_nothing_else_stays_held(tmp_path: Path, clock: Clock) -> None:
    free, taken = lock(tmp_path, "A1B"), lock(tmp_path, "A3B")
    with hold([taken]):
        match = rf"random-0/A3B/seed-0 .* process {os.getpid()}, "
        with pytest.raises(Held, match=match), hold([free, taken]):
            pass
        assert clock.now == 0
        assert holder(free) is None and holder(taken) is not None


def test_a_killed_holder_here_is_replaced_at_once_buried_or_not(tmp_path: Path, clock: Clock) -> None:
    with holding(lock(tmp_path)) as process:
        process.started.kill()
        os.waitid(os.P_PID, process.started.pid, os.WEXITED | os.WNOWAIT)  # it stays in the table of processes
        killed = holder(lock(tmp_path))
        assert killed and dead(killed) is True
        with hold([lock(tmp_path)]):
            mine = holder(lock(tmp_path))
            assert mine and mine.pid == os.getpid()
    assert clock.now == 0


def test_a_number_of_a_process_that_was_used_again_is_no_holder(tmp_path: Path, clock: Clock) -> None:
    this = myself("feed")
    elsewhere(lock(tmp_path), host=this.host, machine=this.machine, pid=os.getpid(), start="1")
    with hold([lock(tmp_path)]):
        assert clock.now == 0


def test_another_users_process_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert dead(myself("feed")) is False


def test_the_same_job_after_its_requeue_takes_over_at_once(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("ARRAY_JOB_ID=7", "ARRAY_TASK_ID=3", "JOB_ID=9", "RESTART_COUNT=2"):
        monkeypatch.setenv(f"SLURM_{variable.partition('=')[0]}", variable.partition("=")[2])
    monkeypatch.delenv("SLURM_CLUSTER_NAME", raising=False)
    assert dead(elsewhere(lock(tmp_path), job="7_3", restarts=1)) is True
    with hold([lock(tmp_path)]):
        mine = holder(lock(tmp_path))
        assert mine and (mine.job, mine.restarts) == ("7_3", 2) and clock.now == 0
    assert dead(elsewhere(lock(tmp_path), job="7_3", restarts=2)) is None
    assert dead(elsewhere(lock(tmp_path), job="7_4", restarts=0)) is None
    assert dead(elsewhere(lock(tmp_path), job="7_3", restarts=1, cluster="other")) is None


def test_a_restart_count_that_is_no_number_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "x"):
        monkeypatch.setenv("SLURM_RESTART_COUNT", text)
        assert myself("").restarts == 0


def test_a_counter_that_stands_still_is_waited_for_once_for_all_locks(tmp_path: Path, clock: Clock) -> None:
    paths = [lock(tmp_path, f"A{n}B") for n in range(1, 6)]
    for path in paths[:-1]:
        elsewhere(path)
    paths[-1].parent.mkdir(parents=True)
    paths[-1].write_text('{"host": "n7", "ma')  # half-written
    with hold(paths, stale=50):
        assert clock.now == pytest.approx(50)
        assert all((mine := holder(path)) and mine.pid == os.getpid() for path in paths)


def test_without_hard_links_modes_and_fsync_a_lock_is_a_lock(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Google Drive, FAT, and what FUSE shows."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    for name in ("link", "fchmod", "fsync"):
        monkeypatch.setattr(os, name, unsupported)
    with hold([lock(tmp_path)]):
        mine = holder(lock(tmp_path))
        assert mine and mine.pid == os.getpid()
        with pytest.raises(Held), hold([lock(tmp_path)]):
            pass
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    elsewhere(lock(tmp_path))  # stands still: it is taken over
    with hold([lock(tmp_path)]) as grip:
        grip.check()
        assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["lock"]
    lock(tmp_path).touch()  # its maker was killed before it wrote
    with hold([lock(tmp_path)]):
        assert clock.now >= 120


def test_a_counter_that_moves_is_alive(tmp_path: Path) -> None:
    """The same process, seen from a machine from which it cannot be looked up."""
    with holding(lock(tmp_path)):
        other = Process(lock(tmp_path), stale=LIMIT, script=FROM_ELSEWHERE)
        other.go_on()
        assert other.line().startswith("Held random-0/A3B/seed-0 is being trained by host")
        other.end()


@pytest.mark.parametrize("kind", ["elsewhere", "dead here", "empty"])
def test_of_many_that_take_over_at_once_one_wins(tmp_path: Path, kind: str) -> None:
    path = lock(tmp_path)
    if kind == "elsewhere":
        elsewhere(path)
    elif kind == "empty":
        path.parent.mkdir(parents=True)
        path.touch()
    else:
        with holding(path):
            pass
        assert holder(path) is not None
    crowd = [Process(path) for _ in range(6)]
    for process in crowd:
        process.go_on()
    answers = [process.line().split()[0] for process in crowd]  # the one that holds it goes on doing so
    assert sorted(answers) == ["Held"] * 5 + ["held"]
    assert [process.end() for process in crowd] == ["kept\n" if answer == "held" else "" for answer in answers]
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_holder_that_slept_finds_its_lock_gone_and_writes_into_nobodys(tmp_path: Path) -> None:
    path = lock(tmp_path)
    with pytest.raises(Lost, match="was taken over by host n9"), hold([path], beat=3600, stale=1.0) as grip:
        other = path.with_name("other")
        successor = elsewhere(other, host="n9", counter=41)
        os.replace(other, path)  # as a process on another machine does
        grip._last -= 10  # it stood still
        grip.check()
    assert holder(path) == successor


def test_a_lock_that_was_removed_is_lost(tmp_path: Path) -> None:
    with hold([lock(tmp_path)], beat=0.05) as grip:
        lock(tmp_path).unlink()
        with pytest.raises(Lost, match="is gone"):
            wait_for("the next beat", grip.check)  # type: ignore[func-returns-value]


def test_one_that_died_while_it_took_over_blocks_nobody(tmp_path: Path, clock: Clock) -> None:
    path = lock(tmp_path)
    this = myself("feed")
    buried = {"host": this.host, "machine": this.machine, "pid": os.getpid(), "start": "1"}
    elsewhere(path, token="aa", **buried)
    elsewhere(path.with_name("lock.aa"), token="bb", **buried)
    elsewhere(path.with_name("lock.aa.bb"), token="cc", **buried)
    with hold([path]):
        mine = holder(path)
        assert mine and mine.start == this.start and clock.now == 0
        assert [p.name for p in path.parent.iterdir()] == ["lock"]
    assert list(path.parent.iterdir()) == []


def test_one_that_lives_while_it_takes_over_is_left_in_peace(tmp_path: Path, clock: Clock) -> None:
    path = lock(tmp_path)
    this = myself("feed")
    elsewhere(path, token="aa", host=this.host, machine=this.machine, pid=os.getpid(), start="1")
    elsewhere(path.with_name("lock.aa"), **{**asdict(this), "token": "bb"})
    with pytest.raises(Held), hold([path]):
        pass
    assert clock.now == 0
    left = holder(path)
    assert left and left.token == "aa"

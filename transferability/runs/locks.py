"""Locks: two processes never train the same network at once, on one machine or on many over a shared file system.

A lock is a small JSON file: who holds it, and a counter that its holder raises every ten seconds. No clock is
ever compared with another machine's, and nothing depends on the time of a file.

- It is created whole, by link(2): of any number of processes exactly one succeeds. On a file system without hard
  links (FAT, Google Drive) it is opened exclusively and then written; until then it holds nothing that can be read,
  and counts as the lock of a process that cannot be seen.
- Its holder raises the counter in the file that it made, never by the file's name, so a holder that was taken
  for dead and wakes up cannot write into its successor's lock. It reads its lock back each time, finds it
  gone, and stops.
- To replace or remove the lock with token t, a process first creates `lock.t`, again by link(2), and then checks
  that the lock is still t: only one process can be between these two steps. It renames `lock.t` to `lock`. If it
  dies before that, `lock.t` is taken over by the same rules.
"""

import errno
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from transferability.files import MISSING_FEATURE, Refused, sync_file

NO_HARD_LINKS = (*MISSING_FEATURE, errno.EPERM)  # what link(2) fails with


class Held(Refused):
    """Somebody else holds a lock. The message says which network, and who: host, process, job, since when."""


class Lost(Held):
    """A lock that this process held is gone: it stood still for so long that another process took it over."""


@dataclass(frozen=True)
class Holder:
    """What a lock says. `machine`: boot and process namespace, in which `pid` and `start` mean something.

    `start`: when the process started, in ticks since boot ("" where that cannot be known), since numbers of
    processes are used again. `job`: SLURM's job id (`12_3` in an array; "" without), `restarts`: how often it was
    requeued before. `since`: seconds since 1970, by the holder's clock, for people only.
    """

    host: str
    machine: str
    pid: int
    start: str
    cluster: str
    job: str
    restarts: int
    since: float
    token: str
    counter: int

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"host {self.host}, process {self.pid}{f', job {self.job}' if self.job else ''}, since {since}"


def holder(lock: Path) -> Holder | None:
    """Who holds `lock`, by what it says; None when it is free, or says nothing that can be read."""
    seen = _look(lock)
    return seen.holder if seen else None


def dead(holder: Holder) -> bool | None:
    """Whether the process that made a lock is gone for sure (True), runs for sure (False), or cannot be seen."""
    mine = myself("")
    if holder.job and (holder.cluster, holder.job) == (mine.cluster, mine.job) and holder.restarts < mine.restarts:
        return True  # this very job before it was requeued: SLURM ends a job before it starts it again
    if (holder.host, holder.machine) != (mine.host, mine.machine):
        return None
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # another user's: it is there
    start = _start(holder.pid)
    if not start or not holder.start:
        return None
    return start != holder.start


class Grip:
    """Locks that are held. `lost` becomes a sentence as soon as one of them is known to be somebody else's."""

    def __init__(self, beat: float, stale: float) -> None:
        self.lost: str | None = None
        self._beat, self._stale = beat, stale
        self._held: dict[Path, tuple[int, Holder]] = {}
        self._mutex = threading.Lock()
        self._last = _now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="locks", daemon=True)

    def check(self) -> None:
        """Raises Lost if a lock was lost. Costs nothing: call it at every step, and before results are written.

        Looks into the files itself when this process stood still for so long that nobody else can have looked.
        """
        if self.lost is None and _now() - self._last > self._stale / 2:
            self._raise_counters()
        if self.lost is not None:
            raise Lost(self.lost)

    def _run(self) -> None:
        while not self._stop.wait(self._beat):
            self._raise_counters()

    def _raise_counters(self) -> None:
        with self._mutex:
            for path, (handle, mine) in self._held.items():
                mine = Holder(**{**asdict(mine), "counter": mine.counter + 1})
                self._held[path] = handle, mine
                try:
                    os.pwrite(handle, _text(mine), 0)
                    sync_file(handle, path)
                    seen = _look(path)
                except OSError as error:
                    if _now() - self._last > self._stale / 2:
                        self.lost = f"{path} cannot be written to: {error}"
                        return
                    continue
                if seen is None or seen.token != mine.token:
                    by = f"was taken over by {seen.holder}" if seen and seen.holder else "is gone"
                    self.lost = f"{path} {by}; this process stood still for too long, or the lock was removed"
                    return
                self._last = _now()

    def _take(self, path: Path, still: dict[Path, str]) -> None:
        mine = myself(secrets.token_hex(8))
        handle = _acquire(path, path, mine, still, self._stale)
        with self._mutex:
            self._held[path] = handle, mine
        # Left by processes that were killed in the middle: void, since the lock that they were about is gone.
        for other in path.parent.glob(f"{path.name}.*"):
            if not other.name.startswith(f"{path.name}.{mine.token}"):
                other.unlink(missing_ok=True)

    def _release(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._mutex:
            held, self._held = self._held, {}
        for path, (handle, mine) in held.items():
            with suppress(OSError):
                os.close(handle)
                claim = _claim(path, mine.token)
                made = _create(claim, mine)
                if made is not None:
                    os.close(made)
                    seen = _look(path)
                    if seen and seen.token == mine.token:
                        path.unlink(missing_ok=True)
                    claim.unlink(missing_ok=True)


@contextmanager
def hold(locks: Sequence[Path], beat: float = 10.0, stale: float = 60.0) -> Iterator[Grip]:
    """Holds all of `locks` or none: Held if one is held by a process that lives, or may live.

    The lock of a dead process of this machine, or of this SLURM job before its requeue, is taken over at once;
    of a process that cannot be seen from here only after its counter stood still for `stale` seconds of this
    process's own monotonic clock: for so long this call waits. `beat`: seconds between two raises of the counter,
    by a thread.

    While it holds them, call `check()` of what this yields: it raises Lost once a lock was taken over.
    """
    ordered = sorted(set(locks))
    # All at once, before anything is held: the locks of a fleet that died cost one wait, not one each.
    still = _watch(ordered, stale)
    grip = Grip(beat, stale)
    grip._thread.start()
    try:
        for path in ordered:
            grip._take(path, still)
        yield grip
    finally:
        grip._release()


@dataclass(frozen=True)
class _Seen:
    """A lock file at one moment. `token`: which lock it is. `state`: changes when its counter does."""

    token: str
    state: str
    holder: Holder | None


def _look(path: Path) -> _Seen | None:
    """What is in `path` now; None if nothing is there."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError:  # may not be read: another user's
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            return None
        return _Seen(f"{stat.st_ino}", f"{stat.st_mtime_ns}", None)
    try:
        inode = os.fstat(handle).st_ino
        text = os.read(handle, 65536)
    except OSError:  # removed on another machine between the two calls
        return None
    finally:
        os.close(handle)
    try:
        holder = Holder(**json.loads(text))
        if not all(isinstance(getattr(holder, field.name), field.type) for field in fields(Holder)):  # type: ignore[arg-type]
            raise ValueError
        return _Seen(holder.token, str(holder.counter), holder)
    except (ValueError, TypeError):  # half-written, empty, or no lock of ours
        return _Seen(f"{inode}", repr(text), None)


def _watch(paths: Sequence[Path], stale: float) -> dict[Path, str]:
    """For each of `paths` that is there, the token of the lock, once it is known to be nobody's; Held otherwise.

    Looks for up to `stale` seconds, by this process's monotonic clock, whether a counter moves.
    """
    first = {path: seen for path in paths if (seen := _look(path)) is not None}
    still: dict[Path, _Seen] = {}
    unseen: dict[Path, _Seen] = {}
    for path, seen in first.items():
        gone = dead(seen.holder) if seen.holder else None
        if gone is False:
            raise _held(path, seen)
        (still if gone else unseen)[path] = seen
    end = time.monotonic() + stale
    while unseen and (left := end - time.monotonic()) > 0:
        time.sleep(min(1.0, stale / 20, left))
        for path, seen in list(unseen.items()):
            seen_now = _look(path)
            if seen_now is None:
                del unseen[path]
            elif (seen_now.token, seen_now.state) != (seen.token, seen.state):
                raise _held(path, seen_now)
    return {path: seen.token for path, seen in {**still, **unseen}.items()}


def _acquire(path: Path, lock: Path, mine: Holder, still: dict[Path, str], stale: float) -> int:
    """Makes `path` (the lock itself, or a claim on it) ours; the open file that holds our counter, or Held."""
    while True:
        handle = _create(path, mine)
        if handle is not None:
            return handle
        seen = _look(path)
        if seen is None:
            continue
        if still.get(path) != seen.token:  # it was not there when we looked, or it is a claim
            still.update(_watch([path], stale))
            continue
        claim = _claim(path, seen.token)
        handle = _acquire(claim, lock, mine, still, stale)
        seen_again = _look(path)
        if seen_again is not None and seen_again.token == seen.token:
            # Nobody else may replace or remove the lock with this token now.
            try:
                os.rename(claim, path)
            except FileNotFoundError:  # renamed for us by one who was taken for dead in just this place
                pass
            except OSError as error:  # another user's lock, in a folder where that is protected
                os.close(handle)
                with suppress(OSError):  # or it would keep that user, too, from the lock
                    claim.unlink()
                raise OSError(error.errno, error.strerror, str(path)) from None
            renamed = _look(path)
            if renamed is not None and renamed.token == mine.token:
                return handle
        else:
            claim.unlink(missing_ok=True)
        os.close(handle)


def _create(path: Path, mine: Holder) -> int | None:
    """Makes `path` with our text if nothing is there; the open file, or None if something is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    handle, made = None, False
    try:
        handle = _write_new(unfinished, mine)
        try:
            os.link(unfinished, path)
        except OSError as error:
            if error.errno in NO_HARD_LINKS:
                return _write_new(path, mine)
            if not path.exists():
                raise
        # Over NFS the answer to a link that was made may get lost, so what counts is what is there.
        with suppress(FileNotFoundError):
            made = os.path.samestat(os.stat(path), os.fstat(handle))
        return handle if made else None
    except FileExistsError:
        return None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        if handle is not None and not made:
            os.close(handle)
        with suppress(OSError):
            os.unlink(unfinished)


def _write_new(file: Path, mine: Holder) -> int:
    """Makes `file`, which must not be there, with our text; the open file."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with suppress(OSError):  # on a file system that keeps no modes
            os.fchmod(handle, 0o644)  # whatever the umask: other users have to see the counter
        os.pwrite(handle, _text(mine), 0)
        sync_file(handle, file)
    except BaseException:
        os.close(handle)
        with suppress(OSError):
            os.unlink(file)
        raise
    return handle


def _claim(path: Path, token: str) -> Path:
    """The file that whoever replaces or removes the lock `token` under `path` has to make first."""
    return path.with_name(f"{path.name}.{token}")


def _text(mine: Holder) -> bytes:
    """Always of the same length, since it is written over itself."""
    return json.dumps({**asdict(mine), "counter": 0}).encode()[:-2] + f"{mine.counter:>12}}}\n".encode()


def _held(path: Path, seen: _Seen) -> Held:
    network = "/".join(path.parts[-4:-1])
    owner = str(seen.holder) if seen.holder else f"a process that cannot be read from {path}"
    return Held(f"{network} is being trained by {owner}; this process steps back")


def myself(token: str) -> Holder:
    """This process as the holder of a lock `token`."""
    env = os.environ
    array, task = env.get("SLURM_ARRAY_JOB_ID", ""), env.get("SLURM_ARRAY_TASK_ID", "")
    restarts = env.get("SLURM_RESTART_COUNT", "")
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")  # containers of one host number their processes anew
    return Holder(
        host=socket.gethostname(),
        machine=f"{boot} {namespace}",
        pid=os.getpid(),
        start=_start(os.getpid()),
        cluster=env.get("SLURM_CLUSTER_NAME", ""),
        job=f"{array}_{task}" if array else env.get("SLURM_JOB_ID", ""),
        restarts=int(restarts) if restarts.isdigit() else 0,
        since=time.time(),
        token=token,
        counter=0,
    )


def _start(pid: int) -> str:
    """When process `pid` started, in ticks since boot; "gone" for one that is dead but not buried; "" unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "gone" if fields[0] in "ZX" else fields[19]


def _now() -> float:
    """Seconds that go on while the machine sleeps: in that time others may have taken a lock over."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

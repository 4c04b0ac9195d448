"""Every fault that can be made on purpose, many times over, and a table of what became of it.

    make torture                                     all, about half an hour on two cores
    python tests/torture.py --scale 0.1 --only kill  a tenth of the trials, of the faults whose name matches "kill"
    python tests/torture.py --out docs/torture.md    and the table as Markdown

Each trial trains the smoke study (on a small set of its own), disturbs it, runs the same command again until it is
done, and compares with an undisturbed run: weights of every network, series, results.csv and curves.csv, everything
but times. Not collected by pytest; `test_faults.py` has the quick trials. Disks that are full and folders that are
read-only need root, to mount them.
"""

import argparse
import collections
import contextlib
import csv
import hashlib
import itertools
import json
import os
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}

from comparing import outcome
from pictures import encoded, pixels, put
from rich.console import Console
from rich.table import Table
from tiny import write_tiny

from transferability import cli
from transferability.data.packed import FILES, open_packed
from transferability.files import write_json
from transferability.runs.locks import myself
from transferability.runs.paths import StudyFolder

HERE = Path(__file__).resolve().parent
PROGRAM = Path(sys.executable).with_name("transferability")
SMOKE = HERE.parent / "experiments" / "smoke.py"
LIMIT = 1200  # seconds for one command, on a machine that others use too
OPTIONS = ["--accelerator", "cpu", "--keep-weights", "--checkpoint-minutes", "0"]
TRAIN = ["train", str(SMOKE), "--network", "*", *OPTIONS]
RUN = ["run", str(SMOKE), *OPTIONS]


class Wrong(Exception):
    """A trial did not end as it has to."""


@dataclass
class Row:
    """A line of the table."""

    fault: str
    times: int = 0
    saw: collections.Counter[str] = field(default_factory=collections.Counter)
    lost: list[str] = field(default_factory=list)


@dataclass
class Bench:
    """Where the trials happen. `calm`: the undisturbed outcome; `seconds`: how long it took."""

    root: Path
    draw: random.Random
    scale: float
    calm: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    renames: int = 0

    def times(self, number: int) -> int:
        return max(1, round(number * self.scale))

    @contextlib.contextmanager
    def runs(self) -> Iterator[Path]:
        """A fresh runs folder, removed after a trial that went well."""
        folder = Path(tempfile.mkdtemp(prefix="runs-", dir=self.root))
        yield folder
        shutil.rmtree(folder)


def until(row: Row, times: int) -> Iterator[int]:
    """Numbers of trials, until so many have met a process that still ran."""
    for number in itertools.count():
        if row.times >= times:
            return
        yield number


# ---------------------------------------------------------------------------------------------- processes


@dataclass
class Process:
    pid: int
    log: Path

    def wait(self, limit: float = LIMIT) -> int | None:
        """Exit code (negative: killed by that signal); None if it still runs after `limit` seconds."""
        end = time.monotonic() + limit
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                return None
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL for its whole group, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def environment(root: Path, runs: Path, **more: str) -> dict[str, str]:
    return {"TRANSFERABILITY_DATA": str(root / "data"), "TRANSFERABILITY_RUNS": str(runs), **more}


def forked(what: Callable[[], object], log: Path, **more: str) -> Process:
    """`what` in a fork of this process, which has torch loaded already: a trial costs no start-up."""
    pid = os.fork()
    if pid:
        return Process(pid, log)
    code = 70
    try:
        os.setsid()
        os.environ.update(more)
        tempfile.tempdir = None
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        try:
            what()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def command(arguments: list[str], log: Path, **more: str) -> Process:
    """The command line, forked."""

    def what() -> None:
        sys.argv = ["transferability", *arguments]
        cli.main()

    return forked(what, log, **more)


def program(arguments: list[str], log: Path, **more: str) -> Process:
    """The installed program, as a user starts it, in a group of its own."""
    with open(log, "wb") as handle:
        started = subprocess.Popen(
            [PROGRAM, *arguments], stdout=handle, stderr=handle, start_new_session=True, env={**os.environ, **more}
        )
    return Process(started.pid, log)


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that train: not multiprocessing's own helper."""
    with contextlib.suppress(OSError):
        pids = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [child for child in pids if "resource_tracker" not in _command_line(child)]
    return []


def wait_for_children(process: Process) -> None:
    """Returns when the first process has started others; a busy machine takes its time for that."""
    end = time.monotonic() + LIMIT
    while not children(process.pid) and time.monotonic() < end:
        time.sleep(0.05)


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def finish(start: Callable[[], Process], row: Row, most: int = 3) -> None:
    """The same command again, until it is done."""
    for _ in range(most):
        process = start()
        code = process.wait()
        if code == 0:
            return
        row.saw[last_line(process.said())] += 1
    process.kill()
    raise Wrong(f"exit code {code} again and again: {process.said()[-500:]}")


def last_line(text: str) -> str:
    """The line that says what is wrong, without what differs from trial to trial."""
    lines = [line for line in text.splitlines() if re.match(r"transferability: |failed: |held: |Error|\w+Error", line)]
    line = lines[-1] if lines else (text.strip().splitlines() or ["nothing"])[-1]
    line = re.sub(r"/\S*/([\w.-]+)", r"…/\1", line)
    line = re.sub(r"(random-0/)[\w+@.]+/seed-0( and \d+ more)?", r"\1…", line)
    line = re.sub(r"\b[0-9a-f]{16}\b|\d\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d|\b\d{3,}\b|host \S+", "…", line)
    return line[:150]


# ------------------------------------------------------------------------------------------ what is compared

TIMES = ("seconds", "images_per_second", "git_commit")


def digests(runs: Path, study: str = "smoke") -> dict[str, str]:
    """Name of each network and table → digest of all that must not depend on faults."""
    folder = StudyFolder(runs / study)
    values = {}
    for file in sorted(folder.root.glob("*/*/seed-*/result.json")):
        name = str(file.parent.relative_to(folder.root))
        trained = outcome(study, name, runs)
        values[name] = hashlib.sha256(json.dumps(trained.result, sort_keys=True).encode() + trained.file).hexdigest()
    for file in (folder.results, folder.curves):
        with open(file, newline="") as handle:
            rows = [{key: row[key] for key in row if key not in TIMES} for row in csv.DictReader(handle)]
        values[file.name] = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    return values


def compare(bench: Bench, runs: Path, expected: dict[str, str] | None = None, experiment: Path = SMOKE) -> None:
    """Collects and compares; also that nothing unfinished lies about."""
    process = command(["results", str(experiment)], bench.root / "results.log", **environment(bench.root, runs))
    if process.wait() != 0:
        raise Wrong(f"collecting: {process.said()[-500:]}")
    study = runs / experiment.stem
    expected, values = expected or bench.calm, digests(runs, experiment.stem)
    differing = [name for name in {*expected, *values} if expected.get(name) != values.get(name)]
    if differing:
        raise Wrong(f"{len(differing)} of {len(expected)} differ, as {differing[0]}")

    def is_done(path: Path) -> bool:
        """A lock of a network that is done keeps nobody from anything: a kill while it is released leaves it there."""
        return "lock" in path.name and path.with_name("result.json").exists()

    left = [path for path in study.rglob("lock*") if not is_done(path)]
    left += [path for pattern in ("fleets/*", ".removed-*") for path in study.glob(pattern) if path.is_dir()]
    shared = {study, study / "means"}  # where several processes may be writing, and none can tidy
    left += [path for path in study.rglob(".*.tmp") if path.parent not in shared and not is_done(path)]
    if left:
        raise Wrong(f"left over: {left[0].relative_to(runs)}")


# ---------------------------------------------------------------------------------------------- kills


def kill_in_one_process(bench: Bench, row: Row) -> None:
    """`train`, killed at random moments; every second time the temporary directory is on another file system."""
    while row.times < bench.times(80):
        with bench.runs() as runs:
            temporary = {"TMPDIR": "/dev/shm"} if bench.draw.random() < 0.5 and Path("/dev/shm").is_dir() else {}
            start = lambda: command(TRAIN, bench.root / "log", **environment(bench.root, runs, **temporary))  # noqa: B023, E731
            for _ in range(bench.draw.randint(2, 5)):
                process = start()
                code = process.wait(bench.draw.uniform(0, 0.6 * bench.seconds))
                if code is not None:
                    break
                process.kill()
                process.wait()
                row.times += 1
            finish(start, row)
            compare(bench, runs)


# Half A's networks of the demo study and the two bases, on its pictures, with fewer and smaller steps.
PART = """
import runpy
from dataclasses import replace
demo = runpy.run_path({demo!r})["study"]
recipe = replace(demo.networks[0].recipe, name="part", steps=100, batch=16, warmup=10, validate_every=50)
chosen = demo.select(["random-0/base?", "random-0/??A", "random-0/??A+"])
study = replace(demo, name="part", data="drawn", networks=tuple(replace(network, recipe=recipe) for network in chosen))
"""


def kill_one_study_twenty_times(bench: Bench, row: Row) -> None:
    """A part of the demo study, killed twenty times before its end; with the temporary directory here and elsewhere."""
    experiment = put(bench.root / "part.py", PART.format(demo=str(SMOKE.with_name("demo.py"))).encode())
    arguments = ["train", str(experiment), "--network", "*", *OPTIONS]
    pack_demo(bench)
    kills, seconds, calm = bench.times(20), 0.0, {}
    for temporary in ("", str(bench.root), "/dev/shm"):
        with bench.runs() as runs:
            where = environment(bench.root, runs) | {"TMPDIR": temporary or str(bench.root)}
            began, killed = time.monotonic(), 0
            while temporary and killed < kills:
                process = command(arguments, bench.root / "log", **where)
                if process.wait(bench.draw.uniform(0, seconds / kills)) is not None:
                    break
                process.kill()
                process.wait()
                killed += 1
            finish(lambda: command(arguments, bench.root / "log", **where), row)  # noqa: B023
            if not temporary:  # undisturbed
                seconds = time.monotonic() - began
                command(["results", str(experiment)], bench.root / "log", **where).wait()
                calm = digests(runs, "part")
            compare(bench, runs, calm, experiment)
            row.times += killed
            if temporary:
                row.saw[f"{killed} kills of one study of {len(calm) - 2} networks, TMPDIR in {kind(temporary)}"] += 1


def kind(folder: str) -> str:
    """The kind of file system that `folder` is on."""
    done = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def kill_at_renames(bench: Bench, row: Row) -> None:
    """`train`, killed just before or just after it renames a file: also between result and checkpoint."""
    while row.times < bench.times(60):
        with bench.runs() as runs:

            def start(at: int = 0, after: bool = False) -> Process:
                def what() -> None:
                    original, passed = os.replace, 0

                    def replace(source: Any, destination: Any) -> None:
                        nonlocal passed
                        passed += 1
                        if passed == at and not after:
                            os.kill(os.getpid(), signal.SIGKILL)
                        original(source, destination)
                        if passed == at:
                            os.kill(os.getpid(), signal.SIGKILL)

                    os.replace = replace  # type: ignore[assignment]
                    sys.argv = ["transferability", *TRAIN]
                    cli.main()

                return forked(what, bench.root / "log", **environment(bench.root, runs))

            for _ in range(4):
                process = start(bench.draw.randint(1, bench.renames // 3), bench.draw.random() < 0.5)
                if process.wait() == -signal.SIGKILL:
                    row.times += 1
            finish(start, row)
            compare(bench, runs)


def kill_the_group(bench: Bench, row: Row) -> None:
    """`run` with two workers: all of its processes at once, or the first one alone, whose workers have to follow."""
    for number in until(row, bench.times(16)):
        with bench.runs() as runs:
            start = lambda: program([*RUN, "--workers", "2"], bench.root / "log", **environment(bench.root, runs))  # noqa: E731
            for _ in range(2):
                process = start()
                if process.wait(bench.draw.uniform(3, 3 + 2 * bench.seconds)) is None:
                    if number % 2:
                        os.kill(process.pid, signal.SIGKILL)  # and the same command again, without waiting
                    else:
                        process.kill()
                    process.wait()
                    row.times += 1
            finish(start, row, most=1)
            compare(bench, runs)


def kill_one_worker(bench: Bench, row: Row) -> None:
    """`run` with two workers, one of them killed: the others' work goes on."""
    for _ in until(row, bench.times(8)):
        with bench.runs() as runs:
            start = lambda: program([*RUN, "--workers", "2"], bench.root / "log", **environment(bench.root, runs))  # noqa: E731
            process = start()
            wait_for_children(process)
            time.sleep(bench.draw.uniform(0, 4 + 1.5 * bench.seconds))
            if workers := children(process.pid):
                os.kill(bench.draw.choice(workers), signal.SIGKILL)
                row.times += 1
            code = process.wait()
            if code is None:
                process.kill()
                raise Wrong(f"hangs: {process.said()[-300:]}")
            if code:
                row.saw[last_line(process.said())] += 1
            finish(start, row, most=1)
            compare(bench, runs)


def kill_one_rank(bench: Bench, row: Row) -> None:
    """Two processes to a fleet, one of them killed: the other one ends; again, and the same bits as undisturbed."""
    chosen = ["--network", "random-0/baseA", "--network", "random-0/A?A"]
    train = ["train", str(SMOKE), *chosen, "--devices", "2", *OPTIONS]
    only = ["--only", "random-0/baseA", "--only", "random-0/A?A"]
    run = [*RUN, *only, "--devices-per-fleet", "2", "--workers", "1"]
    expected: dict[str, str] = {}
    with bench.runs() as runs:
        if program(train, bench.root / "log", **environment(bench.root, runs)).wait() != 0:
            raise Wrong((bench.root / "log").read_text()[-500:])
        program(["results", str(SMOKE)], bench.root / "log", **environment(bench.root, runs)).wait()
        expected = digests(runs)
    for number in until(row, bench.times(8)):
        with bench.runs() as runs:
            arguments = run if number % 2 else train
            start = lambda: program(arguments, bench.root / "log", **environment(bench.root, runs))  # noqa: B023, E731
            process = start()
            wait_for_children(process)
            time.sleep(bench.draw.uniform(0, 4 + bench.seconds))
            ranks = children(process.pid)
            if ranks:
                victims = ranks if arguments is run else [process.pid, ranks[0]]
                os.kill(bench.draw.choice(victims), signal.SIGKILL)
                row.times += 1
            code = process.wait(90)
            end = time.monotonic() + 90
            while time.monotonic() < end and any(map(_command_line, ranks)):
                time.sleep(0.1)
            if code is None or any(map(_command_line, ranks)):
                row.saw["the other one waits for more than 90 s"] += 1
            elif code:
                row.saw["killed" if code < 0 else last_line(process.said())] += 1
            process.kill()
            for rank in ranks:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rank, signal.SIGKILL)
            finish(start, row, most=1)
            compare(bench, runs, expected)


def pack_demo(bench: Bench) -> None:
    """The demo's pictures, packed undisturbed, where the part of the demo study looks for them."""
    if (calm := bench.root / "data" / "drawn").exists():
        return
    process = program(["pack", "demo", str(calm), "--workers", "2"], bench.root / "log")
    if process.wait() != 0:
        raise Wrong(process.said()[-500:])


def kill_packing(bench: Bench, row: Row) -> None:
    """`pack` of JPEG pictures, and of the demo's, with two workers, killed at random moments."""
    source = bench.root / "pictures"
    data = [encoded(pixels(seed, 300, 400), "JPEG") for seed in range(8)]
    for c in range(8):
        for which, count in (("train", 40), ("val", 8)):
            for i in range(count):
                put(source / which / f"class {c}" / f"{i}.jpg", data[(c + i) % 8])
    pack_demo(bench)
    jpeg = bench.root / "packed"
    for source_word, calm, size, number in (
        (str(source), jpeg, ["--size", "256"], bench.times(15)),
        ("demo", bench.root / "data" / "drawn", [], bench.times(10)),
    ):

        def start(destination: Path) -> Process:
            arguments = ["pack", source_word, str(destination), *size, "--workers", "2"]  # noqa: B023
            return program(arguments, bench.root / "log")

        with bench.runs() as folder:  # how long it takes
            began = time.monotonic()
            finish(lambda: start(folder / "packed"), row, most=1)
            seconds = time.monotonic() - began
            if not calm.exists():
                (folder / "packed").rename(calm)
        killed = 0
        while killed < number:
            with bench.runs() as folder:
                for _ in range(5):
                    process = start(folder / "packed")
                    if process.wait(bench.draw.uniform(0, 0.5 * seconds)) is None:
                        process.kill() if bench.draw.random() < 0.5 else os.kill(process.pid, signal.SIGKILL)
                        process.wait()
                        killed += 1
                        if (folder / "packed").exists() and not (folder / "packed" / "manifest.json").exists():
                            raise Wrong("a half-packed set at the destination")
                finish(lambda: start(folder / "packed"), row)
                if any((calm / name).read_bytes() != (folder / "packed" / name).read_bytes() for name in FILES):
                    raise Wrong("other bytes")
        row.times += killed


def kill_collecting(bench: Bench, row: Row) -> None:
    """`results` and the figures, killed at random moments: a table or figure is the old one, the new one, or none."""
    with bench.runs() as runs:
        where = environment(bench.root, runs)
        finish(lambda: command(TRAIN, bench.root / "log", **where), row)
        compare(bench, runs)
        tables = [runs / "smoke" / name for name in ("results.csv", "curves.csv")]
        figures = [bench.root / "figures" / f"figure2.{suffix}" for suffix in ("png", "pdf")]
        calm: dict[Path, bytes] = {}

        def collect() -> None:
            sys.argv = ["transferability", "results", str(SMOKE)]
            cli.main()

        def draw() -> None:
            sys.path.insert(0, str(HERE.parent / "plots"))
            sys.argv = ["figure2.py", str(tables[0]), "--out", str(bench.root / "figures")]
            runpy.run_path(str(HERE.parent / "plots" / "figure2.py"), run_name="__main__")

        for what, files in ((collect, tables), (draw, figures)):
            began = time.monotonic()
            process = forked(what, bench.root / "log", **where)
            if process.wait() != 0:
                raise Wrong(process.said()[-500:])
            seconds = time.monotonic() - began
            calm |= {file: file.read_bytes() for file in files}
            for _ in range(bench.times(20)):
                if bench.draw.random() < 0.3:
                    for file in files:
                        file.unlink(missing_ok=True)
                process = forked(what, bench.root / "log", **where)
                if process.wait(bench.draw.uniform(0, seconds)) is None:
                    process.kill()
                    process.wait()
                    row.times += 1
                for file in files:
                    if file.exists() and file.read_bytes() != calm[file]:
                        raise Wrong(f"{file.name} is half-written")
            finish(lambda: forked(what, bench.root / "log", **where), row)  # noqa: B023
            if any(file.read_bytes() != calm[file] for file in files):
                raise Wrong(f"{files[0].name} differs")


# ---------------------------------------------------------------------------------------------- storage


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        raise PermissionError(done.stderr.decode().strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def full_disk(bench: Bench, row: Row) -> None:
    """Runs on a file system of so many kB, which is enlarged again and again until everything fits."""
    for _ in range(bench.times(4)):
        folder = bench.root / "small"
        size = bench.draw.randint(16, 200)
        with mounted(folder, f"size={size}k"):
            process = None
            for _ in range(60):
                process = command(TRAIN, bench.root / "log", **environment(bench.root, folder))
                if process.wait() == 0:
                    break
                said = process.said()
                if "Traceback" in said or "No space left on device" not in said:
                    raise Wrong(f"at {size} kB: {said[-500:]}")
                row.saw[last_line(said)] += 1
                row.times += 1
                size += bench.draw.randint(20, 400)
                subprocess.run(["mount", "-o", f"remount,size={size}k", folder], check=True)
            subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
            finish(lambda: command(TRAIN, bench.root / "log", **environment(bench.root, folder)), row)  # noqa: B023
            compare(bench, folder)


def read_only(bench: Bench, row: Row) -> None:
    """A runs folder that is read-only from the start, or becomes so after the bases."""
    folder = bench.root / "fixed"
    bases = ["train", str(SMOKE), "--network", "random-0/base?", *OPTIONS]
    for first in (False, True):
        with mounted(folder, "size=64m"):
            where = environment(bench.root, folder)
            if first:
                finish(lambda: command(bases, bench.root / "log", **where), row)  # noqa: B023
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
            for arguments in (TRAIN, [*RUN, "--workers", "1"], ["results", str(SMOKE)], ["status", str(SMOKE)]):
                process = program(arguments, bench.root / "log", **where)
                code, said = process.wait(), process.said()
                row.times += 1
                if "Traceback" in said or (code == 0) != (arguments[0] == "status"):
                    raise Wrong(f"{arguments[0]}: {said[-500:]}")
                row.saw[last_line(said) if code else "status: as usual"] += 1
            subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
            finish(lambda: command(TRAIN, bench.root / "log", **where), row)  # noqa: B023
            compare(bench, folder)


def damaged_pictures(bench: Bench, row: Row) -> None:
    """A byte of a packed set is gone or another, at a random place of a random file; or the set is elsewhere."""
    data, arguments = bench.root / "damaged", ["run", str(SMOKE), "--workers", "1", "--accelerator", "cpu"]
    for number in range(bench.times(40)):
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(bench.root / "data" / "demo", data / "demo")
        file = data / "demo" / bench.draw.choice([*FILES, "manifest.json"])
        if number % 10 == 9:
            (data / "demo").rename(data / "moved")
        elif number % 2:
            content = bytearray(file.read_bytes())
            content[bench.draw.randrange(len(content))] ^= 1 << bench.draw.randrange(8)
            file.write_bytes(content)
        else:
            os.truncate(file, file.stat().st_size - 1)
        with bench.runs() as runs:
            where = environment(bench.root, runs) | {"TRANSFERABILITY_DATA": str(data)}
            process = command(arguments, bench.root / "log", **where)
            code, said = process.wait(), process.said()
            row.times += 1
            harmless = file.name == "manifest.json"  # a byte in its time or name, say, changes nothing
            if code == 0 and harmless:
                row.saw["nothing: a word in the manifest that no result depends on"] += 1
            elif code != 2 or said.count("\n") != 1 or (runs / "smoke").exists():
                raise Wrong(f"{file.name}: exit code {code}: {said[-300:]}")
            else:
                row.saw[re.sub(r"\S*\.(npy|csv|json)|\(.*\)|\d+", "…", last_line(said))] += 1
    shutil.rmtree(data)


def foreign_locks(bench: Bench, row: Row) -> None:
    """Locks of another machine: one whose counter moves is respected, one that stands still is taken over."""
    arguments = ["train", str(SMOKE), "--network", "random-0/baseA", "--accelerator", "cpu"]
    with bench.runs() as runs:
        lock = StudyFolder(runs / "smoke").lock("random-0/baseA/seed-0")
        owner, counter = {**asdict(myself("t")), "host": "n7", "machine": "another"}, 0
        write_json(lock, owner)
        process = command(arguments, bench.root / "log", **environment(bench.root, runs))
        while (code := process.wait(0.3)) is None and counter < LIMIT:
            counter += 1
            write_json(lock, {**owner, "counter": counter})
        row.times += 1
        if code != 2 or "is being trained by host n7" not in process.said():
            raise Wrong(f"exit code {code}: {process.said()[-300:]}")
        row.saw[last_line(process.said())] += 1
        finish(lambda: command(arguments, bench.root / "log", **environment(bench.root, runs)), row)  # after a minute
        row.times += 1


def two_at_once(bench: Bench, row: Row) -> None:
    """Two people start the same study in one runs folder at the same time, with other fleet sizes."""
    for _ in range(bench.times(6)):
        with bench.runs() as runs:
            where = environment(bench.root, runs)
            start = lambda: program([*RUN, "--workers", "1"], bench.root / "log", **where)  # noqa: B023, E731
            other = [*RUN, "--workers", "1", "--fleet-size", "3"]
            for process in [start(), program(other, bench.root / "log2", **where)]:
                if (code := process.wait()) is None or code not in (0, 1, 2):
                    process.kill()
                    raise Wrong(f"exit code {code}: {process.said()[-300:]}")
                if "Traceback" in process.said():
                    raise Wrong(process.said()[-800:])
                if code:
                    row.saw[last_line(process.said())] += 1
            row.times += 1
            finish(start, row)
            compare(bench, runs)


def many_classes(bench: Bench, row: Row) -> None:
    """A zip of 100,000 classes with one picture each."""
    archive, data = bench.root / "many.zip", encoded(pixels(0, 2, 2))
    with zipfile.ZipFile(archive, "w") as handle:
        for which in ("train", "val"):
            for number in range(bench.times(100_000)):
                handle.writestr(f"{which}/class {number}/one", data)
    process = program(["pack", str(archive), str(bench.root / "many"), "--workers", "2"], bench.root / "log")
    if process.wait() != 0:
        raise Wrong(process.said()[-500:])
    row.times += 1
    packed = open_packed(bench.root / "many")
    ids = [image_class.id for image_class in packed.classes]
    if ids != sorted(f"class {number}" for number in range(bench.times(100_000))):
        raise Wrong("other classes")
    if packed.train.labels.tolist() != list(range(len(ids))) or packed.val.labels.tolist() != list(range(len(ids))):
        raise Wrong("other labels")
    row.saw[f"a packed set of {len(ids):,} classes"] += 1


# ------------------------------------------------------------------------------------------ determinism


def same_bits(bench: Bench, row: Row) -> None:
    """Workers, fleet sizes, orders, folders: what must change nothing."""

    def trial(start: Callable[[], Process], runs: Path) -> None:
        row.times += 1
        finish(start, row, most=1)
        compare(bench, runs)

    for options in (["1"], ["2"], ["1", "--fleet-size", "1"], ["2", "--fleet-size", "3"]):
        with bench.runs() as runs:
            arguments = [*RUN, "--workers", *options]
            trial(lambda: program(arguments, bench.root / "log", **environment(bench.root, runs)), runs)  # noqa: B023
    with bench.runs() as runs:  # from another folder, relative roots
        (runs / "data").symlink_to(bench.root / "data")

        def elsewhere() -> Process:
            def what() -> None:
                os.chdir(runs)
                sys.argv = ["transferability", *TRAIN]
                cli.main()

            return forked(what, bench.root / "log", TRANSFERABILITY_DATA="", TRANSFERABILITY_RUNS="")

        row.times += 1
        finish(elsewhere, row, most=1)
        compare(bench, runs / "runs")
    for _ in range(bench.times(4)):  # one network after the other, in any order that the bases allow
        with bench.runs() as runs:
            names = [name.removesuffix("/seed-0") for name in bench.calm if "/" in name]
            bench.draw.shuffle(names)
            for name in sorted(names, key=lambda name: "base" not in name):
                arguments = ["train", str(SMOKE), "--network", name.replace("[", "[[]"), *OPTIONS]
                finish(lambda: command(arguments, bench.root / "log", **environment(bench.root, runs)), row, most=1)  # noqa: B023
            row.times += 1
            compare(bench, runs)


# ---------------------------------------------------------------------------------------------- the table

FAULTS: dict[str, Callable[[Bench, Row], None]] = {
    "kill: training, any moment": kill_in_one_process,
    "kill: one study, twenty times": kill_one_study_twenty_times,
    "kill: at a rename": kill_at_renames,
    "kill: run, the group or its parent": kill_the_group,
    "kill: run, one worker": kill_one_worker,
    "kill: one process of two": kill_one_rank,
    "kill: packing": kill_packing,
    "kill: collecting, drawing": kill_collecting,
    "disk full": full_disk,
    "runs read-only": read_only,
    "packed set damaged, moved": damaged_pictures,
    "100,000 classes": many_classes,
    "locks of another machine": foreign_locks,
    "two users at once": two_at_once,
    "same bits, whatever the machine does": same_bits,
}


def prepare(bench: Bench) -> None:
    """Packs the pictures and trains the study undisturbed."""
    write_tiny(bench.root / "data" / "demo", pixels=32, classes=10, train=12, val=4)
    with bench.runs() as runs:
        counted = bench.root / "renames"

        def what() -> None:
            original = os.replace

            def replace(source: Any, destination: Any) -> None:
                original(source, destination)
                with open(counted, "a") as handle:
                    handle.write(".")

            os.replace = replace  # type: ignore[assignment]
            sys.argv = ["transferability", *TRAIN]
            cli.main()

        began = time.monotonic()
        process = forked(what, bench.root / "log", **environment(bench.root, runs))
        if process.wait() != 0:
            raise SystemExit(process.said())
        bench.seconds, bench.renames = time.monotonic() - began, len(counted.read_text())
        command(["results", str(SMOKE)], bench.root / "log", **environment(bench.root, runs)).wait()
        bench.calm = digests(runs)
        compare(bench, runs)


def markdown(rows: list[Row], scale: float) -> str:
    """The table, with what it was made on."""
    from transferability.training.outcome import provenance

    origin = provenance()
    lines = [
        "# Torture",
        "",
        f"`make torture` on {time.strftime('%Y-%m-%d')}, commit {origin['git_commit'][:12]}"
        f"{'' if scale == 1 else f', --scale {scale:g}'}: {len(os.sched_getaffinity(0))} cores of "
        f"{origin['hardware']['cpu']}, Python {origin['versions']['python']}, torch {origin['versions']['torch']}.",
        "What each row does stands in `tests/torture.py`. *Lost*: whatever differs, bit for bit, from the undisturbed "
        "run: weights, series, tables.",
        "",
        "| fault | times tried | what the user saw | lost |",
        "|---|---|---|---|",
    ]
    for row in rows:
        saw = "<br>".join(f"{count} × {line}" for line, count in row.saw.most_common(4)) or "nothing, and it went on"
        lines.append(
            f"| {row.fault} | {row.times} | {saw.replace('|', chr(92) + '|')} | {'; '.join(row.lost) or '–'} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the numbers of trials")
    parser.add_argument("--only", default="", help="the faults whose name matches this regular expression")
    parser.add_argument("--out", type=Path, help="a file for the table, as Markdown")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    options = parser.parse_args()

    import matplotlib
    import torch

    import transferability.results.statistics
    import transferability.training.train  # noqa: F401  (loaded once, for all forks)

    matplotlib.use("agg")
    torch.set_num_threads(1)
    console, rows = Console(width=160), []
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        bench = Bench(Path(name), random.Random(options.seed), options.scale)
        prepare(bench)
        console.print(f"undisturbed: {len(bench.calm) - 2} networks, {bench.seconds:.1f} s, {bench.renames} renames")
        for fault, trial in FAULTS.items():
            if not re.search(options.only, fault):
                continue
            row, began = Row(fault), time.monotonic()
            try:
                trial(bench, row)
            except Wrong as wrong:
                row.lost.append(str(wrong))
            except PermissionError as error:
                row.saw[f"skipped: {error}"] += 1
            rows.append(row)
            console.print(f"{fault}: {row.times} times, {time.monotonic() - began:.0f} s", *row.lost, highlight=False)
            if options.out:  # after each row: the next one may take minutes
                options.out.write_text(markdown(rows, options.scale))
    table = Table(title="Torture", width=160, show_lines=True)
    for column in ("fault", "times tried", "what the user saw", "lost"):
        table.add_column(column, overflow="fold")
    for row in rows:
        saw = "\n".join(f"{count} x {line}" for line, count in row.saw.most_common(4)) or "nothing, and it went on"
        table.add_row(row.fault, str(row.times), saw, "\n".join(row.lost) or "nothing")
    console.print(table, markup=False)
    sys.exit(any(row.lost for row in rows))


if __name__ == "__main__":
    main()

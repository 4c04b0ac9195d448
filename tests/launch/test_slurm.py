"""A study on a real SLURM: two nodes on this machine, started and stopped by `slurm/cluster.sh` beside this file."""

import os
import random
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import outcome
from forked import start
from project import HELPERS
from safetensors.numpy import load_file
from waiting import LIMIT, wait_for

from transferability.classes import ImageClass
from transferability.data.packed import ImageSet, write_packed
from transferability.files import read_json
from transferability.launch.slurm import SLURM_FILES
from transferability.runs.locks import hold, holder
from transferability.runs.paths import StudyFolder

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun")
MISSING = [program for program in PROGRAMS if shutil.which(program) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"SLURM is not installed (no {', '.join(MISSING)}): slurm-wlm, munge"),
    pytest.mark.timeout(4 * LIMIT),
]
CLUSTER = Path(__file__).parents[1] / "slurm" / "cluster.sh"

MAIN = "import sys; from transferability.cli import main; sys.exit(main())"
EXPERIMENT = """
from transferability.networks.caffenet import small_caffenet
from transferability.recipe import Recipe
from transferability.study import Study, grid, network
architecture = small_caffenet(28, 0.1)
recipe = Recipe("tiny", steps={steps}, batch=8, rate=0.01, crop=28, validate_every={every})
study = Study("{name}", "noise", architecture, tuple({networks}))
"""


# Each task says from which step it trains. The first lives stay before step 53, after the checkpoint of step 40; the
# second ones before their first step: until the test lets them go on, or a signal ends their stay.
STAYING = """
import os, sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
if "SLURM_STEP_ID" in os.environ:
    from waiting import stay_in_training
    life = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    place, name = Path({place!r}), os.environ["SLURM_JOB_NAME"] + "-" + os.environ["SLURM_ARRAY_TASK_ID"]
    first = os.environ["SLURM_JOB_NAME"] == "long-1" and life == 0
    stay_in_training({stop} if first else None, place / f"{{name}}-{{life}}", place / ("never" if first else "go on"))
"""
STOP = 53


def networks(*names: str) -> str:
    """Code of the networks of these names, on one split."""
    return f"[network('random-0/' + name, recipe) for name in {names}]"


class Cluster:
    """A folder with packed noise, and the commands of a user who is logged in to the cluster."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root, self.environment = root, environment

    def run(self, *arguments: str | Path, code: int | tuple[int, ...] = 0, **environment: str) -> str:
        done = subprocess.run(
            [str(argument) for argument in arguments],
            cwd=self.root,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
        codes = code if isinstance(code, tuple) else (code,)
        assert done.returncode in codes, f"{arguments}: {done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout + done.stderr

    def transferability(self, *arguments: str | Path, code: int = 0, **environment: str) -> str:
        return self.run(sys.executable, "-c", MAIN, *arguments, code=code, COLUMNS="300", **environment)

    def experiment(self, name: str, networks: str, steps: int, every: int) -> Path:
        file = self.root / f"{name}.py"
        file.write_text(EXPERIMENT.format(name=name, networks=networks, steps=steps, every=every))
        return file

    def folder(self, study: str) -> StudyFolder:
        return StudyFolder(self.root / "runs" / study)

    def crash(self, node: str) -> None:
        """Ends all processes of a node, as when its power fails, and tells SLURM, which would see it after minutes."""
        victims = [int((self.root / "cluster" / "run" / f"slurmd-{node}.pid").read_text())]
        marks = {f"SLURM_CONF={self.environment['SLURM_CONF']}", f"SLURMD_NODENAME={node}"}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if marks <= {*(process / "environ").read_text(errors="replace").split("\0")}:
                    victims.append(int(process.name))
                    parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
                    if Path(f"/proc/{parent}/cmdline").read_bytes().startswith(b"slurmstepd"):
                        victims.insert(0, int(parent))  # before it can see what becomes of its processes
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def wait(self, what: str, condition: Callable[[], Any]) -> None:
        wait_for(what, condition, self.logs, pause=0.3)  # to ask SLURM takes a process each time

    def let_start(self, partition: bool) -> None:
        """Whether jobs that wait in the partition that everybody uses may start."""
        self.run("scontrol", "update", "PartitionName=main", f"State={'UP' if partition else 'DOWN'}")

    def queue(self) -> dict[str, str]:
        """Where each job in the queue is: "RUNNING n1"; "PENDING", once it has left its node."""
        lines = self.run("squeue", "-h", "-r", "-o", "%i %T %N").splitlines()
        return {line.split()[0]: line.partition(" ")[2].strip() for line in lines}

    def wait_until_idle(self, study: str) -> None:
        """Until SLURM has nothing of a study any more, its report included."""
        self.wait(f"study {study}", lambda: f"{study}-" not in self.run("squeue", "-h", "-o", "%j|"))

    def logs(self) -> str:
        tails = [f"== {file}\n{file.read_text()[-2000:]}" for file in sorted(self.root.glob("runs/*/logs/*.log"))]
        return "\n".join(tails)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    root = tmp_path_factory.mktemp("slurm")
    rng = np.random.default_rng(0)
    classes = [ImageClass(i, f"c{i}", f"class {i}", "") for i in range(8)]

    def images(number: int) -> ImageSet:
        return ImageSet(rng.integers(0, 256, (8 * number, 32, 32, 3), np.uint8), np.repeat(np.arange(8), number))

    write_packed(root / "data" / "noise", "noise", classes, images(20), images(7))
    # The base of element 0 of the study `bad` finds no pictures on its node.
    site = f"""
        TRANSFERABILITY_CPUS=1
        prepare_node() {{
            PATH={Path(sys.executable).parent}:$PATH
            element=$SLURM_JOB_NAME.${{FIRST_FLEET-}}.${{SLURM_ARRAY_TASK_ID-}}
            case $element in bad-1.0.0) export TRANSFERABILITY_DATA=/nowhere ;; esac
        }}
        """
    (root / "site.sh").write_text(textwrap.dedent(site))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_", "OMP_"))}
    environment |= {
        "SLURM_CONF": str(root / "cluster" / "slurm.conf"),
        "TRANSFERABILITY_SITE": str(root / "site.sh"),
        "TRANSFERABILITY_DATA": str(root / "data"),
        "TRANSFERABILITY_RUNS": str(root / "runs"),
        "PYTHONPATH": str(SLURM_FILES.parent),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
        "OMP_NUM_THREADS": "1",
    }
    login, (claim, port) = Cluster(root, environment), claimed_ports()
    try:
        login.run(CLUSTER, "start", root / "cluster", PORT=str(port), CPUS="2")
        yield login
    finally:
        subprocess.run(
            [CLUSTER, "stop", root / "cluster"], env=environment, check=False, timeout=LIMIT, capture_output=True
        )
        claim.close()


def claimed_ports() -> tuple[socket.socket, int]:
    """The first of a hundred ports that no other cluster here has, and a socket that keeps others off while open."""
    for first in random.sample(range(25_000, 32_000, 100), 70):  # below those that the system gives out
        claim = socket.socket()
        try:
            claim.bind(("127.0.0.1", first + 99))
            for port in range(first, first + 3):
                with socket.socket() as free:
                    free.bind(("", port))
            return claim, first
        except OSError:
            claim.close()
    raise AssertionError("no ports are free")


def test_elements_that_are_killed_or_warned_go_on_and_end_with_the_same_bits(cluster: Cluster) -> None:
    """Four at once: a time limit, a kill, a preemption with a time of grace, a node that fails."""
    networks = '[network(f"random-{s}/baseA", recipe) for s in range(4)]'
    experiment = cluster.experiment("long", networks, steps=120, every=40)
    place = cluster.root / "stays"
    place.mkdir()
    staying = STAYING.format(helpers=str(HELPERS), place=str(place), stop=STOP)
    experiment.write_text(experiment.read_text() + staying)
    folder = cluster.folder("long")
    job = cluster.transferability("submit", experiment).partition("job ")[2].partition(":")[0]
    elsewhere = {**cluster.environment, "TRANSFERABILITY_RUNS": str(cluster.root / "undisturbed")}
    words = ("train", experiment, "--network=random-*/baseA")
    undisturbed = start(None, *words, environment=elsewhere, folder=cluster.root)
    names = [f"random-{s}/baseA/seed-0" for s in range(4)]

    def log(element: int, submission: int = 1) -> str:
        files = list((folder.root / "logs").glob(f"long-{submission}-*_{element}.log"))
        return files[0].read_text() if files else ""

    def stay(elements: Iterable[int], life: int) -> bool:
        return all((place / f"long-1-{element}-{life}").exists() for element in elements)

    cluster.wait("four in the middle of their training", lambda: stay(range(4), life=0))
    assert "4 running" in cluster.transferability("status", experiment)
    queue = cluster.queue()
    limited, killed = (element for element in range(4) if queue[f"{job}_{element}"] == "RUNNING n1")
    on_n2 = [element for element in range(4) if queue[f"{job}_{element}"] == "RUNNING n2"]
    cluster.let_start(False)  # whoever goes back to the queue stays there, until all have
    # Its warning comes two minutes before, thus when SLURM looks next: every half minute.
    cluster.run("scontrol", "update", f"JobId={job}_{limited}", "EndTime=now+110")
    # Killed as by the kernel for want of memory: the shell of the element sees its step end.
    owner = holder(folder.lock(names[killed]))
    assert owner and owner.job == f"{job}_{killed}" and owner.restarts == 0
    os.kill(owner.pid, 9)
    # One of the two has to go for this, and is told so by SIGTERM.
    urgent = cluster.run("sbatch", "--parsable", "--partition=urgent", "--nodelist=n2", "-o/dev/null", "--wrap=true")
    cluster.wait("preemption", lambda: urgent.strip() not in cluster.queue())
    (failed,) = (element for element in on_n2 if cluster.queue()[f"{job}_{element}"] == "RUNNING n2")
    (preempted,) = {*on_n2} - {failed}
    cluster.crash("n2")
    requeued = (limited, preempted, failed)
    jobs = [f"{job}_{element}" for element in requeued]
    cluster.wait("three in the queue", lambda: [cluster.queue()[name] for name in jobs] == ["PENDING"] * 3)
    cluster.wait("the end of the killed one", lambda: f"{job}_{killed}" not in cluster.queue())
    cluster.run("slurmd", "-N", "n2")  # and there it is again
    cluster.run("scontrol", "update", "NodeName=n2", "State=RESUME")
    cluster.run("scontrol", "update", f"JobId={job}_{limited}", "TimeLimit=60")

    cluster.let_start(True)
    cluster.wait("three second lives", lambda: stay(requeued, life=1))
    output = cluster.transferability("status", experiment)
    assert "3 running" in output and ", requeued once, " in output
    assert names[killed] not in output.partition("running:")[2].split("queue:")[0]
    output = cluster.transferability("submit", experiment)
    assert "1 base in 1 fleet" in output  # the killed one alone: the others are in the queue
    (place / "go on").touch()
    cluster.wait_until_idle("long")
    assert undisturbed.ended()[0] == 0
    for name in names:
        assert outcome("long", name, cluster.root / "runs") == outcome("long", name, cluster.root / "undisturbed")
    assert "ended with code 137" in log(killed)
    for element in (limited, preempted):  # to the step
        assert "goes back to the queue" in log(element)
        assert f"a checkpoint is written at step {STOP + 1} of 120" in log(element)
        assert f"trains from step {STOP + 1}\n" in log(element).partition("requeued 1 times")[2]
    for life in (log(failed).partition("requeued 1 times")[2], log(0, submission=2)):  # since the last validation
        assert "trains from step 40\n" in life
    assert all("ended with code 0" in log(element) for element in requeued)


def test_two_processes_a_fleet_in_arrays_on_two_nodes(cluster: Cluster) -> None:
    """And a base that fails for good, at the same time: what waits for it is ended, and nothing else.

    And one fleet over both nodes.
    """
    experiment = cluster.experiment("whole", networks("baseA", "baseB", "B1A+", "B2A"), steps=30, every=15)
    bad = cluster.experiment("bad", networks("baseA", "baseB", "A1B+", "B1B"), steps=6, every=6)
    across = cluster.experiment("across", '[network("random-0/baseA", recipe)]', steps=30, every=15)
    folder = cluster.folder("whole")
    cluster.let_start(False)
    output = cluster.transferability("submit", experiment, "--devices=2", TRANSFERABILITY_GPUS="--gres=gpu:{devices}")
    assert "2 bases in 2 fleets" in output and "2 networks in 1 fleet, after" in output
    # A second submission while the first is in the queue.
    assert "nothing to submit" in cluster.transferability("submit", experiment, "--devices", "2")
    two = ("--nodes=2", "--ntasks-per-node=1", "--job-name=across-1", "--output=across.log", "--array=0")
    cluster.run("sbatch", *two, SLURM_FILES / "fleet.sbatch", across, "--nodes=2")
    cluster.transferability("submit", bad, "--fleet-size", "1")
    waiting = cluster.transferability("status", bad)
    assert "queued" in waiting and " pending " in waiting
    cluster.let_start(True)

    cluster.wait_until_idle("bad")
    output = cluster.transferability("status", bad)
    assert "failed: random-0/baseA/seed-0: /nowhere/noise" in output
    assert "random-0/baseA failed: /nowhere/noise" in output.partition("blocked: ")[2]
    states = dict(line.split(",")[:2] for line in cluster.transferability("status", bad, "--csv").splitlines()[1:])
    assert {name for name, state in states.items() if state == "blocked"} == {"random-0/A1B+/seed-0"}
    assert {states[f"random-0/{short}/seed-0"] for short in ("baseB", "B1B")} == {"done"}

    cluster.wait_until_idle("across")
    cluster.wait_until_idle("whole")
    # The batch script, and each of the two tasks, see the GPUs of the node.
    elements = sorted((folder.root / "logs").glob("whole-1-*_*.log"))
    assert len(elements) == 3 and all(file.read_text().count("GPUs 0,1\n") == 3 for file in elements)
    output = cluster.transferability("status", experiment)
    assert "4 of 4 networks done" in output
    for name in ("baseA", "B1A+", "B2A"):
        result = read_json(folder.result(f"random-0/{name}/seed-0"))
        assert result["val_images"] == 28 and result["steps"] == 30  # each validation image of the half once
        assert result["provenance"]["devices"] == 2
    assert "4 of 4 networks are done" in cluster.logs()
    assert (folder.root / "figures" / "figure2.png").exists()
    output = cluster.transferability("submit", experiment, "--devices", "2")
    assert "4 of 4 networks are done" in output and "nothing to submit" in output
    # Two processes, on one node or on two, trained what one trains: the same draws, rounded in another order.
    elsewhere = {**cluster.environment, "TRANSFERABILITY_RUNS": str(cluster.root / "alone")}
    words = ("train", experiment, "--network", "random-0/baseA")
    assert start(None, *words, environment=elsewhere, folder=cluster.root).ended()[0] == 0
    name = "random-0/baseA/seed-0"
    one = StudyFolder(cluster.root / "alone" / "whole")
    alone = read_json(one.result(name))
    for both in (folder, cluster.folder("across")):
        result = read_json(both.result(name))
        assert (result["provenance"]["devices"], alone["provenance"]["devices"]) == (2, 1)
        for series in ("train_loss", "val_loss"):
            np.testing.assert_allclose(result["series"][series], alone["series"][series], rtol=1e-4)
        assert result["series"]["val_images"] == alone["series"]["val_images"] == [28, 28]
        assert result["series"]["val_top1"] == pytest.approx(alone["series"]["val_top1"], abs=1 / 28)
        weights = load_file(both.weights(name)), load_file(one.weights(name))
        for key in weights[0]:
            np.testing.assert_allclose(weights[0][key], weights[1][key], rtol=1e-3, atol=1e-5)


def test_refused_on_the_node(cluster: Cluster) -> None:
    experiment = cluster.experiment("few", '[network("random-0/baseA", recipe)]', steps=4, every=4)
    sbatch = ("sbatch", "--wait", "--array=0", "--output=refused-%j.log")
    for options, devices, reason in (
        (("--ntasks-per-node=2",), 1, "SLURM started 2 tasks on 1 nodes, --devices 1 --nodes 1 needs 1 on 1"),
        (("--ntasks-per-node=2", "--job-name=bash"), 2, "a SLURM job named 'bash' is taken for a terminal"),
    ):
        # 143, 137: when the first of two has refused, SLURM ends the other, maybe before it does the same.
        codes = (2, 137, 143)
        task = (SLURM_FILES / "fleet.sbatch", experiment, f"--devices={devices}")
        cluster.run(*sbatch, *options, *task, code=codes)
        logs = [file.read_text() for file in cluster.root.glob("refused-*.log")]
        assert any(reason in log and any(f"ended with code {code}" in log for code in codes) for log in logs)
    assert not cluster.folder("few").root.exists()
    # A second element that gets the same fleet by mistake.
    lock = cluster.folder("few").lock("random-0/baseA/seed-0")
    with hold([lock]):
        cluster.run(*sbatch, SLURM_FILES / "fleet.sbatch", experiment, code=2)
        owner = holder(lock)
        assert owner and owner.pid == os.getpid()
    message = f"random-0/baseA/seed-0 is being trained by {owner}; this process steps back"
    assert any(message in file.read_text() for file in cluster.root.glob("refused-*.log"))

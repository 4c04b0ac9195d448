"""What is submitted, in which order, and what is refused; with a stand-in for sbatch that writes down its words."""

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outcomes import result_of
from rich.console import Console
from waiting import LIMIT

from transferability.classes import ImageClass
from transferability.data.packed import ImageSet, open_packed, write_packed
from transferability.files import Refused, read_json, write_json
from transferability.launch import slurm as submit_module
from transferability.launch.local import _environments
from transferability.launch.slurm import Array, Options, Printer, refuse_diverged, split_arrays, submit, task_networks
from transferability.networks.caffenet import caffenet, small_caffenet
from transferability.recipe import Recipe
from transferability.runs.locks import hold, myself
from transferability.runs.machine import Machine, default_workers, gpus, refuse_allocation
from transferability.runs.paths import data_root, study_folder
from transferability.runs.result import write_result
from transferability.study import Study, fleets, grid, record
from transferability.training.cost import fleet_memory, sizes_that_fit

SMALL = small_caffenet(28, 0.1)
RECIPE = Recipe("tiny", steps=100, batch=8, rate=0.1, crop=28, validate_every=50)
EXPERIMENT = Path("experiments/x.py")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Two splits, treatments at n = 1 and 2 only; SLURM's programs are stand-ins that number the jobs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    sbatch = f"""#!/bin/sh
    printf '%s\\n' "$*" >>{tmp_path}/sbatch.log
    [ -e {tmp_path}/full ] && [ "$(wc -l <{tmp_path}/sbatch.log)" -gt 1 ] && echo 'error: too many' >&2 && exit 1
    wc -l <{tmp_path}/sbatch.log
    """
    for name, text in (
        ("sbatch", sbatch),
        (
            "squeue",
            f'#!/bin/sh\ncase "$*" in *--jobs*) cat {tmp_path}/reason ;; *) cat {tmp_path}/squeue ;; esac\ntrue\n',
        ),
        ("scontrol", f"#!/bin/sh\ncat {tmp_path}/config\n"),
    ):
        (programs / name).write_text(re.sub(r"(?m)^ +", "", text))
        (programs / name).chmod(0o755)
    (tmp_path / "config").write_text("MaxArraySize            = 1001\n")
    (tmp_path / "site.sh").write_text("export SBATCH_ACCOUNT=${SBATCH_ACCOUNT:-ours}\nTRANSFERABILITY_CPUS=3\n")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("TRANSFERABILITY_SITE", str(tmp_path / "site.sh"))
    for word in ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_TIMELIMIT", "TRANSFERABILITY_GPUS"):
        monkeypatch.delenv(word, raising=False)
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("TRANSFERABILITY_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(submit_module, "WATCHED", 0.1)
    classes = [ImageClass(i, f"c{i}", f"c{i}", "") for i in range(4)]
    images = ImageSet(np.zeros((20, 32, 32, 3), np.uint8), np.repeat(np.arange(4), 5))
    write_packed(tmp_path / "data" / "noise", "noise", classes, images, images)
    networks = grid(RECIPE, 3, ["random-0", "random-1"])
    return Study("s", "noise", SMALL, tuple(networks))


def go(study: Study, only: tuple[str, ...] = (), dry_run: bool = False, **options: Any) -> str:
    console = Console(width=500, file=io.StringIO(), record=True)
    machine = {name: options.pop(name) for name in ("devices", "nodes", "wandb", "keep") if name in options}
    folder = study_folder(study.name)
    arguments = Options(Machine(**machine), **options), Printer(console, dry_run)
    submit(study, folder, data_root(), EXPERIMENT, only, *arguments)
    return console.export_text()


def calls(study: Study) -> list[list[str]]:
    log = study_folder(study.name).root.parent.parent / "sbatch.log"
    return [shlex.split(line) for line in log.read_text().splitlines()] if log.exists() else []


def word(call: list[str], option: str) -> str | None:
    found = [each.partition("=")[2] for each in call if each.startswith(f"--{option}=")]
    return found[0] if found else None


def finish(study: Study, name: str, diverged_at: int | None = None) -> None:
    checksum = open_packed(data_root() / study.data).checksum
    now = record(study, study.by_name[name], {study.data: checksum})
    folder = study_folder(study.name)
    write_result(folder.result(name), result_of(study, name, diverged_at=diverged_at, record=now))
    if diverged_at is None:
        folder.weights(name).touch()


def squeue(tmp_path: Path, *elements: str, name: str = "s-1") -> None:
    rows = [(element, name, "RUNNING", "n1", "0", "1:00", "None") for element in elements]
    lines = [f"{a:60}{b:120}{c:20}{d:60}{e:10}{f:20}{g:60}\n" for a, b, c, d, e, f, g in rows]
    (tmp_path / "squeue").write_text("".join(lines))


def test_bases_then_what_copies_from_each_then_the_report(study: Study) -> None:
    said = go(study, devices=2, nodes=2, max_parallel=3, time="1:00:00", sbatch_options=("--qos=high",))
    bases, *rest, report = calls(study)
    assert word(bases, "array") == "0-3%3" and word(bases, "dependency") is None
    assert word(bases, "time") == "1:00:00" and word(bases, "account") == "ours" and word(bases, "cpus-per-task") == "3"
    assert word(bases, "ntasks-per-node") == "2" and word(bases, "nodes") == "2" and "--qos=high" in bases
    # With all treatments of a target in one fleet, each of them waits for both bases of its split.
    assert [word(call, "dependency") for call in rest] == ["afterok:1_0:1_1", "afterok:1_2:1_3"]
    assert all("--kill-on-invalid-dep=yes" in call and word(call, "array") == "0-1%3" for call in rest)
    assert word(report, "dependency") == "afterany:1:2:3"
    assert Path(report[-2]).resolve() == submit_module.SLURM_FILES / "report.sbatch"
    assert report[-1] == "experiments/x.py"
    for number in "1234":
        assert f"job {number}: " in said
    # What an element will read is what was submitted under its number.
    file = study_folder("s").submission(1)
    named = [network.name for i in range(8) for network in task_networks(study, file, i)]
    assert sorted(named) == sorted(network.name for network in study.networks)
    assert rest[1][-4:-2] == ["experiments/x.py", f"--submission={file}"] and "FIRST_FLEET=6" in str(rest[1])
    assert {n.split for n in task_networks(study, file, 6)} == {"random-1"}
    with pytest.raises(Refused, match="lists fleets 0 to 7, no 8"):
        task_networks(study, file, 8)


def test_one_network_an_element_waits_for_its_own_base_only(study: Study) -> None:
    go(study, only=("random-0/*",), fleet_size=1)
    bases, *rest, _ = calls(study)
    assert word(bases, "array") == "0-1"
    listing = read_json(study_folder("s").submission(1))["fleets"]
    assert all(len(fleet) == 1 for fleet in listing)
    assert len(rest) == 2
    for call in rest:
        first = int(re.search(r"FIRST_FLEET=(\d+)", " ".join(call)).group(1))  # type: ignore[union-attr]
        last = int((word(call, "array") or "").split("-")[1])
        waits = {study.by_name[listing[first + i][0]].source_name for i in range(last + 1)}
        assert len(waits) == 1
        source = listing.index([waits.pop()])
        assert word(call, "dependency") == f"afterok:1_{source}"


def test_done_is_not_submitted_and_a_done_base_is_not_waited_for(study: Study) -> None:
    for name in ("baseA", "baseB", "A1B"):
        finish(study, f"random-0/{name}/seed-0")
    go(study, only=("random-0/A*",), fleet_size=1)
    first, _ = calls(study)
    assert word(first, "dependency") is None and word(first, "array") == "0-6"
    for network in study.networks:
        finish(study, network.name)
    assert "nothing to submit" in go(study) and len(calls(study)) == 2


def test_the_queue_is_not_submitted_again_but_waited_for(study: Study, tmp_path: Path) -> None:
    go(study, only=("random-0/base*",))
    squeue(tmp_path, "1_0", "1_1")
    assert "nothing to submit" in go(study, only=("random-0/base*",))
    said = go(study, only=("random-0/A1*",))
    assert "2 are in the queue" in said
    assert word(calls(study)[2], "dependency") == "afterok:1_0"
    # A later submission has a list of its own: the first is as it was.
    assert read_json(study_folder("s").submission(1))["fleets"] == [
        ["random-0/baseA/seed-0"],
        ["random-0/baseB/seed-0"],
    ]
    # Ended without a result: killed. It is submitted anew, whatever lock it left.
    squeue(tmp_path)
    lock = study_folder("s").lock("random-0/baseA/seed-0")
    its = {**myself("t").__dict__, "host": "n7", "job": "1_0"}
    write_json(lock, its)
    go(study, only=("random-0/baseA",))
    assert word(calls(study)[-2], "array") == "0-0"


def test_what_is_trained_outside_the_queue_is_left_out(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit_module, "WATCHED", LIMIT)  # until its counter has risen
    name = "random-0/baseA/seed-0"
    with hold([study_folder("s").lock(name)], beat=0.02):
        said = go(study, only=("random-0/*",), fleet_size=1)
    assert f"left out: {name} is being trained by host" in said
    listing = [n for fleet in read_json(study_folder("s").submission(1))["fleets"] for n in fleet]
    assert name not in listing
    assert not any(study.by_name[n].source_name == name for n in listing)
    assert "random-0/baseB/seed-0" in listing and "random-0/B1B/seed-0" in listing


def test_what_copies_from_a_diverged_base_is_left_out_and_says_why(study: Study) -> None:
    finish(study, "random-0/baseA/seed-0", diverged_at=7)
    said = go(study, only=("random-0/*",), fleet_size=1)
    assert "and 7 more: random-0/baseA diverged: at step 7" in said
    listing = [n for fleet in read_json(study_folder("s").submission(1))["fleets"] for n in fleet]
    assert not any(study.by_name[n].source_name == "random-0/baseA/seed-0" for n in listing)
    with pytest.raises(Refused, match="baseA/seed-0 diverged at step 7"):
        refuse_diverged(study, study_folder(study.name), study.select(["random-0/baseA"]))
    refuse_diverged(study, study_folder(study.name), study.select(["random-0/base*"]))


def test_long_lists_are_cut_at_the_sites_limit(study: Study, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("MaxArraySize            = 3\n")
    go(study, fleet_size=1)
    *arrays, report = calls(study)
    assert all(word(call, "array") in ("0-0", "0-1", "0-2") for call in arrays)
    listing = read_json(study_folder("s").submission(1))["fleets"]
    where = {}
    for number, call in enumerate(arrays, 1):
        first = int(re.search(r"FIRST_FLEET=(\d+)", " ".join(call)).group(1))  # type: ignore[union-attr]
        for index in range(int((word(call, "array") or "").split("-")[1]) + 1):
            where[listing[first + index][0]] = f"{number}_{index}", word(call, "dependency")
    assert len(where) == len(study.networks)
    for name, (_, dependency) in where.items():
        source = study.by_name[name].source_name
        assert dependency == (f"afterok:{where[source][0]}" if source else None)
    assert word(report, "dependency") == "afterany:" + ":".join(str(i + 1) for i in range(len(arrays)))


def test_pieces_wait_for_pieces() -> None:
    four = tuple(fleets(grid(RECIPE, 3, [f"random-{i}" for i in range(4)], kinds=("base",), targets="A")))
    pieces = split_arrays([Array(four, 0), Array(four[:1], 4, ((0, 3), "9_1"))], 3)
    assert [(len(piece.fleets), piece.first) for piece in pieces] == [(3, 0), (1, 3), (1, 4)]
    assert pieces[2].after == ((1, 0), "9_1")


def test_a_dry_run_prints_a_script_that_does_what_submit_does(study: Study, tmp_path: Path) -> None:
    script = go(study, dry_run=True, fleet_size=2)
    assert calls(study) == [] and not (study_folder("s").root).exists()
    subprocess.run(["bash", "-e", "-c", script], check=True)
    dry = calls(study)
    (tmp_path / "sbatch.log").unlink()
    go(study, fleet_size=2)
    assert calls(study) == dry and len(dry) > 3


def test_patterns_of_weights_to_keep_are_handed_on(study: Study) -> None:
    go(study, keep=("random-0/A2B*", "*/A1A/seed-0"))
    assert [part for part in calls(study)[0] if part.startswith("--keep")] == [
        "--keep=random-0/A2B*",
        "--keep=*/A1A/seed-0",
    ]


def test_a_job_that_will_never_start_is_said_at_submission(study: Study, tmp_path: Path) -> None:
    """More devices than a node has: SLURM takes the job, and lets it wait for ever."""
    (tmp_path / "reason").write_text("PartitionConfig\nPartitionConfig\n")
    said = go(study, only=("random-0/base*",), devices=8)
    assert "job 1 will not start as it is: PartitionConfig: no node of the partition has so many devices" in said
    (tmp_path / "reason").write_text("Priority\n")
    assert "will not start" not in go(study, only=("random-1/base*",), devices=8)


def test_a_user_without_a_name_can_submit(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the number of the user may have no name."""

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(submit_module.getpass, "getuser", unknown)
    go(study)
    assert read_json(study_folder("s").submission(1))["user"] == str(os.getuid())


def test_an_error_of_sbatch_leaves_what_was_submitted_known(study: Study, tmp_path: Path) -> None:
    (tmp_path / "full").touch()
    with pytest.raises(Refused, match=r"sbatch refuses: error: too many \(submitted before it: 1 jobs; submit"):
        go(study)
    (tmp_path / "full").unlink()
    squeue(tmp_path, "1_0", "1_1", "1_2", "1_3")
    assert "4 are in the queue" in go(study)
    assert word(calls(study)[-2], "dependency") == "afterok:1_2:1_3"


def test_refused_at_submission(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for options, words in (
        ({"devices": 3}, "a batch of 8 does not divide among 3 devices on 1 nodes"),
        ({"sbatch_options": ("--job-name=bash",)}, "jobs are named after study and submission"),
        ({"sbatch_options": ("--array=0-1",)}, "submit sets this"),
    ):
        with pytest.raises(Refused, match=words):
            go(study, **options)  # type: ignore[arg-type]
    for broken in ("exit 3\n", "echo hello\n", "if\n"):
        (tmp_path / "site.sh").write_text(broken)
        with pytest.raises(Refused, match=r"bash cannot read .*site\.sh"):
            go(study)
    (tmp_path / "site.sh").write_text("")
    finish(study, "random-0/baseA/seed-0")
    changed = Study("s", "noise", SMALL, tuple(grid(Recipe(**{**RECIPE.__dict__, "rate": 0.2}), 3, ["random-0"])))
    with pytest.raises(Refused, match=r"random-0/baseA/seed-0 .*recipe\.rate was 0\.1, is 0\.2"):
        go(changed)
    monkeypatch.setenv("TRANSFERABILITY_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(Refused, match="elsewhere/noise"):
        go(study)
    assert calls(study) == []


def test_refused_without_sbatch(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin" if not Path("/usr/bin/sbatch").exists() else "/bin-without")
    monkeypatch.setattr(submit_module, "site_settings", lambda: dict.fromkeys(submit_module.SITE_VARIABLES, ""))
    with pytest.raises(Refused, match="there is no sbatch here"):
        go(study)


def test_an_allocation_that_differs_is_refused() -> None:
    def allocation(tasks: int, nodes: int, **more: str) -> dict[str, str]:
        here = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "s-1", "SLURM_STEP_ID": "0"}
        return {**here, "SLURM_STEP_NUM_TASKS": str(tasks), "SLURM_STEP_NUM_NODES": str(nodes), **more}

    refuse_allocation(4, 1, {})
    with pytest.raises(Refused, match="--nodes 2: several nodes need SLURM"):
        refuse_allocation(4, 2, {})
    refuse_allocation(1, 1, allocation(1, 1))
    refuse_allocation(2, 2, allocation(4, 2))
    for devices, nodes, tasks, there in ((1, 1, 2, 1), (2, 1, 1, 1), (2, 2, 4, 1), (4, 1, 4, 2)):
        with pytest.raises(Refused, match=f"SLURM started {tasks} tasks on {there} nodes"):
            refuse_allocation(devices, nodes, allocation(tasks, there))
    for name in ("bash", "interactive"):
        with pytest.raises(Refused, match=f"named '{name}'.*`transferability run`, which works here"):
            refuse_allocation(2, 1, allocation(2, 1, SLURM_JOB_NAME=name))
        refuse_allocation(1, 1, allocation(1, 1, SLURM_JOB_NAME=name))  # one process needs to find no other
    batch = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "s", "SLURM_NTASKS": "2", "SLURM_NNODES": "1"}
    with pytest.raises(Refused, match="started by srun"):
        refuse_allocation(2, 1, batch)
    refuse_allocation(1, 1, batch)  # a shell within an allocation of two tasks


def test_the_files_in_slurm_are_read() -> None:
    """The site's file as it comes along, and what the environment overrides in it."""
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(submit_module.__file__).parents[2])}
    code = "from transferability.launch.slurm import site_settings; print(site_settings())"
    for more, option in (({}, "'--gres=gpu:{devices}'"), ({"TRANSFERABILITY_GPUS": ""}, "''")):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**clean, **more}, capture_output=True, text=True, check=True
        )
        assert f"'TRANSFERABILITY_GPUS': {option}" in done.stdout and "'SBATCH_TIMELIMIT': '24:00:00'" in done.stdout
    for file in ("fleet.sbatch", "report.sbatch", "site.sh"):
        subprocess.run(["bash", "-n", submit_module.SLURM_FILES / file], check=True)


def test_the_memory_of_a_fleet_and_the_sizes_that_fit() -> None:
    small = Recipe("p", steps=10, batch=1, rate=0.1, crop=227, validate_every=10)
    for batch, least, most in ((1, 12 * 60_965_224, 1.02 * 12 * 60_965_224), (256, 1.5e9, 4e9)):
        recipe = Recipe(**{**small.__dict__, "batch": batch})
        study = Study("p", "none", caffenet(), tuple(grid(recipe, 8, ["random-0"])))
        one, *_, all_together = fleets(study.networks)
        assert least < fleet_memory(study, one) < most
    assert fleet_memory(study, all_together, devices=8) < fleet_memory(study, all_together)
    # A frozen network takes less than one that trains the same layers.
    frozen, trained = (study.select([f"random-0/{name}"]) for name in ("A5B", "A5B+"))
    assert fleet_memory(study, fleets(frozen)[0]) < 0.5 * fleet_memory(study, fleets(trained)[0]) + 1e9
    said = sizes_that_fit(study, study.networks)
    size = int(re.search(r"24 GB take --fleet-size (\d+)", said).group(1))  # type: ignore[union-attr]
    assert 1 < size < 28
    assert all(fleet_memory(study, fleet) < 24e9 for fleet in fleets(study.networks, size))


def test_each_worker_of_run_has_its_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert gpus("auto") == ["4", "5", "6", "7"] and gpus("cpu") == []
    assert (default_workers("auto", 1), default_workers("auto", 2), default_workers("gpu", 8)) == (4, 2, 1)
    assert [_environments(slot, 1, gpus("auto")) for slot in (1, 4)] == [
        [{"CUDA_VISIBLE_DEVICES": "5"}],
        [{"CUDA_VISIBLE_DEVICES": "4"}],
    ]
    first, second = _environments(1, 2, gpus("auto"))
    assert first["CUDA_VISIBLE_DEVICES"] == second["CUDA_VISIBLE_DEVICES"] == "6,7"
    assert (first["LOCAL_RANK"], second["LOCAL_RANK"]) == ("0", "1")
    assert first["MASTER_PORT"] == second["MASTER_PORT"]
    with pytest.raises(Refused, match="8 devices for a fleet: there are only 4 GPUs here"):
        _environments(0, 8, gpus("auto"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nprintf '0\\n1\\n'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpus("auto") == ["0", "1"]
    monkeypatch.setenv("PATH", "/nowhere")
    assert gpus("auto") == [] and default_workers("auto", 1) == len(os.sched_getaffinity(0))

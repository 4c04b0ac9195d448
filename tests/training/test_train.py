"""Training one fleet: killed and run again, refused, in several processes, its files."""

import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import outcome
from disturbed import Killed, kill_at, killed_at, poison
from forked import start, start_together
from project import HELPERS
from tiny import RECIPE, full_name, tiny_study, write_experiment, write_tiny
from trained import PLAIN, pending, train, train_fleet
from waiting import LIMIT, wait_for

from transferability.data.packed import PackedImages
from transferability.data.stream import Batch
from transferability.files import Refused, read_json
from transferability.results.collect import collect
from transferability.results.table import read_results
from transferability.runs.machine import Machine
from transferability.runs.paths import study_folder
from transferability.runs.result import write_result
from transferability.study import Fleet, fleets
from transferability.training import train as training
from transferability.training.checkpoint import Preempted, read_checkpoint
from transferability.training.fleet import FleetModule
from transferability.training.trainer import bare_trainer, quiet

torch.set_num_threads(1)
quiet()

OFTEN = replace(PLAIN, checkpoint_minutes=0.0)  # a checkpoint every 20 steps
LONG = replace(RECIPE, steps=70, validate_every=30)  # checkpoints at 20, 30, 40, 60, 70
NAMES = ("baseA", "A2A", "A3A", "A1A+", "R3A")


# ---------------------------------------------------------------------------------------------- subprocesses

# Trains, and is killed by itself at a moment that is given as a place in the code and how often it was passed.
KILLED = """
import dataclasses, os, shutil, signal, sys
import torch
from trained import PLAIN, train
from transferability.study import load_study
from transferability.training import fleet

torch.set_num_threads(1)
moment, count = sys.argv[2], int(sys.argv[3])
passed = 0

def die(*_):
    global passed
    passed += 1
    if passed == count:
        os.kill(os.getpid(), signal.SIGKILL)

if moment == "step":
    original = fleet.FleetModule.training_step
    def training_step(self, batch, index):
        die()
        return original(self, batch, index)
    fleet.FleetModule.training_step = training_step
elif moment == "validation":
    original = fleet.FleetModule.validation_step
    def validation_step(self, batch, index):
        die()
        return original(self, batch, index)
    fleet.FleetModule.validation_step = validation_step
elif moment == "saving":  # in the middle of a checkpoint's file
    original = torch.save
    def save(value, handle):
        original(value, handle)
        handle.truncate(handle.tell() // 2)
        handle.flush()
        die()
        handle.seek(0)
        original(value, handle)
    torch.save = save
elif moment == "replacing":  # each time a file is whole and not yet in its place
    original = os.replace
    def replace(a, b):
        die()
        original(a, b)
    os.replace = replace
elif moment == "removing":
    shutil.rmtree = lambda *_, **__: die()

train(load_study(sys.argv[1]), dataclasses.replace(PLAIN, checkpoint_minutes=0.0))
"""


def environment(root: Path, **more: str) -> dict[str, str]:
    out = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "LOCAL_RANK", "RANK"))}
    roots = {"TRANSFERABILITY_DATA": str(root / "data"), "TRANSFERABILITY_RUNS": str(root / "runs")}
    path = os.pathsep.join([str(HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**out, **roots, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **more}


# The fleet of a base writes fleet.json, mean image, checkpoints and progress, weights, result: in this order.
MOMENTS = [("step", 1), ("step", 47), ("validation", 2), ("saving", 3), ("replacing", 14), ("removing", 1)]


def test_killed_at_many_moments_it_ends_with_the_same_bits(roots: Path, packed: PackedImages) -> None:
    """Base and copies, killed by SIGKILL in one moment after the other; the temporary directory elsewhere."""
    study = tiny_study(NAMES, LONG)
    train(study)  # undisturbed, and with other checkpoints
    (roots / "runs").rename(roots / "undisturbed")

    file = write_experiment(roots / "study.py", NAMES, steps=70, validate_every=30)
    script = roots / "killed.py"
    script.write_text(KILLED)
    elsewhere = Path("/dev/shm") / f"test-train-{os.getpid()}"
    if os.access("/dev/shm", os.W_OK):
        elsewhere.mkdir()
    env = environment(roots, **({"TMPDIR": str(elsewhere)} if elsewhere.is_dir() else {}))
    try:
        killed = 0
        for moment, count in MOMENTS:
            code, _, errors = start(script, file, moment, count, environment=env, folder=roots).ended()
            assert code in (0, -signal.SIGKILL), errors
            killed += code == -signal.SIGKILL
            for network in study.networks:  # whatever is there is whole
                if study_folder("tiny").result(network.name).exists():
                    read_json(study_folder("tiny").result(network.name))
        assert killed >= len(MOMENTS) - 1
        train(study)  # what is left
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)
    for name in NAMES:
        assert outcome("tiny", name) == outcome("tiny", name, roots / "undisturbed"), name
    assert pending(study) == []


# ---------------------------------------------------------------------------------------------- resuming, in process


def test_resuming_at_every_kind_of_checkpoint_across_a_drop_of_the_rate(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after a validation, where the rate drops and the momentum is scaled, twice at one place."""
    recipe = replace(LONG, schedule="step", drop_every=20)
    study = tiny_study(["baseA"], recipe)
    train(study)
    (roots / "runs").rename(roots / "undisturbed")
    starts = []
    original = FleetModule.restore

    def restore(self: FleetModule, checkpoint: Any, first: bool = True) -> None:
        original(self, checkpoint, first)
        starts.append(self.step)

    monkeypatch.setattr(FleetModule, "restore", restore)
    for step in (10, 21, 21, 35, 59, 61):
        with killed_at(step):
            train(study, OFTEN)
    train(study, OFTEN)
    assert starts == [20, 20, 30, 40, 60]
    assert outcome("tiny", "baseA") == outcome("tiny", "baseA", roots / "undisturbed")


def test_warned_it_writes_a_checkpoint_and_ends(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the same step; the second time by SIGTERM. Nothing says that it failed, and the bits are the same."""
    study = tiny_study(["baseA"], LONG)
    train(study)
    (roots / "runs").rename(roots / "undisturbed")
    place, before = study_folder("tiny").fleet("random-0.baseA.seed-0").root, signal.getsignal(signal.SIGTERM)
    for step in (13, 57):
        with monkeypatch.context() as patch:
            warning, original = threading.Event(), FleetModule.training_step

            def training_step(
                self: FleetModule,
                batch: Batch,
                index: int,
                step: int = step,
                warning: threading.Event = warning,
                original: Any = original,
            ) -> None:
                if self.step == step:
                    warning.set() if step == 13 else os.kill(os.getpid(), signal.SIGTERM)
                original(self, batch, index)

            patch.setattr(FleetModule, "training_step", training_step)
            with pytest.raises(Preempted, match=f"a checkpoint is written at step {step + 1} of 70"):
                train_fleet(study, fleets(study.networks)[0], preempted=warning)
        assert read_checkpoint(place / "checkpoint.pt")["step"] == step + 1
        assert not (place / "failed.json").exists() and signal.getsignal(signal.SIGTERM) == before
    train(study)
    assert outcome("tiny", "baseA") == outcome("tiny", "baseA", roots / "undisturbed")


def test_a_torn_temporary_file_is_ignored(roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tiny_study(["baseA"], LONG)
    train(study)
    (roots / "runs").rename(roots / "undisturbed")
    with killed_at(50):
        train(study, OFTEN)
    place = study_folder("tiny").fleet("random-0.baseA.seed-0").root
    whole = (place / "checkpoint.pt").read_bytes()
    (place / ".checkpoint.pt.999.tmp").write_bytes(whole[: len(whole) // 2])
    network = study_folder("tiny").network("random-0/baseA/seed-0")
    (network / ".result.json.999.tmp").write_text('{"name": "ran')
    train(study)
    assert outcome("tiny", "baseA") == outcome("tiny", "baseA", roots / "undisturbed")
    assert not place.exists()


# ---------------------------------------------------------------------------------------------- again is safe


def test_what_is_done_is_not_done_again(roots: Path, packed: PackedImages) -> None:
    study = tiny_study(["baseA", "A2A"])
    train(study)
    files = [path for path in (roots / "runs").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"result.json", "weights.safetensors"}
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
    for fleet in fleets(study.networks):
        train_fleet(study, fleet)
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before}
    assert {path for path in before if before[path] != after[path] and path.name != "lock"} == set()
    assert pending(study) == []
    # A study that grows trains what is new, and nothing else.
    grown = tiny_study(["baseA", "A1A", "A2A", "baseB"])
    assert [each.name for fleet in pending(grown) for each in fleet.networks] == [
        "random-0/baseB/seed-0",
        "random-0/A1A/seed-0",
    ]
    train(grown)
    assert {path for path in before if before[path][1] != path.read_bytes() and path.name != "lock"} == set()


def test_a_started_fleet_keeps_its_composition(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(["baseA", "A1A", "A2A", "A3A", "A1A+"])
    names = [network.name for network in fleets(study.networks)[1].networks]
    train_fleet(study, fleets(study.networks)[0])
    with killed_at(9):
        train_fleet(study, fleets(study.networks, 2)[1])
    started = [network.name for network in fleets(study.networks, 2)[1].networks]
    assert len(started) == 2
    for size in (None, 1, 3):
        divided = pending(study, study.networks, size)
        assert [network.name for network in divided[0].networks] == started
        assert sorted(network.name for fleet in divided for network in fleet.networks) == sorted(names)
    # Asked for one of its networks alone, it is still trained whole.
    one = pending(study, [study.by_name[started[1]]], None)
    assert [[network.name for network in fleet.networks] for fleet in one] == [started]
    # A study that has lost a network of a started fleet is told so.
    smaller = tiny_study([network.short_name for network in study.networks if network.name != started[0]])
    with pytest.raises(Refused, match=f"started with {started[0]}"):
        pending(smaller, smaller.networks, None)
    train(study)
    assert outcome("tiny", "A1A").result["steps"] == 12


def test_killed_between_two_results_of_a_fleet(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(["baseA", "A1A", "A2A", "A3A"])
    train(study)
    (roots / "runs").rename(roots / "undisturbed")
    train_fleet(study, fleets(study.networks)[0])
    with monkeypatch.context() as patch:

        def once(path: Path, value: Any) -> None:
            if path.name == "result.json" and "A2A" in str(path):
                raise Killed
            write_result(path, value)

        patch.setattr(training, "write_result", once)
        with pytest.raises(Killed):
            train(study)
    folder = study_folder("tiny")
    assert folder.result("random-0/A1A/seed-0").exists() and not folder.result("random-0/A2A/seed-0").exists()
    with monkeypatch.context() as patch:
        kill_at(patch, 0)  # nothing is trained again: it goes on from the last checkpoint, which is the end
        kill_at(patch, 11)
        train(study)
    for name in ("A1A", "A2A", "A3A"):
        assert outcome("tiny", name) == outcome("tiny", name, roots / "undisturbed")


# ---------------------------------------------------------------------------------------------- refused


def failed(fleet: Fleet) -> dict[str, Any]:
    return dict(read_json(study_folder("tiny").fleet(fleet.name).failed))


def test_a_missing_source_is_named(roots: Path, packed: PackedImages) -> None:
    study = tiny_study(["baseA", "baseB", "A2B"])
    with pytest.raises(Refused, match="random-0/A2B/seed-0 copies from random-0/baseA/seed-0, which is not trained"):
        train_fleet(study, fleets(study.networks)[2])
    why = failed(fleets(study.networks)[2])
    assert why["networks"] == ["random-0/A2B/seed-0"] and "not trained yet" in why["reason"]
    train(study)  # and then it works
    assert outcome("tiny", "A2B").result["diverged_at"] is None


def test_a_base_of_another_recipe_is_refused_by_the_field(roots: Path, packed: PackedImages) -> None:
    study = tiny_study(["baseA", "A2A"])
    train_fleet(study, fleets(study.networks)[0])
    changed = tiny_study(["baseA", "A2A"], replace(RECIPE, rate=0.01))
    with pytest.raises(Refused, match=r"random-0/baseA/seed-0 .*recipe\.rate was 0\.05, is 0\.01"):
        train_fleet(changed, fleets(changed.networks)[1])


def test_a_started_fleet_of_another_recipe_is_refused_by_the_field(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(["baseA"])
    with killed_at(9):
        train(study)
    changed = tiny_study(["baseA"], replace(RECIPE, decay=0.01))
    with pytest.raises(Refused, match=r"fleet\.json.*recipe\.decay was not there \(its default\), is 0\.01"):
        train(changed)
    assert "recipe.decay" in failed(fleets(study.networks)[0])["reason"]
    train(study)
    assert not study_folder("tiny").fleet("random-0.baseA.seed-0").root.exists()


def test_other_pictures_are_refused_by_the_field(roots: Path, packed: PackedImages) -> None:
    study = tiny_study(["baseA", "A2A"])
    train_fleet(study, fleets(study.networks)[0])
    shutil.rmtree(roots / "data" / "tiny")
    write_tiny(roots / "data" / "tiny", seed=1)
    with pytest.raises(Refused, match=r"baseA.*data was '"):
        train_fleet(study, fleets(study.networks)[1])


def test_unequal_halves_do_not_share_their_last_layer(roots: Path) -> None:
    write_tiny(roots / "data" / "tiny", classes=11)
    study = tiny_study(["baseA", "baseB", "A4B+"])
    with pytest.raises(Refused, match=r"A4B\+: the last layer cannot be copied, A has 5 classes and B has 6"):
        train(study)


def test_a_batch_that_does_not_divide_is_refused(roots: Path, packed: PackedImages) -> None:
    study = tiny_study(["baseA"])
    with pytest.raises(Refused, match="a batch of 8 does not divide among 3 processes"):
        train(study, replace(PLAIN, devices=3))


def test_a_task_that_sees_one_gpu_of_several_is_refused(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(Refused, match=r"4 devices on each node, but this process sees 1 GPUs; .* no --gpus-per-task"):
        train(tiny_study(["baseA"]), replace(PLAIN, accelerator="auto", devices=4))


# ---------------------------------------------------------------------------------------------- divergence


def test_where_all_networks_diverged_training_stops_and_says_so(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, ["baseA"], 5)
    study = tiny_study(["baseA", "A2A"], LONG)
    train_fleet(study, fleets(study.networks)[0])
    found = outcome("tiny", "baseA").result
    assert (found["diverged_at"], found["steps"], found["series"]["step"]) == (5, 30, [30])
    assert found["images_seen"] == 240
    with pytest.raises(Refused, match="baseA/seed-0, which diverged at step 5"):
        train_fleet(study, fleets(study.networks)[1])


def test_where_one_network_diverged_the_others_go_on(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, ["A2A"], 2)
    study = tiny_study(["baseA", "A1A", "A2A"])
    train(study)
    found = {name: outcome("tiny", name).result for name in ("A1A", "A2A")}
    assert [found[name]["diverged_at"] for name in found] == [None, 2]
    assert [found[name]["steps"] for name in found] == [12, 6]  # it ends at its next validation, as it would alone
    # What is not a number is null in the file, and empty in the tables.
    assert "NaN" not in study_folder("tiny").result("random-0/A2A/seed-0").read_text()
    assert found["A2A"]["series"]["val_loss"] == [None] and found["A2A"]["val_top1"] >= 0
    assert collect(study, study_folder(study.name)) == []
    table = read_results(study_folder("tiny").results)
    assert math.isnan(table.loc[table["network"] == "A2A", "val_loss"].item())
    rows = study_folder("tiny").curves.read_text().splitlines()
    lost = rows[0].split(",").index("val_loss")
    assert [row.split(",")[lost] == "" for row in rows[1:]] == [",A2A," in row for row in rows[1:]]


def test_killed_after_all_diverged_it_ends_as_it_would_have(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a checkpoint between two validations, of which the results have no row yet."""
    poison(monkeypatch, ["baseA"], 5)
    study = tiny_study(["baseA"], LONG)
    with killed_at(25):
        train(study, OFTEN)
    train(study)
    found = outcome("tiny", "baseA").result
    assert (found["diverged_at"], found["series"]["step"]) == (5, [30])


# ---------------------------------------------------------------------------------------------- files


def test_what_result_json_holds(roots: Path, packed: PackedImages) -> None:
    study = tiny_study(["baseA", "A2A+0.1"])
    train(study, replace(PLAIN, keep_weights=False))
    folder = study_folder("tiny")
    found = read_json(folder.result("random-0/A2A+0.1/seed-0"))
    expected = {
        "name": "random-0/A2A+0.1/seed-0",
        "study": "tiny",
        "split": "random-0",
        "network": "A2A+0.1",
        "kind": "selffer",
        "source": "A",
        "target": "A",
        "n": 2,
        "preserved": 0,
        "plus": "0.1",
        "images_per_class": None,
        "variant": "",
        "seed": 0,
        "diverged_at": None,
        "steps": 12,
        "images_seen": 96,
        "val_top1_best10": None,  # there are only two validations
    }
    assert {key: found[key] for key in expected} == expected
    series = found["series"]
    assert series["step"] == [6, 12]
    for key in ("train_loss", "train_top1", "val_loss", "val_top1", "val_top5", "val_images"):
        assert len(series[key]) == 2 and series[key][-1] == found[key] and math.isfinite(found[key])
    count = sum(label in task_a(packed) for label in packed.val.labels.tolist())
    assert found["val_images"] == count
    assert found["val_top1"] * count == pytest.approx(round(found["val_top1"] * count))  # of all images, each once
    assert found["images_per_second"] == pytest.approx(96 / found["seconds"]) and found["seconds"] > 0
    assert found["recipe"]["rate"] == 0.05 and found["recipe"]["name"] == "tiny"
    assert found["record"]["data"] == packed.checksum and found["record"]["source"]["treatment"] == "baseA"
    provenance = found["provenance"]
    assert {*provenance} >= {"git_commit", "versions", "hardware", "devices", "accelerator", "fleet", "finished"}
    assert provenance["versions"]["torch"] == torch.__version__
    assert provenance["hardware"]["threads"] == 1 and provenance["accelerator"] == "cpu"
    assert provenance["fleet"] == ["random-0/A2A+0.1/seed-0"]
    # Weights of bases are kept, of others on request; nothing else is left.
    assert folder.weights("random-0/baseA/seed-0").exists()
    assert not folder.weights("random-0/A2A+0.1/seed-0").exists()
    assert list(folder.fleets.iterdir()) == []
    assert [path for path in folder.root.rglob("*") if path.name.endswith(".tmp")] == []


def task_a(packed: PackedImages) -> set[int]:
    from transferability.splits import task_classes

    return set(task_classes(packed.classes, "random-0", "A").tolist())


def test_best_ten_are_of_a_hundred_validations(roots: Path, packed: PackedImages) -> None:
    for steps, known in ((100, True), (99, False)):
        study = tiny_study(["baseA"], replace(RECIPE, steps=steps, validate_every=1, batch=4), name=f"tiny{steps}")
        train(study)
        found = read_json(study_folder(study.name).result("random-0/baseA/seed-0"))
        ten = sorted(found["series"]["val_top1"])[-10:]
        assert found["val_top1_best10"] == (pytest.approx(sum(ten) / 10) if known else None)


# ---------------------------------------------------------------------------------------------- several processes

# Each process tells by a file that it is before a step, and stays there.
STAYING = """
import os
from pathlib import Path
from waiting import stay_in_training
place = Path({place!r})
stay_in_training({step}, place / ("{step}-" + os.environ.get("LOCAL_RANK", "0")), place / "{step}-go")
"""


def words_of(file: Path, *names: str, devices: int = 2) -> list[str]:
    """The words of the command that trains networks of an experiment file, each fleet in several processes."""
    chosen = [word for name in names for word in ("--network", full_name(name))]
    return ["train", str(file), *chosen, "--devices", str(devices), "--accelerator", "cpu", "--keep-weights"]


def started(root: Path, file: Path, *names: str) -> subprocess.Popen[str]:
    """The first of two processes; Lightning starts the other."""
    return subprocess.Popen(
        [sys.executable, "-m", "transferability.cli", *words_of(file, *names)],
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """(exit code, output, errors) of the first process, when all have ended."""
    try:
        out, err = process.communicate(timeout=LIMIT)  # the others write there, too
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"several processes did not end: {process.communicate()}") from None
    return process.returncode, out, err


def train_in_processes(root: Path, file: Path, *names: str, devices: int = 2) -> None:
    """Trains networks of an experiment file, each fleet in several processes, which have to end well."""
    ranks = start_together(
        devices, None, *words_of(file, *names, devices=devices), environment=environment(root), folder=root
    )
    for code, _, errors in [rank.ended() for rank in ranks]:
        assert code == 0, errors


def train_again_in_processes(
    trained: Path, root: Path, monkeypatch: pytest.MonkeyPatch, made: str, names: list[str]
) -> None:
    """Trains networks in two processes and in a folder of their own, `root`, from the data of the folder `trained`.

    made: MODULE:CALL, what makes their study: a call of a function of a test or helper. names: full ones.
    """
    (root / "data").symlink_to(trained / "data")
    monkeypatch.setenv("TRANSFERABILITY_DATA", str(root / "data"))
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(root / "runs"))
    module, _, call = made.partition(":")
    file = root / "study.py"
    file.write_text(
        f"import sys\nsys.path[:0] = [{str(HELPERS)!r}, {str(Path(__file__).parent)!r}]\n"
        f"from {module} import {call.partition('(')[0]}\nstudy = {call}\n"
    )
    train_in_processes(root, file, *names)


def test_several_processes_agree_with_one(roots: Path, packed: PackedImages) -> None:
    """DDP over gloo in 2 and 4 processes, dropout on, to the tolerance that `Machine` states.

    A base, and in the same command what copies from it: no process goes on before the first one has written what the
    next fleet needs. One network becomes NaN among others, and one alone, whose fleet then stops.
    """
    fast, alone = "A2A+1" + "0" * 30, "R1B+1" + "0" * 30
    names = ["baseA", "A2A", "A3A", "A1A+", fast, alone]
    changes = {"steps": 20, "validate_every": 10, "rate": 0.04}  # no unit of a max-pool or ReLU is decided by rounding
    train(tiny_study(names, replace(RECIPE, **changes)))  # type: ignore[arg-type]
    (roots / "runs").rename(roots / "one")
    file = write_experiment(roots / "study.py", names, **changes)
    count = sum(label in task_a(packed) for label in packed.val.labels.tolist())
    for devices in (2, 4):
        train_in_processes(roots, file, *names, devices=devices)
        base = outcome("tiny", "baseA").weights
        for name in names:
            one, several = outcome("tiny", name, roots / "one"), outcome("tiny", name)
            assert several.diverged_at == one.diverged_at
            assert (one.diverged_at is None) == (name not in (fast, alone))
            steps = (several.result["steps"], one.result["steps"])
            assert steps == ((10, 10) if name in (fast, alone) else (20, 20))
            if name in (fast, alone):
                continue
            assert several.series["val_images"] == [count, count]
            for key in ("train_loss", "val_loss", "train_top1", "val_top1", "val_top5"):
                assert several.series[key] == pytest.approx(one.series[key], rel=1e-5), (devices, name, key)
            weights = several.weights
            for key, value in one.weights.items():
                assert float((weights[key] - value).norm()) <= 1e-5 * float(value.norm()), (devices, name, key)
            for layer in {"A2A": ("conv1", "conv2"), "A3A": ("conv1", "conv2", "fc3")}.get(name, ()):
                assert torch.equal(weights[f"{layer}.weight"], base[f"{layer}.weight"])
        found = read_json(study_folder("tiny").result("random-0/A2A/seed-0"))
        assert found["provenance"]["devices"] == devices
        assert list(study_folder("tiny").fleets.iterdir()) == []
        (roots / "runs").rename(roots / f"in-{devices}")


@pytest.mark.parametrize("validate_every", [100, 20])  # 20: they ask each other after validations alone
def test_several_processes_are_warned_and_lose_one(roots: Path, packed: PackedImages, validate_every: int) -> None:
    """Warned, if only one of them, all write a checkpoint and end; killed, if only one of them, all end.

    Then one process goes on with what two have begun.
    """
    changes = {"steps": 200, "validate_every": validate_every, "rate": 0.01}  # at 0.05 it is chaotic
    study = tiny_study(["baseA"], replace(RECIPE, **changes))  # type: ignore[arg-type]
    train(study)
    (roots / "runs").rename(roots / "one")
    fleet = study_folder("tiny").fleet("random-0.baseA.seed-0")

    def stay(step: int) -> tuple[Path, list[Path]]:
        """An experiment file whose processes stay before a step; the files by which they tell that they are there."""
        file = write_experiment(roots / "study.py", ["baseA"], **changes)
        file.write_text(file.read_text() + STAYING.format(place=str(roots), step=step))
        return file, [roots / f"{step}-{rank}" for rank in range(2)]

    file, both = stay(50)
    ranks = start_together(2, None, *words_of(file, "baseA"), environment=environment(roots), folder=roots)
    wait_for("both", lambda: any(rank.has_ended for rank in ranks) or all(file.exists() for file in both))
    assert not any(rank.has_ended for rank in ranks), [rank.ended() for rank in ranks]
    os.kill(int(both[1].read_text()), signal.SIGUSR1)
    (roots / "50-go").touch()
    (code, out, err), (second, *_) = [rank.ended() for rank in ranks]
    assert (code, second) == (1, 1), err
    assert read_checkpoint(fleet.checkpoint)["step"] == 60
    assert "preempted: a checkpoint is written at step 60 of 200; run the same command again to go on" in out
    assert not fleet.failed.exists()
    if validate_every == 20:
        return

    file, both = stay(90)
    process = started(roots, file, "baseA")
    wait_for("both", lambda: process.poll() is not None or all(file.exists() for file in both))
    assert process.poll() is None, ended(process)
    os.kill(int(both[1].read_text()), signal.SIGKILL)
    (roots / "90-go").touch()
    assert ended(process)[0] != 0

    train(study)
    one, several = outcome("tiny", "baseA", roots / "one").series, outcome("tiny", "baseA").series
    assert several["val_images"] == one["val_images"]
    for key in ("train_loss", "val_loss"):
        assert several[key] == pytest.approx(one[key], rel=1e-5)


def test_several_processes_refuse_what_one_refuses(roots: Path, packed: PackedImages) -> None:
    words = words_of(write_experiment(roots / "study.py", ["baseA"]), "baseA", devices=3)
    code, _, err = start(None, *words, environment=environment(roots), folder=roots).ended()
    assert code == 2 and "does not divide among 3 processes" in err
    assert "Traceback" not in err and len(err.strip().splitlines()) == 1


def test_lightnings_own_variables_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FAST_DEV_RUN", "1"), ("LIMIT_TRAIN_BATCHES", "2"), ("GRADIENT_CLIP_VAL", "0.5")):
        monkeypatch.setenv(f"PL_TRAINER_{name}", value)
    trainer = bare_trainer(Machine("cpu"), "float32", [], max_steps=7)
    assert (trainer.fast_dev_run, trainer.limit_train_batches, trainer.gradient_clip_val) == (False, 1.0, None)
    assert trainer.max_steps == 7

"""Faults on purpose: full and foreign disks, damaged files, numbers that run away, experiment files with mistakes.

Each is one line that says what to do, nothing is lost and nothing overwritten. `make torture` has the long trials.
"""

import errno
import json
import os
import resource
import shutil
import tempfile
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Command
from comparing import outcome
from disturbed import killed_at
from outcomes import result_of
from pictures import somebody
from project import HELPERS
from tiny import EXPERIMENT, RECIPE, full_name, tiny_study, write_experiment, write_tiny
from trained import train, train_fleet

from transferability.data.packed import PackedImages
from transferability.files import Refused, read_json, write_atomically, write_json
from transferability.launch.plan import trouble
from transferability.networks.caffenet import small_caffenet
from transferability.recipe import Recipe
from transferability.results.collect import collect
from transferability.runs.ledger import started, tidy
from transferability.runs.locks import hold, myself
from transferability.runs.paths import StudyFolder, data_root, study_folder
from transferability.runs.result import write_result
from transferability.runs.status import remarks
from transferability.study import Network, Study, fleets
from transferability.training.trainer import quiet
from transferability.treatment import Treatment

torch.set_num_threads(1)
quiet()

SHORT = replace(RECIPE, steps=4, validate_every=2)


def tree(root: Path) -> dict[str, bytes]:
    """Every file below `root`, with its content."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# ---------------------------------------------------------------------------------------------- storage


def test_a_disk_that_is_full_at_any_write_loses_nothing(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file of a base's training in turn cannot be written; the next try goes on, to the same bits."""
    undisturbed = tiny_study(["baseA"], SHORT, name="undisturbed")
    train(undisturbed)
    study = tiny_study(["baseA"], SHORT)
    original, names = os.fsync, []

    def fsync(handle: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{handle}")).name
        if name.endswith(".tmp"):
            name = name[1:].rsplit(".", 2)[0]
            if name != "failed.json" and not name.startswith("lock.") and names.count(name) < 2:
                names.append(name)
                raise OSError(errno.ENOSPC, "No space left on device")
        original(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    files = ["lock", "random-0-A-16.npz", "fleet.json", "checkpoint.pt", "progress.json", "weights.safetensors"]
    files += ["result.json"]
    for _ in range(2 * len(files)):
        with pytest.raises(OSError, match="No space left on device") as full:
            train(study)
        assert full.value.filename.endswith(names[-1])
        assert not study_folder("tiny").result("random-0/baseA/seed-0").exists()
        assert not list(roots.glob("runs/tiny/**/.*.tmp"))
    assert names == [name for name in files for _ in range(2)]
    train(study)
    assert outcome(study.name, "baseA") == outcome(undisturbed.name, "baseA")


def test_what_pytorch_says_about_a_full_disk_is_what_the_system_said(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"the last one")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError) as full, write_atomically(tmp_path / "checkpoint.pt") as handle:
            torch.save({"weights": torch.zeros(100_000)}, handle)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert full.value.errno == errno.EFBIG and full.value.filename == str(tmp_path / "checkpoint.pt")
    assert tree(tmp_path) == {"checkpoint.pt": b"the last one"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_runs_folder_of_another_user_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        monkeypatch.setenv("TRANSFERABILITY_DATA", str(root / "data"))
        monkeypatch.setenv("TRANSFERABILITY_RUNS", str(root / "runs"))
        write_tiny(root / "data" / "tiny")
        train(tiny_study(["baseA"], SHORT))
        files = tree(root)
        file = experiment(root, ["baseA", "A1A"], steps=4, validate_every=2)
        with somebody():
            # What the other user has trained can be read, and what is left cannot be written beside it.
            code, _, errors = command("train", file, "--network", "random-0/A1A", "--accelerator", "cpu")
        assert code == 2 and errors.count("\n") == 1, errors
        assert f"{root}/runs/tiny/random-0/A1A" in errors and "Permission denied; change its permissions, or" in errors
        assert tree(root).keys() - files.keys() == {"mistaken.py"}
        file = write_experiment(
            root / "mistaken.py", ["baseA", "A1A"]
        )  # with another recipe: what is wrong is still said
        with somebody():
            code, _, errors = command("train", file, "--network", "random-0/A1A", "--accelerator", "cpu")
        assert code == 2 and "recipe.steps was 4, is 12" in errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two others")
def test_two_users_in_one_runs_folder(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one user's killed process left, another goes on with where permissions allow it, and else is told."""
    monkeypatch.setattr("transferability.training.train.hold", partial(hold, stale=0.5))
    umask = os.umask(0)  # as where a group shares its files
    try:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            root.chmod(0o777)
            monkeypatch.setenv("TRANSFERABILITY_DATA", str(root / "data"))
            monkeypatch.setenv("TRANSFERABILITY_RUNS", str(root / "runs"))
            write_tiny(root / "data" / "tiny")
            undisturbed = tiny_study(["baseA", "A1A"], SHORT, name="undisturbed")
            train(undisturbed)
            file, folder = (
                experiment(root, ["baseA", "A1A"], steps=4, validate_every=2),
                study_folder("tiny"),
            )
            arguments = ("train", file, "--network", "*", "--accelerator", "cpu", "--keep-weights")
            base, next_one = (folder.lock(full_name(name)) for name in ("baseA", "A1A"))
            dead = {**asdict(myself("token")), "start": "1"}
            with somebody(1001):
                with killed_at(3):
                    train(tiny_study(["baseA"], SHORT))
                write_json(base, dead)
                base.parent.chmod(0o1777)  # as in /tmp: nobody removes or replaces another user's file
            files = tree(root)
            with somebody(1002):
                code, _, errors = command(*arguments)
            assert code == 2 and errors.count("\n") == 1, errors
            assert f"{base}: Operation not permitted; change its permissions, or set TRANSFERABILITY_RUNS" in errors
            assert tree(root) == files
            base.parent.chmod(0o777)
            with somebody(1001):
                write_json(next_one, dead)
                next_one.chmod(0o600)
            with somebody(1002):
                assert command(*arguments)[0] == 0
            assert base.with_name("result.json").stat().st_uid == 1002
            for trained in ("baseA", "A1A"):
                assert outcome("tiny", trained) == outcome(undisturbed.name, trained)
            assert not list(folder.root.rglob("lock*"))
    finally:
        os.umask(umask)


def test_tables_for_which_there_is_no_room_stay_as_they_were(
    roots: Path, packed: PackedImages, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(["R1A"], SHORT)
    train(study)
    collect(study, study_folder(study.name))
    train(tiny_study(["R2A"], SHORT))
    files, original = tree(roots), os.fsync
    file = experiment(roots, ["R1A", "R2A"], steps=4, validate_every=2)
    for name in ("results.csv", "curves.csv"):

        def fsync(handle: int, name: str = name) -> None:
            if name in os.readlink(f"/proc/self/fd/{handle}"):
                raise OSError(errno.ENOSPC, "No space left on device")
            original(handle)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            code, _, errors = command("results", file)
        assert (code, errors.count("\n")) == (2, 1) and f"/{name}: No space left on device; make room" in errors, errors
        after = tree(roots)
        assert after[f"runs/tiny/{name}"] == files[f"runs/tiny/{name}"]
        assert after.keys() - files.keys() == {"mistaken.py"}
    assert command("results", file)[0] == 0


def test_runs_that_cannot_be_a_folder(
    roots: Path, packed: PackedImages, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (roots / "file").write_text("mine")
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(roots / "file"))
    code, _, errors = command("train", experiment(roots, ["baseA"]), "--fleet", 0, "--accelerator", "cpu")
    assert code == 2 and errors.count("\n") == 1 and f"{roots}/file" in errors, errors
    assert (roots / "file").read_text() == "mine"


@pytest.mark.parametrize("how", ["truncated", "changed", "moved"])
def test_pictures_that_were_damaged_or_moved(how: str, roots: Path, packed: PackedImages, command: Command) -> None:
    study = tiny_study(["baseA", "A1A"], SHORT)
    train_fleet(study, fleets(study.networks)[0])  # the first use, which was in order
    file, files = packed.folder / "train-images.npy", tree(roots / "runs")
    content = bytearray(file.read_bytes())
    if how == "moved":
        packed.folder.rename(roots / "elsewhere")
    elif how == "truncated":
        file.write_bytes(content[:-1])
    else:
        content[5000] ^= 1
        file.write_bytes(content)
    reason = {
        "moved": f"{packed.folder} does not exist: make it with",
        "truncated": f"{file} has {len(content) - 1} bytes instead of {len(content)}: it is truncated",
        "changed": f"{file} has changed since it was packed (in images ",
    }[how]
    code, _, errors = command("run", experiment(roots, ["baseA", "A1A"], steps=4, validate_every=2), "--workers", 1)
    assert (code, errors.count("\n")) == (2, 1) and errors.startswith(f"transferability: {reason}"), errors
    with pytest.raises(Refused) as refused:  # a worker that was at it when it happened says the same
        train_fleet(study, fleets(study.networks)[1])
    assert str(refused.value).startswith(reason)
    shutil.rmtree(roots / "runs" / "tiny" / "fleets")  # failed.json
    shutil.rmtree(roots / "runs" / "tiny" / "random-0" / "A1A")  # where the lock was
    assert tree(roots / "runs") == files
    if how == "moved":  # the records hold what the pictures are, not where they lie
        (roots / "elsewhere").rename(roots / "data" / "tiny")
        train(study)
        assert study_folder("tiny").result("random-0/A1A/seed-0").exists()


def test_a_dead_lock_and_a_clock_that_jumps(roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tiny_study(["baseA"], SHORT)
    lock = study_folder("tiny").lock("random-0/baseA/seed-0")
    dead = {**asdict(myself("token")), "start": "1", "since": time.time() + 1e9}
    write_json(lock, dead)
    moments = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + (-1) ** next(moments) * 1e8)
    train(study)
    assert study_folder("tiny").result("random-0/baseA/seed-0").exists() and not lock.exists()


# ---------------------------------------------------------------------------------- files of earlier runs


def test_weights_that_are_not_the_bases_are_refused(roots: Path, packed: PackedImages) -> None:
    study = tiny_study(["baseA", "A1A"], SHORT)
    train_fleet(study, fleets(study.networks)[0])
    file = study_folder("tiny").weights("random-0/baseA/seed-0")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        Refused, match=r"weights\.safetensors is not what random-0/baseA/seed-0 ended with; move .*away"
    ):
        train(study)
    file.unlink()
    with pytest.raises(Refused, match=r"weights\.safetensors is missing; move .*baseA/seed-0 away to train"):
        train(study)
    said = trouble(study, study_folder("tiny"), data_root(), study.networks)
    assert "weights.safetensors is missing, from which random-0/A1A/seed-0 copies" in said
    file.write_bytes(b"no weights")
    result = study_folder("tiny").result("random-0/baseA/seed-0")
    without = read_json(result)
    del without["weights_sha256"]  # as earlier versions wrote it
    write_json(result, without)
    with pytest.raises(Refused, match=r"weights\.safetensors is damaged"):
        train(study)


def test_a_damaged_checkpoint_is_named_and_never_used(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study(["baseA"], SHORT)
    with killed_at(3):
        train(study)
    place = study_folder("tiny").fleet("random-0.baseA.seed-0").root
    whole = (place / "checkpoint.pt").read_bytes()
    for damaged in (b"", whole[:-50], whole[: len(whole) // 2], b"<html>" * 100):
        (place / "checkpoint.pt").write_bytes(damaged)
        with pytest.raises(Refused, match=r"checkpoint\.pt is damaged .*; remove .*random-0\.baseA\.seed-0 to train"):
            train(study)
        assert "is damaged" in read_json(place / "failed.json")["reason"]


@pytest.mark.parametrize("content", [[], {}, {"records": 3}, {"records": {"random-0/baseA/seed-0": None}}])
def test_a_damaged_start_of_a_fleet_is_named(roots: Path, content: object) -> None:
    folder = study_folder("tiny")
    write_json(folder.fleet("random-0.baseA.seed-0").start, content)
    with pytest.raises(Refused, match=r"fleet\.json (lacks|is damaged).*; remove .*random-0\.baseA\.seed-0 to train"):
        started(folder)


def test_a_checkpoint_of_which_nothing_says_what_it_is_is_not_used(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a fleet that was done was half removed by a kill; then the network is trained differently."""
    study = tiny_study(["baseA"], SHORT)
    with killed_at(3):
        train(study)
    place = study_folder("tiny").fleet("random-0.baseA.seed-0").root
    (place / "fleet.json").unlink()
    changed = tiny_study(["baseA"], replace(SHORT, rate=0.01))
    train(changed)
    undisturbed = tiny_study(["baseA"], replace(SHORT, rate=0.01), name="undisturbed")
    train(undisturbed)
    assert outcome(changed.name, "baseA") == outcome(undisturbed.name, "baseA")


def test_a_fleet_that_another_process_started_differently(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people with other fleet sizes made their plans at the same time; the first was killed."""
    study = tiny_study(["R1A", "R2A", "R3A"], SHORT)
    pairs, all_three = fleets(study.networks, 2)[0], fleets(study.networks)[0]
    assert pairs.networks != all_three.networks and pairs.name == all_three.name
    with killed_at(3):
        train_fleet(study, pairs)
    with pytest.raises(Refused, match=r"was started with other networks by another process; run the same command"):
        train_fleet(study, all_three)
    train(study)  # which plans anew
    assert not collect(study, study_folder(study.name))


def test_what_is_left_of_fleets_that_are_done_is_removed(roots: Path, packed: PackedImages) -> None:
    study = tiny_study(["R1A", "R2A", "R3A"], SHORT)
    train(study)
    folder = study_folder("tiny")
    names = [network.name for network in study.networks]
    write_json(folder.fleet("done").start, {"networks": names, "records": {name: {} for name in names}})
    write_json(
        folder.fleet("begun").start,
        {"records": {name: {} for name in [*names, "random-0/baseA/seed-0"]}},
    )
    write_json(folder.root / ".removed-half" / "progress.json", {"networks": names})
    write_json(folder.fleet("failed").failed, {"networks": names, "reason": "because"})
    tidy(folder)
    assert sorted(place.name for place in folder.fleets.iterdir()) == ["begun", "failed"]
    assert not (folder.root / ".removed-half").exists()


def test_a_kill_while_a_fleet_is_removed_leaves_nothing_in_its_place(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of its folder, or the empty one, would belong to nothing that is known."""
    study = tiny_study(["R1A"], SHORT)
    (fleet,) = fleets(study.networks)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        train_fleet(study, fleet)
    folder = study_folder("tiny")
    assert folder.result("random-0/R1A/seed-0").exists() and list(folder.fleets.iterdir()) == []
    assert len(list(folder.root.glob(".removed-*"))) == 1
    tidy(folder)
    assert list(folder.root.glob(".removed-*")) == []


# ---------------------------------------------------------------------------------------------- numbers


def test_overflow_in_bfloat16_is_marked_and_touches_no_neighbour(roots: Path, packed: PackedImages) -> None:
    recipe, fast = replace(RECIPE, precision="bfloat16"), "R1A+1" + "0" * 30
    study = tiny_study([fast, "R1A+"], recipe)
    train(study)
    alone = tiny_study(["R1A+"], recipe, name="alone")
    train(alone)
    marked = read_json(study_folder("tiny").result(f"random-0/{fast}/seed-0"))["diverged_at"]
    assert marked is not None and 0 < marked <= 12
    assert outcome(study.name, "R1A+") == outcome(alone.name, "R1A+")
    assert np.isfinite(outcome(study.name, "R1A+").series["val_loss"]).all()


def test_a_rate_a_hundred_times_too_high_is_marked_and_touches_no_neighbour(roots: Path) -> None:
    write_tiny(roots / "data" / "tiny", pixels=32)
    architecture = small_caffenet(crop=28, width=0.08)
    recipe = replace(RECIPE, steps=10, validate_every=5, crop=28, rate=0.04, batch=16)
    healthy = ["baseB", "B3B", "B3B+", "B8B+"]
    together = tiny_study([*healthy, "B8B+100"], recipe, architecture)
    alone = tiny_study(healthy, recipe, architecture, name="alone")
    train(together)
    train(alone)
    marked = read_json(study_folder("tiny").result("random-0/B8B+100/seed-0"))["diverged_at"]
    assert marked is not None and 0 < marked < 10
    for name in healthy:
        assert outcome(together.name, name) == outcome(alone.name, name)


def test_a_base_at_chance_is_said_before_others_copy_from_it(
    roots: Path, packed: PackedImages, command: Command
) -> None:
    file = experiment(roots, ["baseA", "A1A", "A2A"], rate=1e-9)
    # 6 classes with 4 or 5 validation images each: the majority-class baseline has 5 of 27.
    parts = (
        "at chance: random-0/baseA/seed-0 ends with ",
        "the majority-class baseline has ",
        "; 2 networks copy from it",
    )
    code, output, _ = command("train", file, "--network", "random-0/baseA", "--accelerator", "cpu")
    assert code == 0 and all(part in output for part in parts), output
    code, output, _ = command("train", file, "--network", "random-0/A?A", "--accelerator", "cpu")
    assert code == 0 and output.startswith("at chance: "), output  # before anything else
    _, output, _ = command("status", file)
    assert all(part in output for part in parts), output


def test_chance_is_a_guess_of_the_largest_class_with_three_deviations(roots: Path) -> None:
    study = tiny_study(["baseA", "baseB", "A1A", "A1B", "B2A"])
    folder = study_folder("tiny")

    def lines(top1: float, chance: float = 0.01, images: int = 10_000, diverged_at: int | None = None) -> list[str]:
        changes = {"val_top1": top1, "chance": chance, "val_images": images, "diverged_at": diverged_at}
        write_result(folder.result("random-0/baseA/seed-0"), result_of(study, "random-0/baseA/seed-0", **changes))
        return remarks(study, folder, study.networks)

    # 3 sqrt(0.01 x 0.99 / 10,000) is 0.003.
    assert lines(0.0129) and lines(0.001) and not lines(0.0131)
    assert lines(0.015, images=100)
    assert not lines(0.01, diverged_at=3)  # that is said elsewhere
    assert "; 2 networks copy from it and will show nothing" in lines(0.01)[0]
    assert not remarks(tiny_study(["baseA"]), folder, tiny_study(["baseA"]).networks)  # nobody is misled


def test_stuck_is_a_loss_above_that_of_equal_scores(roots: Path) -> None:
    """Of six classes: ln 6 is 1.79 by softmax, 6 ln 2 is 4.16 where each class is by itself."""
    folder = study_folder("tiny")

    def lines(loss: str, train_loss: float) -> list[str]:
        study = tiny_study(["baseA"], replace(RECIPE, loss=loss))
        changes = {"classes": 6, "train_loss": train_loss, "train_top1": 0.2, "val_top1": 0.5, "chance": 0.2}
        write_result(folder.result("random-0/baseA/seed-0"), result_of(study, "random-0/baseA/seed-0", **changes))
        return remarks(study, folder, study.networks)

    assert lines("softmax", 2.0) and not lines("softmax", 1.9)
    assert lines("sigmoid", 4.7) and not lines("sigmoid", 4.2) and not lines("hinge", 9.0)


def test_where_one_base_diverged_what_copies_from_the_other_is_trained(
    roots: Path, packed: PackedImages, command: Command
) -> None:
    names = ["baseA", "baseB", "A1B", "A2B", "B1B"]
    study = tiny_study(names, SHORT)
    for fleet in fleets(study.networks)[:2]:
        train_fleet(study, fleet)
    file = study_folder("tiny").result("random-0/baseA/seed-0")
    write_json(file, {**read_json(file), "diverged_at": 3})
    arguments = (
        "train",
        experiment(roots, names, steps=4, validate_every=2),
        "--only",
        "random-0/*1B",
        "--accelerator",
    )
    code, output, _ = command(*arguments, "cpu", "--fleet", 0)
    assert (
        code == 1 and "left out: 1 network that copies from random-0/baseA/seed-0, which diverged at step 3" in output
    )
    assert "1 of 2 networks are done" in output
    assert study_folder("tiny").result("random-0/B1B/seed-0").exists()
    assert not study_folder("tiny").fleets.exists() or not list(study_folder("tiny").fleets.iterdir())


# ------------------------------------------------------------------------------------------ experiments


def experiment(root: Path, names: list[str], **changes: Any) -> Path:
    return write_experiment(root / "mistaken.py", names, **changes)


GOOD = EXPERIMENT.format(helpers=str(HELPERS), names=["baseA", "baseB", "A1B"], changes={})


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("study =", "study = =", "mistaken.py:5: invalid syntax"),
        ("**{}", "step=3", "mistaken.py:5: TypeError: Recipe.__init__() got an unexpected keyword argument 'step'"),
        ("**{}", "steps=0", "recipe 'tiny': steps is 0; it has to be more than 0"),
        ("**{}", "steps=2.5", "recipe 'tiny': steps is 2.5; write a whole number"),
        ("**{}", "rate=float('nan')", "recipe 'tiny': rate is nan; write a number from 0 up"),
        ("**{}", "warmup=-1", "recipe 'tiny': warmup is -1; write a whole number"),
        ("**{}", "batch=1000", "random-0/baseA/seed-0: recipe 'tiny' has a batch of 1000, and there are only 3"),
        ("**{}", "shrink=3", "images of 16 pixels do not shrink by 3; pack them with --size"),
        (
            "'A1B'",
            "'A1B', 'baseA@9'",
            "random-0/baseA@9/seed-0: no class has 9 training images, the largest has 7; write @7 or less",
        ),
        ("'baseB', ", "", "copies from random-0/baseA/seed-0, which is not in the study; add it"),
        ("'A1B'", "'A1B', 'A1B'", "study 'tiny' names random-0/A1B/seed-0 twice; leave one of them out"),
        ("'A1B'", "'A1Z'", "'A1Z' is no treatment; write"),
        ("study =", "sys.exit(3)\nstudy =", "mistaken.py:5: SystemExit: 3"),
        ("study =", "a = 'ä\x00'; study =", "mistaken.py:"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    old: str, new: str, reason: str, roots: Path, packed: PackedImages, command: Command
) -> None:
    if old == "'baseB', ":
        old, new = "'baseA', 'baseB', ", "'baseB', "
    assert GOOD.count(old) == 1
    (roots / "mistaken.py").write_text(GOOD.replace(old, new))
    code, output, errors = command("run", roots / "mistaken.py", "--workers", 1)
    assert (code, output, errors.count("\n")) == (2, "", 1), errors
    assert errors.startswith("transferability: ") and reason in errors
    assert not (roots / "runs").exists()


def test_a_split_that_leaves_a_task_with_one_class(roots: Path, command: Command) -> None:
    write_tiny(roots / "data" / "tiny", classes=3)
    code, _, errors = command("run", experiment(roots, ["baseA"]), "--workers", 1)
    assert (code, errors.count("\n")) == (2, 1)
    assert "task A of split random-0 would have 1 of the data set's 3 classes: a task needs at least two" in errors
    assert not (roots / "runs").exists()


@pytest.mark.parametrize("arguments", [("run", "--workers", "1"), ("train", "--fleet", "0"), ("results",)])
def test_a_recipe_that_changed_halfway_is_refused_by_the_field(
    arguments: tuple[str, ...], roots: Path, packed: PackedImages, command: Command
) -> None:
    names = ["R1A", "R2A"]  # that depend on nothing which could be seen to differ
    study = tiny_study(names, SHORT)
    train_fleet(study, fleets(study.networks, 1)[0])
    collect(study, study_folder(study.name))
    files = tree(roots / "runs")
    file = experiment(roots, names, steps=4, validate_every=2, rate=0.07)
    code, output, errors = command(arguments[0], file, *arguments[1:])
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert "recipe.rate was 0.05, is 0.07; name the study differently, or move that folder away" in errors
    after = tree(roots / "runs")
    after.pop("tiny/fleets/random-0.R2A.seed-0/failed.json", None)  # `train` leaves its reason for `status`
    assert after == files


def test_seeds_may_be_added_afterwards(roots: Path, packed: PackedImages, command: Command) -> None:
    study = tiny_study(["R1A"], SHORT)
    train(study)
    files = tree(roots / "runs")
    more = Study(
        "tiny", "tiny", study.architecture, (Network("random-0", Treatment("A", "R", 1), SHORT, 1), *study.networks)
    )
    train(more)
    assert not collect(more, study_folder(more.name))
    after = tree(roots / "runs")
    assert {name: after[name] for name in files} == files
    assert StudyFolder(roots / "runs" / "tiny").result("random-0/R1A/seed-1").exists()


def test_recipes_without_mistakes_are_not_refused() -> None:
    assert Recipe("r", steps=1, batch=1, rate=1e-9, crop=1, validate_every=5, momentum=0.0, decay=0.0).validations == 1


def test_experiments_that_fail_leave_the_word_json(roots: Path, packed: PackedImages, command: Command) -> None:
    """A result that is no result is named, wherever it is met, and stays."""
    result = study_folder("tiny").result("random-0/baseA/seed-0")
    result.parent.mkdir(parents=True)
    for content in ("", "[]", json.dumps({"record": 3})):
        result.write_text(content)
        for arguments in (("run", "--workers", "1"), ("results",)):
            code, _, errors = command(arguments[0], experiment(roots, ["baseA"]), *arguments[1:])
            assert (code, errors.count("\n")) == (2, 1) and str(result) in errors, errors
        assert result.read_text() == content

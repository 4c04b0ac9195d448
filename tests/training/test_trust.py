"""Trust: no file that is read runs code, no archive writes anywhere, no file that is written holds a secret."""

import ast
import io
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ilsvrc import TRUTH, WNIDS, add, devkit, ilsvrc_files, tar_of
from pictures import picture, put
from tiny import RECIPE, task_of, tiny_study
from trained import train

import transferability
from transferability.data.pack import Options, pack
from transferability.data.packed import PackedImages
from transferability.data.stream import mean_image
from transferability.files import Refused, read_json, write_json
from transferability.runs.paths import study_folder
from transferability.training.checkpoint import read_checkpoint
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

PACKAGE = Path(transferability.__file__).parent
SHORT = replace(RECIPE, steps=4, validate_every=2)


class Evil:
    """Unpickled, it makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


# ---------------------------------------------------------------------------------------- what is read


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    for number, save in enumerate((torch.save, lambda value, file: file.write_bytes(pickle.dumps(value)))):
        file, place = tmp_path / f"{number}.pt", tmp_path / f"made-{number}"
        save({"step": 3, "weights": Evil(place)}, file)
        with pytest.raises(Refused, match=rf"{number}\.pt is damaged"):
            read_checkpoint(file)
        assert not place.exists()
    pickle.loads(pickle.dumps(Evil(tmp_path / "made")))
    assert (tmp_path / "made").is_dir()  # so the checks above can fail


def test_weights_and_mean_images_run_no_code(roots: Path, packed: PackedImages) -> None:
    study = tiny_study(["baseA", "A1A"], SHORT)
    train(tiny_study(["baseA"], SHORT))
    result = study_folder("tiny").result("random-0/baseA/seed-0")
    unsigned = read_json(result)
    del unsigned["weights_sha256"]
    write_json(result, unsigned)
    torch.save({"conv1.weight": Evil(roots / "made")}, study_folder("tiny").weights("random-0/baseA/seed-0"))
    with pytest.raises(Refused, match="is damaged"):
        train(study)
    file = roots / "mean.npz"
    with open(file, "wb") as handle:
        np.savez(handle, mean=np.array([Evil(roots / "made")]), data=np.array(packed.checksum))
    assert mean_image(task_of(packed, "random-0", "A"), 1, file).shape == (16, 16, 3)
    assert not (roots / "made").exists()


def test_nothing_in_the_package_can_unpickle_or_extract_or_start_a_shell() -> None:
    """Every call by its name: torch.load with weights_only, no np.load of pickles, no extraction, no shell."""
    checked = 0
    for file in sorted(PACKAGE.rglob("*.py")):
        for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
            name = ast.unparse(call.func)
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            where = f"{file.relative_to(PACKAGE)}:{call.lineno}: {name}"
            if name == "torch.load":
                checked += 1
                assert options.get("weights_only") == "True", where
            assert options.get("allow_pickle", "False") == "False", where
            assert options.get("shell", "False") == "False", where
            assert name not in ("pickle.load", "pickle.loads", "os.system", "eval", "exec"), where
            assert name.rpartition(".")[2] not in ("extractall", "unpack_archive"), where
            assert not name.endswith(".extract"), where
    assert checked == 2  # checkpoints, published weights


def test_a_tar_whose_names_and_links_lead_outside_writes_nothing_there(tmp_path: Path) -> None:
    source, outside = tmp_path / "in" / "official", tmp_path / "in"
    secret = put(tmp_path / "secret.JPEG", picture(7, 20, 30))
    train, val = ilsvrc_files()
    inner: dict[str, bytes] = {}
    for wnid in WNIDS:
        handle = io.BytesIO()
        with tarfile.open(fileobj=handle, mode="w") as archive:
            for name, data in train.items():
                if name.startswith(wnid):
                    add(archive, name.partition("/")[2], data)
            for name, target, kind in (
                (f"{wnid}_77.JPEG", str(secret), tarfile.SYMTYPE),
                (f"{wnid}_78.JPEG", "../../secret.JPEG", tarfile.LNKTYPE),
            ):
                link = tarfile.TarInfo(name)
                link.type, link.linkname = kind, target
                archive.addfile(link)
        inner[f"{wnid}.tar"] = handle.getvalue()
    put(source / "ILSVRC2012_img_train.tar", tar_of(inner))
    put(source / "ILSVRC2012_img_val.tar", tar_of(val))
    evil = {**devkit(TRUTH), "../../evil.txt": b"x", "/tmp/evil-of-a-test.txt": b"x"}
    put(source / "ILSVRC2012_devkit_t12.tar.gz", tar_of(evil, "w:gz"))
    packed = pack(str(source), outside / "packed", Options(workers=1))
    assert len(packed.train.labels) == len(train)  # what a link names is no picture of the archive
    assert not list(tmp_path.rglob("evil*")) and not Path("/tmp/evil-of-a-test.txt").exists()
    assert sorted(path.name for path in outside.iterdir()) == ["official", "packed"]


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "a/b", "/tmp/x", "a\x00"])
def test_the_name_of_a_study_leads_nowhere_else(name: str) -> None:
    with pytest.raises(Refused, match="write its name with letters"):
        tiny_study(["baseA"], name=name)


# ------------------------------------------------------------------------------------- what is written


def test_what_is_written_and_said_holds_no_secret_and_no_environment(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    secrets = {
        "WANDB_API_KEY": "f00dfeed" * 5,
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-K7MDENG",
        "SSH_AUTH_SOCK": "/run/user/agent-5521",
        "MY_WORD": "opensesame-4711",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    seen: list[bytes] = []
    original = os.replace

    def replaced(source: Any, destination: Any) -> None:  # also what is removed at the end
        seen.append(Path(source).read_bytes())
        original(source, destination)

    monkeypatch.setattr(os, "replace", replaced)
    study = tiny_study(["baseA", "A1A"], SHORT)
    train(study)
    # And a failure, whose reason is written down.
    monkeypatch.setattr("transferability.training.train.base_weights", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(tiny_study(["baseA", "A2A"], SHORT))
    said = capfd.readouterr()
    written = [path.read_bytes() for path in (roots / "runs").rglob("*") if path.is_file()]
    text = b"\n".join([*seen, *written, said.out.encode(), said.err.encode()])
    assert b"ZeroDivisionError" in text and len(seen) > 10
    for name, value in {**secrets, "PATH": os.environ["PATH"]}.items():
        assert name.encode() not in text
        if len(value) > 10:
            assert value.encode() not in text

"""Packing: equal bytes whatever the workers and interruptions; nothing half-written; every fault by name."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, folder, picture, pixels, png, put, somebody
from PIL import Image
from project import HELPERS
from typer.testing import CliRunner
from waiting import LIMIT, wait_for

from transferability.cli import app
from transferability.data import pack as module
from transferability.data.listing import ImageLists, ImageRef
from transferability.data.pack import Options, Rule, pack
from transferability.data.packed import FILES, describe, open_packed, read_manifest, verify
from transferability.files import Refused

# Packs, and stays at a moment until the test lets it go on: "noted": this process, when the journal has `count` blocks;
# "importing": each worker, at its start; "decoding": each worker, before its image number `count`.
RUN = f"""
import contextlib, os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, {str(HELPERS)!r})
from waiting import stay
from transferability.data import pack as module
from transferability.files import Refused

destination, workers, moment, count = Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
journal = destination.with_name(destination.name + ".partial") / "journal.jsonl"

def stay_here():
    stay(destination.with_name(f"stays-{{os.getpid()}}"), destination.with_name("go on"))

if moment == "importing" and __name__ == "__mp_main__":
    stay_here()
elif moment == "decoding" and __name__ == "__mp_main__":
    load, loaded = module.load, 0
    def load_and_stay(image):
        global loaded
        loaded += 1
        if loaded == count:
            stay_here()
        return load(image)
    module.load = load_and_stay
elif moment == "noted":
    original = module.progress
    @contextlib.contextmanager
    def progress(total):
        with original(total) as advance:
            def advance_and_stay(images):
                advance(images)
                if journal.read_text().count("sha256") >= count:
                    stay_here()
            yield advance_and_stay
    module.progress = progress

if __name__ == "__main__":
    # Started from a background job, this process would ignore Ctrl-C, and what it starts, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if moment == "file too large":
        resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))
    try:
        module.pack(sys.argv[1], destination, module.Options(256, workers=workers))
    except Refused as error:
        sys.exit(f"refused: {{error}}")
    except KeyboardInterrupt:
        sys.exit(130)
"""
PINNED_IDENTITY = "c647623ffb1683c7c4618e40988402f2adddb2fa26b0430040f8ab67750a338a"


def bytes_of(packed: Path) -> dict[str, bytes]:
    return {name: (packed / name).read_bytes() for name in (*FILES, "blocks.json")}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """272 pictures in 14 blocks of 256x256; decoding all of them takes a second or so."""
    root = tmp_path_factory.mktemp("many")
    data = [encoded(pixels(seed, 300, 400), "JPEG") for seed in range(8)]
    for c in range(8):
        for which, count in (("train", 26), ("val", 8)):
            for i in range(count):
                put(root / "set" / which / f"class {c}" / f"{i}.jpg", data[(c + i) % 8])
    return root / "set"


@pytest.fixture(scope="module")
def undisturbed(many: Path) -> dict[str, bytes]:
    """What packing `many` gives in one process, without interruption."""
    destination = many.parent / "undisturbed"
    pack(str(many), destination, Options(256, workers=1))
    return bytes_of(destination)


def start(
    source: Path, destination: Path, workers: int, moment: str = "", count: int = 0, stays: int = 1
) -> subprocess.Popen[str]:
    """Packs in a process of its own; returns when `stays` processes stay at the moment (see RUN)."""
    for file in destination.parent.glob("stays-*"):
        file.unlink()
    script = put(destination.parent / "run.py", RUN.encode())
    environment = os.environ | {"PYTHONPATH": str(Path(module.__file__).parents[2])}
    command = [sys.executable, str(script), str(source), str(destination), str(workers), moment, str(count)]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)

    def is_there() -> bool:
        assert run.poll() is None, run.communicate()
        return len([*destination.parent.glob("stays-*")]) == stays

    if moment in ("importing", "decoding", "noted"):
        wait_for(moment, is_there)
    return run


def test_workers_do_not_change_the_bytes(many: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    pack(str(many), tmp_path / "packed", Options(256, workers=3))
    assert bytes_of(tmp_path / "packed") == undisturbed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["packed"]
    assert sorted(p.name for p in (tmp_path / "packed").iterdir()) == sorted((*undisturbed, "manifest.json"))


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_again_and_again_it_ends_with_the_same_bytes(
    many: Path, undisturbed: dict[str, bytes], tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = tmp_path / "packed"
    for blocks in (2, 5, 9):
        run = start(many, destination, workers, "noted", blocks)
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        pids = children.read_text().split() if children.exists() else []
        run.kill()
        run.wait()
        assert not destination.exists()
        wait_for("the end of workers without a parent", lambda pids=pids: not any(map(alive, pids)))
    loaded = []
    load = module.load
    monkeypatch.setattr(module, "load", lambda picture: loaded.append(picture) or load(picture))
    pack(str(many), destination, Options(256, workers=1))
    assert bytes_of(destination) == undisturbed
    assert 0 < len(loaded) <= 272 - 9 * 19  # what was done before was not done again


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("moment", "count"), [("importing", 0), ("decoding", 25)])
def test_ctrl_c_is_one_line_and_loses_nothing(
    many: Path, undisturbed: dict[str, bytes], tmp_path: Path, moment: str, count: int
) -> None:
    run = start(many, tmp_path / "packed", 2, moment, count, stays=2)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: every process of the group
    (tmp_path / "go on").touch()
    _, errors = run.communicate(timeout=LIMIT)
    lines = errors.splitlines()
    assert run.returncode == 130 and len(lines) == 2
    assert lines[0].startswith("folder of class folders: 208 training and 64 validation")
    assert lines[1].startswith("interrupted with") and "run the same command again" in lines[1]
    assert not (tmp_path / "packed").exists()
    pack(str(many), tmp_path / "packed", Options(256))
    assert bytes_of(tmp_path / "packed") == undisturbed


def test_ctrl_c_does_not_break_into_the_pool_of_workers(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised in `wait`, KeyboardInterrupt could leave a lock held, and the pool would never shut down."""
    returned, wait = [], module.wait

    def press(*args: object, **options: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        returned.append(wait(*args, **options))  # type: ignore[call-overload]
        return returned[-1]

    monkeypatch.setattr(module, "wait", press)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            pack(str(many), tmp_path / "packed", Options(256, workers=2))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, previous)
    assert len(returned) == 1 and not (tmp_path / "packed").exists()


def test_ctrl_c_while_the_workers_end_is_not_lost(
    many: Path, undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutdown = module.ProcessPoolExecutor.shutdown

    def press(self: ProcessPoolExecutor, **options: bool) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        shutdown(self, **options)

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(module.ProcessPoolExecutor, "shutdown", press)
            with pytest.raises(KeyboardInterrupt):
                pack(str(many), tmp_path / "packed", Options(256, workers=2))
    finally:
        signal.signal(signal.SIGINT, previous)
    assert not (tmp_path / "packed").exists()
    pack(str(many), tmp_path / "packed", Options(256))
    assert bytes_of(tmp_path / "packed") == undisturbed


def test_a_full_disk_is_one_line_and_loses_nothing(many: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    run = start(many, tmp_path / "packed", 2, "file too large", 30_000_000)
    _, errors = run.communicate(timeout=LIMIT)
    assert run.returncode == 1 and errors.splitlines()[-1].startswith("refused: ")
    assert "cannot be written (File too large)" in errors and "Traceback" not in errors
    assert not (tmp_path / "packed").exists()
    pack(str(many), tmp_path / "packed", Options(256))
    assert bytes_of(tmp_path / "packed") == undisturbed


def test_a_block_damaged_between_two_runs_is_done_again(
    many: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    run = start(many, tmp_path / "packed", 1, "noted", 3)
    run.kill()
    run.wait()
    with open(tmp_path / "packed.partial" / "train-images.npy", "r+b") as handle:  # as after a power cut
        handle.seek(5_000_000)
        handle.write(bytes(1000))
    with open(tmp_path / "packed.partial" / "journal.jsonl", "a") as handle:
        handle.write('{"set": "train", "block": 1, "ke')
    pack(str(many), tmp_path / "packed", Options(256, workers=1))
    assert bytes_of(tmp_path / "packed") == undisturbed


def test_killed_between_rename_and_tidying(many: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    destination = tmp_path / "packed"
    pack(str(many), destination, Options(256))
    put(destination / "journal.jsonl", b"{}")
    put(destination / "lock", b"")
    assert open_packed(destination).size == 256
    pack(str(many), destination, Options(256))
    assert not (destination / "journal.jsonl").exists() and not (destination / "lock").exists()


def test_a_source_that_changed_while_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path / "set")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_small_files", stop)  # after all images, before anything else
        with pytest.raises(KeyboardInterrupt):
            pack(str(source), tmp_path / "packed")
    put(source / "train" / "bus" / "1.png", picture(77))
    (source / "val" / "cat" / "0.png").unlink()
    packed = pack(str(source), tmp_path / "packed")
    fresh = pack(str(source), tmp_path / "fresh")
    assert np.array_equal(packed.train.images[5], pixels(77)) and len(packed.val.labels) == 5
    assert bytes_of(tmp_path / "packed") == bytes_of(tmp_path / "fresh") and packed.checksum == fresh.checksum
    verify(packed)


def test_what_older_versions_packed_is_still_the_same(tmp_path: Path) -> None:
    """Pinned: another identity would make "packed already" into "holds another data set" for every folder there is."""
    lists = ImageLists(
        "folder of class folders",
        {
            "b": [ImageRef("file", "/x", "train/b/0.png", 0, 100, 7)],
            "a": [ImageRef("zip", "y.zip", "a/1.png", 0, 5, 9)],
        },
        {"a": [ImageRef("slice", "t.tar", "a/2.png", 512, 100, 8)], "b": [ImageRef("cifar", "c", "test[3]", 3, 9, 8)]},
    )
    classes = module.class_table(lists, None)
    rule = module.Rule(256, True, exact=False, stamp="")
    assert module.identity_of(lists, classes, rule) == PINNED_IDENTITY


def test_a_destination_that_is_a_link_to_an_empty_folder(tmp_path: Path) -> None:
    """Made by people who have a larger disk elsewhere: the unfinished set lies on that disk, too."""
    (tmp_path / "large disk" / "empty").mkdir(parents=True)
    (tmp_path / "packed").symlink_to(tmp_path / "large disk" / "empty")
    packed = pack(str(folder(tmp_path / "set")), tmp_path / "packed")
    assert packed.name == "packed" and os.listdir(tmp_path / "large disk") == ["empty"]
    assert open_packed(tmp_path / "packed").checksum == packed.checksum


def test_a_file_system_that_cannot_sync_folders_or_make_sparse_files_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder(tmp_path / "set")
    expected = pack(str(source), tmp_path / "expected")
    original = os.fsync

    def fsync(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        original(handle)

    def allocate(path: Path, header: bytes, size: int) -> None:  # as if truncate had failed
        path.touch()
        path.write_bytes(header)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(module, "allocate", allocate)
    assert pack(str(source), tmp_path / "packed").checksum == expected.checksum


def test_packed_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder(tmp_path / "set")
    first = pack(str(source), tmp_path / "packed")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "packed").iterdir()}
    again = pack(os.path.relpath(source), tmp_path / "packed")
    assert "is packed already: nothing to do" in capsys.readouterr().err
    assert again.checksum == first.checksum
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "packed").iterdir()} == times


def test_destinations_that_hold_something_else(tmp_path: Path) -> None:
    source = folder(tmp_path / "set")
    pack(str(source), tmp_path / "packed")
    kept = bytes_of(tmp_path / "packed")
    with pytest.raises(Refused, match=r"holds another data set"):
        pack(str(folder(tmp_path / "other", train=5)), tmp_path / "packed")
    with pytest.raises(Refused, match=r"holds another data set"):
        pack(str(source), tmp_path / "packed", Options(8))
    assert bytes_of(tmp_path / "packed") == kept
    with pytest.raises(Refused, match=r"not empty and no packed set"):
        pack(str(source), source)
    put(tmp_path / "thesis.partial" / "thesis.tex", b"")
    with pytest.raises(Refused, match=r"not of an unfinished packing"):
        pack(str(source), tmp_path / "thesis")
    assert os.listdir(tmp_path / "thesis.partial") == ["thesis.tex"]
    with pytest.raises(Refused, match=r"is a file"):
        pack(str(source), put(tmp_path / "file", b""))
    with pytest.raises(Refused, match=r"cannot be written"):
        pack(str(source), tmp_path / "file" / "packed")
    (tmp_path / "empty").mkdir()
    assert pack(str(source), tmp_path / "empty").size == 16


def test_two_at_once(many: Path, tmp_path: Path) -> None:
    run = start(many, tmp_path / "packed", 1, "noted", 1)
    with pytest.raises(Refused, match=r"is being written by another process"):
        pack(str(many), tmp_path / "packed", Options(256))
    run.kill()
    run.wait()


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder(tmp_path / "set")
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=10_000_000))
    with pytest.raises(Refused, match=r"no room: .* has 10 MB free and 57.7 MB are needed"):
        pack(str(source), tmp_path / "packed", Options(1024))
    assert "18 pictures" not in capsys.readouterr().out
    assert not (tmp_path / "packed").exists()
    assert not list((tmp_path / "packed.partial").glob("*.npy"))
    assert pack(str(source), tmp_path / "packed", Options(16)).size == 16


def test_the_bytes_are_said_beforehand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(str(folder(tmp_path / "set")), tmp_path / "packed", Options(64))
    first = capsys.readouterr().err.splitlines()[0]
    assert "12 training and 6 validation pictures of 3 classes, 64x64 pixels: 1.27 MB (" in first


# ---------------------------------------------------------------------------------- unreadable pictures


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unreadable_picture_stops_the_packing_by_name(many: Path, tmp_path: Path, workers: int) -> None:
    source = tmp_path / "set"
    for path in many.rglob("*.jpg"):
        target = source / path.relative_to(many)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(path)
    bad = source / "train" / "class 7" / "25.jpg"
    bad.unlink()
    put(bad, b"<html>404</html>")
    with pytest.raises(Refused, match=r"train/class 7/25.jpg cannot be read as a picture: it is damaged or in no"):
        pack(str(source), tmp_path / "packed", Options(256, workers=workers))
    assert not (tmp_path / "packed").exists()


def test_skipped_pictures_leave_no_trace_but_in_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("transferability.data.packed.BLOCK_BYTES", 2 * 16 * 16 * 3)  # two images per block
    source = folder(tmp_path / "set", train=5)
    clean = pack(str(source), tmp_path / "clean")
    put(source / "train" / "bus" / "0 first.png", b"")
    put(source / "train" / "bus" / "2b.png", picture(5)[:100])
    put(source / "val" / "ant" / "x", b"<html>")
    with pytest.raises(Refused, match=r"0 first.png cannot be read as a picture: it is empty; replace it"):
        pack(str(source), tmp_path / "packed")
    packed = pack(str(source), tmp_path / "packed", Options(skip_unreadable=True))
    assert packed.checksum == clean.checksum  # the same as if they had not been there
    skipped = json.loads((tmp_path / "packed" / "manifest.json").read_text())["skipped"]
    assert [(s["set"], s["class"], s["picture"]) for s in skipped] == [
        ("train", "bus", "train/bus/0 first.png"),
        ("train", "bus", "train/bus/2b.png"),
        ("val", "ant", "val/ant/x"),
    ]
    assert skipped[0]["reason"] == "is empty" and "damaged" in skipped[1]["reason"]
    assert "3 unreadable pictures left out" in describe(packed)
    assert "left out: " in capsys.readouterr().err


def test_a_class_of_unreadable_pictures_only_is_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "set")
    for path in (source / "val" / "bus").iterdir():
        put(path, b"")
    with pytest.raises(Refused, match=r"neither this nor any other picture of class bus in val can be read"):
        pack(str(source), tmp_path / "packed", Options(skip_unreadable=True))
    assert not (tmp_path / "packed").exists()


def test_without_skipping_again_the_bad_pictures_are_tried_again(tmp_path: Path) -> None:
    source = folder(tmp_path / "set")
    put(source / "train" / "bus" / "bad.png", b"")
    for path in (source / "val" / "bus").iterdir():
        put(path, b"")
    with pytest.raises(Refused, match=r"neither this"):
        pack(str(source), tmp_path / "packed", Options(skip_unreadable=True))
    for i in range(2):
        put(source / "val" / "bus" / f"{i}.png", picture(i))
    with pytest.raises(Refused, match=r"bus/bad.png cannot be read"):
        pack(str(source), tmp_path / "packed")


def test_pictures_and_folders_without_permission_are_named() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        root = Path(name)
        root.chmod(0o777)
        source = folder(root / "set")
        (source / "train" / "bus" / "1.png").chmod(0)
        with somebody(), pytest.raises(Refused, match=r"train/bus/1.png cannot be read .*Permission denied"):
            pack(str(source), root / "packed")
        (source / "train" / "bus").chmod(0)
        with somebody(), pytest.raises(Refused, match=r"train/bus cannot be read: permission denied"):
            pack(str(source), root / "packed")
        (source / "train" / "bus").chmod(0o755)


def odd_pictures() -> dict[str, tuple[bytes, np.ndarray | str]]:
    """File name → (content, the expected pixels, or the expected reason for a refusal)."""
    rgb = pixels(3, 40, 40)
    colours = Image.fromarray(rgb)
    sixteen = np.repeat((rgb[:, :, 0].astype(np.uint16) << 8)[:, :, None], 3, axis=2)
    turned = Image.Exif()
    turned[0x0112] = 6  # stored lying on its side
    whole = encoded(rgb, "JPEG", quality=95)
    few, black = colours.quantize(16).convert("RGB"), np.zeros((40, 40, 3), np.uint8)
    return {
        "a picture.txt": (encoded(rgb), rgb),
        "no extension": (encoded(rgb), rgb),
        "new\nline.png": (encoded(rgb), rgb),
        os.fsdecode(b"not \xff utf-8.png"): (encoded(rgb), rgb),
        "cmyk.jpg": (encoded(colours.convert("CMYK"), "JPEG", quality=95), rgb),
        "16 bits.png": (encoded(Image.fromarray(sixteen[:, :, 0])), (sixteen >> 8).astype(np.uint8)),
        "animated.gif": (encoded(few, "GIF", save_all=True, append_images=[Image.fromarray(black)]), np.asarray(few)),
        "turned.jpg": (encoded(np.ascontiguousarray(np.rot90(rgb)), "JPEG", quality=95, exif=turned), rgb),
        "1x1.png": (encoded(np.full((1, 1, 3), 9, np.uint8)), np.full((40, 40, 3), 9, np.uint8)),
        "60000x10.png": (encoded(np.full((10, 60_000, 3), 7, np.uint8)), np.full((40, 40, 3), 7, np.uint8)),
        "truncated.jpg": (whole[: len(whole) // 2], "is damaged"),
        "empty.jpg": (b"", "is empty"),
        "page.jpg": (b"<html><body>404 Not Found</body></html>", "is damaged or in no known picture format"),
        "bomb.png": (png(11_000, 11_000, 8, 2, b""), "has 11000x11000 pixels, more than 100,000,000"),
        "larger bomb.png": (png(60_000, 60_000, 8, 2, b""), "is damaged (Image size (3600000000 pixels) exceeds limit"),
    }


@pytest.mark.parametrize("name", odd_pictures())
def test_an_odd_picture_is_right_or_refused_by_name(name: str, tmp_path: Path) -> None:
    data, expected = odd_pictures()[name]
    source = folder(tmp_path / "set", ("ant", "bus"), train=1, val=1)
    (source / "train" / "ant" / "0.png").unlink()
    put(source / "train" / "ant" / name, data)
    if isinstance(expected, str):
        with pytest.raises(Refused) as refused:
            pack(str(source), tmp_path / "packed", Options(40))
        said = str(refused.value)
        assert f"train/ant/{name} cannot be read as a picture: it {expected}" in said and "\n" not in said
    else:
        image = pack(str(source), tmp_path / "packed", Options(40)).train.images[0]
        assert np.abs(image.astype(int) - expected).mean() < 5


# ------------------------------------------------------------------------------------------------- sizes


def test_pictures_of_different_sizes_need_a_size(tmp_path: Path) -> None:
    source = folder(tmp_path / "set")
    put(source / "val" / "cat" / "1.png", picture(0, 16, 24))
    with pytest.raises(Refused, match=r"differ in size \(.*val/cat/1.png is 24x16, the first one 16x16\).*--size"):
        pack(str(source), tmp_path / "packed")
    put(source / "train" / "ant" / "0.png", picture(0, 16, 24))
    with pytest.raises(Refused, match=r"train/ant/0.png is 24x16 pixels, not square: give --size S"):
        pack(str(source), tmp_path / "packed")
    assert pack(str(source), tmp_path / "packed", Options(16)).size == 16
    for size in (0, -3, 100_000):
        with pytest.raises(Refused, match=rf"--size {size}: the size must be between"):
            pack(str(source), tmp_path / "packed", Options(size))
    with pytest.raises(Refused, match=r"--workers 0"):
        pack(str(source), tmp_path / "packed", Options(16, workers=0))


def test_squashed_or_cut_out_of_the_middle(tmp_path: Path) -> None:
    source = folder(tmp_path / "set", train=1, val=1)
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255  # the middle square is white
    for name in ("tall", "wide"):
        put(source / "train" / name / "0.png", encoded(wide if name == "wide" else wide.transpose(1, 0, 2)))
        put(source / "val" / name / "0.png", picture(1))
    squashed = pack(str(source), tmp_path / "squashed", Options(30)).train.images
    cut = pack(str(source), tmp_path / "cut", Options(30, squash=False)).train.images
    ids = [c.id for c in open_packed(tmp_path / "cut").classes]
    for name in ("tall", "wide"):
        part = squashed[ids.index(name)]
        part = part if name == "wide" else part.transpose(1, 0, 2)
        assert part[:, :8].max() < 30 and part[:, 12:18].min() > 225 and part[:, 22:].max() < 30
        assert cut[ids.index(name), 2:-2, 2:-2].min() == 255
    ant = np.asarray(Image.fromarray(pixels(1000)).resize((30, 30), Image.Resampling.BICUBIC))
    assert np.array_equal(squashed[ids.index("ant")], ant)
    bilinear = pack(str(source), tmp_path / "bilinear", Options(30, resampling="bilinear")).train.images
    ant = np.asarray(Image.fromarray(pixels(1000)).resize((30, 30), Image.Resampling.BILINEAR))
    assert np.array_equal(bilinear[ids.index("ant")], ant) and not np.array_equal(bilinear, squashed)
    assert "(bilinear, antialiased)" in read_manifest(tmp_path / "bilinear")["resize"]
    with pytest.raises(Refused, match="holds another data set, or its source or options have changed"):
        pack(str(source), tmp_path / "squashed", Options(30, resampling="bilinear"))
    # What was packed before there was a choice is the same data set: its identity has no filter.
    assert repr(Rule(30, True, False, "")) == "Rule(size=30, squash=True, exact=False, stamp='')"


def test_packed_as_published_weights_want_it(tmp_path: Path) -> None:
    source = folder(tmp_path / "set", train=1, val=1)
    for options, size in (((), 232), (("--size", "40"), 40)):
        made = tmp_path / f"made-{size}"
        run = CliRunner().invoke(
            app, ["pack", str(source), str(made), "--for", "torchvision:ResNet50_Weights.IMAGENET1K_V2", *options]
        )
        assert run.exit_code == 0, run.exception
        how = read_manifest(made)["resize"]
        assert how == f"shorter side, then centre crop, to {size}x{size} (bilinear, antialiased)"


def test_extreme_shapes_fit(tmp_path: Path) -> None:
    source = folder(tmp_path / "set", train=1, val=1)
    put(source / "train" / "ant" / "point.png", encoded(np.full((1, 1, 3), 9, np.uint8)))
    put(source / "train" / "ant" / "line.png", encoded(np.full((10, 60_000, 3), 7, np.uint8)))
    for squash in (True, False):
        packed = pack(str(source), tmp_path / f"packed {squash}", Options(32, squash=squash))
        assert (packed.train.images[1] == 7).all() and (packed.train.images[2] == 9).all()


def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = pytest.importorskip("transferability.data.demo")
    monkeypatch.setattr(demo, "TRAIN_NUMBERS", range(3))
    monkeypatch.setattr(demo, "VAL_NUMBERS", range(1_000_000, 1_000_002))
    packed = pack("demo", tmp_path / "demo", Options(workers=1))
    assert len(packed.classes) == 40 and len(packed.train.labels) == 120 and len(packed.val.labels) == 80
    assert {c.group for c in packed.classes} == {"man-made", "natural"}
    for label in (0, 39):
        index = [c.id for c in demo.CLASSES].index(packed.classes[label].id)
        assert np.array_equal(packed.train.images[3 * label : 3 * label + 3], demo.paint_many(index, range(3)))
        assert np.array_equal(packed.val.images[2 * label + 1], demo.paint_many(index, [1_000_001])[0])
    assert Image.open(tmp_path / "demo" / "contact-sheet.png").width > 100

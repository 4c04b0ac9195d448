"""Packed sets: what was written is read, and nothing damaged is taken for whole."""

import errno
import json
import mmap
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import write_tiny
from waiting import LIMIT

from transferability.classes import ImageClass, ilsvrc_classes
from transferability.data import packed as module
from transferability.data.packed import (
    FILES,
    ImageSet,
    PackedImages,
    describe,
    empty_set,
    first_present,
    known_classes,
    open_packed,
    verify,
    verify_at_first_use,
    write_packed,
)
from transferability.files import Refused, read_json, write_json


def make(folder: Path, size: int = 8, seed: int = 0) -> PackedImages:
    draw = np.random.default_rng(seed)
    classes = [ImageClass(0, "a", "an a", "natural"), ImageClass(1, "b,\n\udcff", 'the "b"', "")]
    train = ImageSet(draw.integers(0, 256, (10, size, size, 3), dtype=np.uint8), np.repeat([0, 1], [4, 6]))
    val = ImageSet(draw.integers(0, 256, (5, size, size, 3), dtype=np.uint8), np.repeat([0, 1], [2, 3]))
    return write_packed(folder, "small", classes, train, val)


def change_byte(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_what_was_written_is_read_wherever_the_folder_lies(tmp_path: Path) -> None:
    first = make(tmp_path / "set")
    os.rename(tmp_path / "set", tmp_path / "moved")
    packed = open_packed(tmp_path / "moved")
    draw = np.random.default_rng(0)
    assert np.array_equal(packed.train.images, draw.integers(0, 256, (10, 8, 8, 3), dtype=np.uint8))
    assert np.array_equal(packed.val.images, draw.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8))
    assert packed.train.labels.tolist() == [0] * 4 + [1] * 6 and packed.val.labels.tolist() == [0] * 2 + [1] * 3
    assert packed.train.labels.dtype == np.int64
    assert packed.classes == (
        ImageClass(0, "a", "an a", "natural"),
        ImageClass(1, "b,\n\udcff", 'the "b"', ""),
    )
    assert (packed.name, packed.size, packed.checksum) == ("small", 8, first.checksum)
    assert verify(packed) == sum((packed.folder / name).stat().st_size for name in FILES)
    assert "10 training and 5 validation" in describe(packed) and "1 natural" in describe(packed)


def test_pictures_cannot_be_changed_by_accident(tmp_path: Path) -> None:
    packed = make(tmp_path / "set")
    with pytest.raises(ValueError):
        packed.train.images[0, 0, 0, 0] = 1
    with pytest.raises(ValueError):
        packed.train.labels[0] = 1


def test_the_checksum_is_of_the_content(tmp_path: Path) -> None:
    assert make(tmp_path / "a").checksum == make(tmp_path / "b").checksum
    assert make(tmp_path / "c", seed=1).checksum != make(tmp_path / "d").checksum


def test_the_checksum_of_sets_without_domains_is_what_it_was(tmp_path: Path) -> None:
    assert make(tmp_path / "a").checksum == "69beb362e5b956d7ec1f40e3b62ee2b71e485318833d2a74673b356fadbd457f"
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert [*manifest["files"]] == [*FILES] and not {"domains", "pool"} & set(manifest)


# ------------------------------------------------------------------------- domains, several classes, pools


def rich_set(count: int, seed: int) -> ImageSet:
    """`count` images with domains of two and classes of three; the second class is never the first that is present."""
    draw = np.random.default_rng(seed)
    several = np.array([[1, 1, 0], [1, 0, -1], [0, 0, 1]], np.int8)[np.sort(np.arange(count) % 3)]
    images = draw.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return ImageSet(images, first_present(several), draw.integers(0, 2, count), several)


def make_rich(
    folder: Path, train: ImageSet, val: ImageSet | None, domains: tuple[str, ...] = ("b", "é")
) -> PackedImages:
    classes = [ImageClass(i, name, name, "") for i, name in enumerate("abc")]
    return write_packed(folder, "rich", classes, train, val, domains)


@pytest.mark.parametrize("pool", [False, True])
def test_domains_and_several_classes_come_back(tmp_path: Path, pool: bool) -> None:
    train, val = rich_set(9, 0), rich_set(6, 1)
    written = make_rich(tmp_path / "set", train, None if pool else val)
    packed = open_packed(tmp_path / "set")
    assert (packed.checksum, packed.domains, packed.pool) == (written.checksum, ("b", "é"), pool)
    assert packed.train.labels.tolist() == [0] * 6 + [2] * 3
    sets = [(packed.train, train)] if pool else [(packed.train, train), (packed.val, val)]
    for read, expected in sets:
        assert np.array_equal(read.images, expected.images)
        assert {*read.arrays} == {"labels", "domains", "several"}
        for kind, array in read.arrays.items():
            assert np.array_equal(array, expected.arrays[kind]) and array.dtype == expected.arrays[kind].dtype
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
    if pool:
        assert packed.val.images.shape == (0, 8, 8, 3) and packed.val.labels.shape == (0,)
        assert [array.shape for array in packed.val.arrays.values()] == [(0,), (0,), (0, 3)]
    verify_at_first_use(packed)
    total = verify(packed)
    assert total == sum(file.stat().st_size for file in packed.folder.glob("*.[nc]*"))
    text = describe(packed)
    assert ("9 images in one pool" in text) == pool and ("9 training and 6 validation" in text) != pool
    counts = np.bincount(train.arrays["domains"] if pool else np.concatenate([train.domains, val.domains])).tolist()
    assert f"2 domains (with their images): b {counts[0]}, é {counts[1]}" in text
    assert f"1.33 classes per image, {3 if pool else 5} times not known" in text


def test_a_large_pool_is_checked_at_its_first_use_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_USE_BYTES", 0)
    monkeypatch.setattr(module, "BLOCK_BYTES", 3 * 8 * 8 * 3)
    packed = make_rich(tmp_path / "set", rich_set(9, 0), None)
    verify_at_first_use(packed)
    change_byte(packed.folder / "train-images.npy", -1)
    with pytest.raises(Refused, match=r"train-images.npy has changed .*block 3 of 4"):
        verify_at_first_use(packed)


def test_domains_and_several_classes_belong_to_the_checksum(tmp_path: Path) -> None:
    train, val = rich_set(9, 0), rich_set(6, 1)
    swapped, known = replace(train, domains=1 - train.arrays["domains"]), np.abs(train.arrays["several"])
    sets = {
        "a": make_rich(tmp_path / "a", train, val),
        "domains": make_rich(tmp_path / "domains", swapped, val),
        "names": make_rich(tmp_path / "names", train, val, ("b", "e")),
        "several": make_rich(tmp_path / "several", replace(train, several=known), val),
        "pool": make_rich(tmp_path / "pool", train, None),
    }
    assert len({packed.checksum for packed in sets.values()}) == len(sets)


@pytest.mark.parametrize("name", ["train-domains.npy", "val-several.npy"])
def test_a_damaged_file_of_domains_or_classes_is_refused(tmp_path: Path, name: str) -> None:
    packed = make_rich(tmp_path / "set", rich_set(9, 0), rich_set(6, 1))
    change_byte(packed.folder / name, -1)
    with pytest.raises(Refused, match=rf"{name} has changed"):
        open_packed(packed.folder)
    (packed.folder / name).unlink()
    with pytest.raises(Refused, match=rf"{name} is missing"):
        open_packed(packed.folder)


def test_arrays_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    train, val = rich_set(9, 0), rich_set(6, 1)
    wrong = {
        "index out of range": (replace(train, domains=np.full(9, 2)), val, "indices of 2 domains"),
        "one part alone": (replace(train, domains=None), val, "indices of 2 domains"),
        "labels of others": (replace(train, labels=np.sort(1 - train.labels.clip(0, 1))), val, "does not agree"),
        "marks": (replace(train, several=2 * train.arrays["several"]), val, "does not agree"),
        "nothing to train on": (empty_set(train), val, "0 training"),
        "no validation, and no pool": (train, empty_set(train), "0 validation"),
    }
    for name, (first, second, message) in wrong.items():
        with pytest.raises(Refused, match=message):
            make_rich(tmp_path / name, first, second)


def test_an_edited_manifest_of_a_pool_is_refused(tmp_path: Path) -> None:
    path = make_rich(tmp_path / "set", rich_set(9, 0), None).folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for edit in ({"pool": False}, {"domains": ["é", "b"]}, {"domains": []}):
        path.write_text(json.dumps(manifest | edit))
        with pytest.raises(Refused):
            open_packed(path.parent)


def test_missing_or_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # named by a path that says where it was looked for
    for name, source in (("nothing", "SOURCE"), ("demo", "demo")):
        place = tmp_path / "data" / name
        with pytest.raises(Refused, match=rf"^{place} does not exist: .* pack {source} {place}', or set TRANSFERABI"):
            open_packed(Path("data") / name)
    make(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").unlink()
    with pytest.raises(Refused, match=r"not a packed set"):
        open_packed(tmp_path / "set")


@pytest.mark.parametrize("name", FILES)
def test_a_file_missing_or_a_byte_short_or_long_is_refused(tmp_path: Path, name: str) -> None:
    packed = make(tmp_path / "set")
    path = packed.folder / name
    data = path.read_bytes()
    for wrong in (data[:-1], data + b"\0"):
        path.write_bytes(wrong)
        with pytest.raises(Refused, match=rf"{name} has .* bytes instead of {len(data)}"):
            open_packed(packed.folder)
    path.unlink()
    with pytest.raises(Refused, match=rf"{name} is missing"):
        open_packed(packed.folder)


@pytest.mark.parametrize("name", FILES[:3])
def test_a_changed_byte_in_a_small_file_is_seen_when_opening(tmp_path: Path, name: str) -> None:
    packed = make(tmp_path / "set")
    change_byte(packed.folder / name, -1)
    with pytest.raises(Refused, match=rf"{name} has changed"):
        open_packed(packed.folder)


def test_a_changed_byte_in_an_image_is_seen_when_verifying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 3 * 8 * 8 * 3)  # three images per block
    packed = make(tmp_path / "set")
    change_byte(packed.folder / "train-images.npy", -1)
    packed = open_packed(packed.folder)
    with pytest.raises(Refused, match=r"train-images.npy has changed .*in images 9 to 11, 1 of 5 blocks"):
        verify(packed)


@pytest.mark.parametrize("in_full", [True, False])
def test_first_use_checks_once_and_again_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_full: bool
) -> None:
    if not in_full:
        monkeypatch.setattr(module, "FIRST_USE_BYTES", 0)
    packed = make(tmp_path / "set")
    verify_at_first_use(packed)
    with monkeypatch.context() as patch:
        patch.setattr(module, "verify", None)
        patch.setattr(module, "_verify_sample", None)
        verify_at_first_use(packed)  # calls neither
    change_byte(packed.folder / "val-images.npy", -1)
    os.utime(packed.folder / "val-images.npy", ns=(1, 1))
    with pytest.raises(Refused, match=r"val-images.npy has changed"):
        verify_at_first_use(packed)
    with pytest.raises(Refused, match=r"val-images.npy has changed"):
        verify_at_first_use(packed)  # a failed check leaves no stamp


def test_an_edited_or_damaged_manifest_is_refused(tmp_path: Path) -> None:
    packed = make(tmp_path / "set")
    path = packed.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for edit in (
        {"checksum": "0" * 64},
        {"size": 9},
        {"counts": {"train": 10}},
        {"files": {}},
        {"format": 99},
    ):
        path.write_text(json.dumps(manifest | edit))
        with pytest.raises(Refused):
            open_packed(packed.folder)
    path.write_text(json.dumps(manifest))
    file = packed.folder / "val-images.npy"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"(", b"{", 1))  # NumPy itself would stumble over it
    with pytest.raises(Refused, match=r"set is damaged .*val-images.npy has another header"):
        open_packed(packed.folder)
    file.write_bytes(whole)
    path.write_text(json.dumps(manifest)[:-5])
    with pytest.raises(Refused, match=r"manifest.json"):
        open_packed(packed.folder)


def test_opening_needs_neither_torch_nor_pandas() -> None:
    code = "import sys, transferability.data.packed; print({'torch', 'pandas', 'PIL'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True)
    assert run.stdout.strip() == "set()"


# ------------------------------------------------------------------------------------- what others lack


@pytest.mark.parametrize("code", [errno.ENODEV, errno.EINVAL])
def test_a_file_system_without_shared_maps_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """FUSE with direct_io: a private map is then the same, and is as read-only."""
    expected, original = np.array(make(tmp_path / "set").train.images), mmap.mmap

    def shared_map_fails(*args: object, access: int, **options: object) -> mmap.mmap:
        if access == mmap.ACCESS_READ:
            raise OSError(code, os.strerror(code))
        return original(*args, access=access, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(mmap, "mmap", shared_map_fails)
    packed = open_packed(tmp_path / "set")
    assert np.array_equal(packed.train.images, expected) and verify(packed)
    with pytest.raises(ValueError, match="read-only"):
        packed.train.images[0, 0, 0, 0] = 1


def test_a_file_system_without_any_maps_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "set")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(mmap, "mmap", fail)
    with pytest.raises(Refused, match=r"train-images.npy cannot be mapped into memory \(No such device\).*copy the"):
        open_packed(tmp_path / "set")


# ------------------------------------------------------------------------------------------ known classes


def test_the_classes_of_a_set_are_known_once_it_is_packed(tmp_path: Path) -> None:
    assert known_classes(tmp_path / "flowers") is None
    packed = make(tmp_path / "flowers")
    assert known_classes(tmp_path / "flowers") == packed.classes
    make(tmp_path / "ilsvrc2012")
    assert known_classes(tmp_path / "ilsvrc2012") == packed.classes  # those that are packed, whatever the name


def test_the_classes_of_the_demo_and_of_ilsvrc_are_known_before(tmp_path: Path) -> None:
    for name in ("ilsvrc2012", "imagenet-64"):
        assert known_classes(tmp_path / name) == ilsvrc_classes()
    demo = known_classes(tmp_path / "demo")
    assert demo is not None and len(demo) == 40 and demo[0] == ImageClass(0, "d00_gear", "gear", "man-made")


def test_a_manifest_whose_list_of_unreadable_images_is_none_is_damaged(tmp_path: Path) -> None:
    packed = write_tiny(tmp_path / "tiny")
    manifest = read_json(packed.folder / "manifest.json")
    write_json(packed.folder / "manifest.json", manifest | {"skipped": -1})
    with pytest.raises(Refused, match="is damaged"):
        open_packed(packed.folder)

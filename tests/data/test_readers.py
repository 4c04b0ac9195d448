"""Every arrangement of files is read in the right classes and order; every broken one is refused."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ilsvrc import TRUTH, WNIDS, devkit, ilsvrc_files, tar_of
from pictures import encoded, folder, picture, pixels, put, zipped
from PIL import Image
from project import SHARED

from transferability.data.ilsvrc import devkit_truth
from transferability.data.pack import Options, pack
from transferability.data.packed import PackedImages, open_packed, verify
from transferability.data.readers import list_images
from transferability.files import Refused

PICTURES = SHARED / "data"


def packed_set(source: Path | str, tmp_path: Path, **options: object) -> PackedImages:
    return pack(str(source), tmp_path / "packed", Options(workers=1, **options))  # type: ignore


# ------------------------------------------------------------------------------------ folders of classes


@pytest.mark.parametrize("kind", ["folder", "zip", "zip below a folder"])
def test_folder_of_class_folders(tmp_path: Path, kind: str) -> None:
    source = folder(tmp_path / "set")
    if kind != "folder":
        source = zipped(source, tmp_path / "set.zip", "set/" if "below" in kind else "")
    packed = packed_set(source, tmp_path)
    assert [c.id for c in packed.classes] == ["ant", "bus", "cat"] and packed.size == 16
    assert [c.name for c in packed.classes] == ["ant", "bus", "cat"] and {c.group for c in packed.classes} == {""}
    seeds = {"cat": 0, "ant": 1000, "bus": 2000}
    expected = [pixels(seeds[c] + i) for c in ("ant", "bus", "cat") for i in range(4)]
    assert np.array_equal(packed.train.images, expected)
    assert packed.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    expected = [pixels(seeds[c] + 500 + i) for c in ("ant", "bus", "cat") for i in range(2)]
    assert np.array_equal(packed.val.images, expected)


def test_pictures_below_the_class_folder_hidden_files_and_any_extension(tmp_path: Path) -> None:
    source = folder(tmp_path / "set", train=1)
    put(source / "train" / "ant" / "more" / "deep" / "x.jpg", picture(7))  # a PNG
    for clutter in (".DS_Store", "Thumbs.db", "more/._x.jpg", ".ipynb_checkpoints/0.png"):
        put(source / "train" / "ant" / clutter, b"clutter")
    put(source / "train" / ".hidden" / "0.png", b"clutter")
    put(source / "README.txt", b"about")
    packed = packed_set(source, tmp_path)
    assert packed.train.labels.tolist() == [0, 0, 1, 2]
    assert np.array_equal(packed.train.images[1], pixels(7))


def test_odd_names_and_links(tmp_path: Path) -> None:
    source = folder(tmp_path / "set", classes=("with space", "new\nline", os.fsdecode(b"not \xff utf-8")), train=1)
    (source / "train" / "with space" / "loop").symlink_to(source / "train")
    (source / "train" / "with space" / "own").symlink_to(source / "train" / "with space")
    outside = put(tmp_path / "elsewhere" / "picture.png", picture(9))
    (source / "train" / "new\nline" / "link\n1.png").symlink_to(outside)
    os.rename(source / "train" / "new\nline" / "0.png", os.fsencode(source / "train" / "new\nline") + b"/\xfe.png")
    lists = list_images(str(source))
    assert sorted(lists.train) == sorted(("with space", "new\nline", "not \udcff utf-8"))
    assert len(lists.train["new\nline"]) == 2
    again = list_images(str(source))
    assert again == lists
    good = pack(str(source), tmp_path / "good", Options(workers=1))
    assert {c.id for c in open_packed(good.folder).classes} == set(lists.train)
    assert len(good.train.labels) == sum(map(len, lists.train.values())) and verify(good)
    put(source / "train" / "new\nline" / "bad", b"")
    with pytest.raises(Refused) as refused:
        packed_set(source, tmp_path)
    assert "new\\nline/bad" in str(refused.value) and "\n" not in str(refused.value)


def test_folders_linked_all_to_all_end(tmp_path: Path) -> None:
    source = folder(tmp_path / "set", classes=tuple(f"c{i:02d}" for i in range(12)), train=1, val=1)
    for linking in (source / "train").iterdir():
        for other in sorted((source / "train").iterdir()):
            (linking / f"to {other.name}").symlink_to(other)
    lists = list_images(str(source))
    assert {len(pictures) for pictures in lists.train.values()} == {12}


def test_a_loop_of_links_alone_is_named(tmp_path: Path) -> None:
    source = folder(tmp_path / "set")
    (source / "train" / "ant" / "a").symlink_to("b")
    (source / "train" / "ant" / "b").symlink_to("a")
    with pytest.raises(Refused, match=r"train/ant/a .*broken link"):
        packed_set(source, tmp_path)
    (source / "train" / "ant" / "a").unlink()
    (source / "train" / "ant" / "b").unlink()
    os.mkfifo(source / "train" / "ant" / "pipe")  # reading it would wait for ever
    with pytest.raises(Refused, match=r"train/ant/pipe .*no regular file"):
        packed_set(source, tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    def refused(change: str, message: str) -> None:
        source = folder(tmp_path / change.replace(" ", "-"))
        if change == "no val":
            os.rename(source / "val", source / "wal")
        elif change == "no train":
            os.rename(source / "train", source / "drain")
        elif change == "empty class":
            (source / "train" / "dog").mkdir()
        elif change == "class only in val":
            put(source / "val" / "dog" / "0.png", picture(0))
        elif change == "class only in train":
            put(source / "train" / "dog" / "0.png", picture(0))
        elif change == "stray":
            put(source / "train" / "0.png", picture(0))
        with pytest.raises(Refused, match=message):
            packed_set(source, tmp_path)
        assert not (tmp_path / "packed").exists() and not (tmp_path / "packed.partial").exists()

    refused("no val", "has no folder val/")
    refused("no train", "has no folder train/")
    refused("empty class", "class dog has no training pictures")
    refused("class only in val", "class dog has validation but no training pictures")
    refused("class only in train", "class dog has training but no validation pictures")
    refused("stray", "train/0.png lies beside the class folders")
    with pytest.raises(Refused, match=r"does not exist"):
        packed_set(tmp_path / "nowhere", tmp_path)
    with pytest.raises(Refused, match=r"neither a folder nor a whole zip"):
        packed_set(put(tmp_path / "file.zip", b"PK no zip"), tmp_path)


def test_a_zip_whose_names_lead_outside_writes_nothing_there(tmp_path: Path) -> None:
    source = folder(tmp_path / "set")
    archive = zipped(source, tmp_path / "set.zip")
    with zipfile.ZipFile(archive, "a") as handle:
        handle.writestr("../../evil.png", picture(0))
        handle.writestr("train/ant/../../../../evil2.png", picture(3))
    outside = sorted(tmp_path.parent.rglob("*evil*"))
    packed = packed_set(archive, tmp_path)
    assert sorted(tmp_path.parent.rglob("*evil*")) == outside == []
    assert len(packed.train.labels) == 12  # a name with '..' is no picture of the class


def test_a_damaged_zip_names_the_picture(tmp_path: Path) -> None:
    archive = zipped(folder(tmp_path / "set"), tmp_path / "set.zip")
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as handle:
        at = handle.getinfo("train/bus/2.png").header_offset + 60
    data[at] ^= 255
    archive.write_bytes(data)
    with pytest.raises(Refused, match=r"set.zip/train/bus/2.png cannot be read"):
        packed_set(archive, tmp_path)


@pytest.mark.parametrize("honest", [True, False])
def test_bombs_in_a_zip_are_refused_unread(honest: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few kB that unpack to 16 MB, and that say so, or say that they are small."""
    monkeypatch.setattr("transferability.data.listing.MAX_FILE_BYTES", 2**20)
    archive = zipped(folder(tmp_path / "set"), tmp_path / "set.zip")
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as handle:
        handle.writestr("train/bus/bomb.png", bytes(16_000_000))
    if not honest:
        data = archive.read_bytes()
        assert data.count(struct.pack("<L", 16_000_000)) == 2
        archive.write_bytes(data.replace(struct.pack("<L", 16_000_000), struct.pack("<L", 1000)))
    tracemalloc.start()
    with pytest.raises(
        Refused,
        match=r"set.zip/train/bus/bomb.png cannot be read as a picture: it (has 16,000,000 bytes, more than|.*CRC)",
    ):
        packed_set(archive, tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


def test_bombs_in_the_development_kit_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferability.data.ilsvrc.MAX_FILE_BYTES", 2**20)
    kit = {name: bytes(2**21) if name.endswith("meta.mat") else data for name, data in devkit(TRUTH).items()}
    with pytest.raises(Refused, match=r"holds no meta.mat"):
        devkit_truth(Path("kit.tar.gz"), io.BytesIO(tar_of(kit, "w:gz")))


def test_many_classes_of_one_picture_each(tmp_path: Path) -> None:
    archive = tmp_path / "set.zip"
    data = encoded(np.zeros((2, 2, 3), np.uint8))
    with zipfile.ZipFile(archive, "w") as handle:
        for which in ("train", "val"):
            for c in range(2_000):
                handle.writestr(f"{which}/class {c}/one", data)
    packed = packed_set(archive, tmp_path)
    assert len(packed.classes) == 2_000 and packed.train.labels.tolist() == list(range(2_000))
    assert [c.id for c in packed.classes] == sorted(c.id for c in packed.classes)


@pytest.mark.parametrize("packing", ["folder", "zip"])
def test_of_two_train_folders_as_deep_neither_is_taken(tmp_path: Path, packing: str) -> None:
    """Images, and masks of the same names beside them."""
    source = tmp_path / "set"
    folder(source / "images")
    folder(source / "annotations")
    given = source if packing == "folder" else zipped(source, tmp_path / "set.zip", "set/")
    with pytest.raises(
        Refused, match=r"annotations/train and .*images/train: .*the folder that holds the one you mean"
    ):
        packed_set(given, tmp_path)
    os.rename(source / "annotations" / "val", source / "annotations" / "other")  # then only one has both
    given = source if packing == "folder" else zipped(source, tmp_path / "second.zip", "set/")
    assert len(packed_set(given, tmp_path).train.labels) == 12


@pytest.mark.parametrize("packing", ["folder", "zip"])
def test_the_train_folder_least_deep_is_taken_wherever_it_is(tmp_path: Path, packing: str) -> None:
    """A class may be called train; a folder may hold the data set in a folder of its own, as unpacking leaves it."""
    source = tmp_path / "outer"
    folder(source / "inner", classes=("train", "val", "car"))
    folder(source / "more" / "old")
    packed = packed_set(source if packing == "folder" else zipped(source, tmp_path / "set.zip"), tmp_path)
    assert [c.id for c in packed.classes] == ["car", "train", "val"]


@pytest.mark.parametrize("packing", ["folder", "zip"])
@pytest.mark.parametrize(
    ("train", "val"), [("Train", "VAL"), ("Training", "Validation"), ("train", "valid"), ("train", "test")]
)
def test_the_parts_under_other_names(tmp_path: Path, train: str, val: str, packing: str) -> None:
    source = folder(tmp_path / "set")
    os.rename(source / "train", source / train)
    os.rename(source / "val", source / val)
    if val != "test":  # it is the validation part only where there is no other
        put(source / "test" / "ant" / "0.png", picture(7))
    packed = packed_set(source if packing == "folder" else zipped(source, tmp_path / "set.zip"), tmp_path)
    assert (len(packed.train.labels), len(packed.val.labels)) == (12, 6)


def test_a_folder_of_a_zip_names_the_zip(tmp_path: Path) -> None:
    zipped(folder(tmp_path / "set"), put(tmp_path / "download" / "set.zip", b""))
    with pytest.raises(Refused, match=r"download has no folder train/: .*; it holds set.zip: give that"):
        packed_set(tmp_path / "download", tmp_path)


def test_accents_may_be_composed_differently_in_train_and_val(tmp_path: Path) -> None:
    """A disk of macOS has é as two characters."""
    source = folder(tmp_path / "set", classes=("cafe\u0301", "bus"))
    os.rename(source / "val" / "cafe\u0301", source / "val" / "caf\u00e9")
    table = put(tmp_path / "groups.csv", "id,group\ncaf\u00e9,man-made\nbus,man-made\n".encode())
    packed = packed_set(source, tmp_path, groups=table)
    assert [(c.id, c.group) for c in packed.classes] == [("bus", "man-made"), ("cafe\u0301", "man-made")]
    assert packed.val.labels.tolist() == [0, 0, 1, 1]


def test_the_archive_that_a_class_was_unpacked_from_may_stay(tmp_path: Path) -> None:
    source = folder(tmp_path / "set")
    put(source / "train" / "ant.tar", tar_of({"0.png": picture(0)}))
    assert len(packed_set(source, tmp_path).train.labels) == 12
    put(source / "train" / "dog.tar", tar_of({"0.png": picture(0)}))
    with pytest.raises(Refused, match=r"dog.tar lies beside the class folders"):
        list_images(str(source))


# ------------------------------------------------------------------------------------------------ groups


def test_groups_from_wordnet_ids_and_from_the_users_table(tmp_path: Path) -> None:
    by_id = pack(str(folder(tmp_path / "wordnet", WNIDS)), tmp_path / "a")
    assert [(c.name, c.group) for c in by_id.classes] == [
        ("tench", "natural"), ("goldfish", "natural"), ("chainlink fence", "man-made"),
    ]  # fmt: skip
    source = folder(tmp_path / "own")
    table = put(tmp_path / "groups.csv", b"id,group,name\nant,natural,the ant\nbus,man-made,\ncat,,\n")
    given = pack(str(source), tmp_path / "b", Options(groups=table))
    assert [(c.name, c.group) for c in given.classes] == [
        ("the ant", "natural"),
        ("bus", "man-made"),
        ("cat", ""),
    ]


@pytest.mark.parametrize(
    "table,message",
    [
        ("id,group\nant,natural\nbus,man-made\n", "class cat is missing"),
        ("id,group\nant,natural\nbus,man-made\ncat,\ndog,natural\n", "class dog is not in the data set"),
        ("id,group\nant,natural\nbus,artificial\ncat,\n", "the group of bus is 'artificial'"),
        ("id,group\nant,natural\nant,natural\nbus,\ncat,\n", "class ant stands there twice"),
        ("ant,natural\nbus,\n", "needs the columns id and group"),
        ("", "needs the columns id and group"),
    ],
)
def test_tables_of_groups_that_do_not_fit(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        packed_set(folder(tmp_path / "own"), tmp_path, groups=put(tmp_path / "groups.csv", table.encode()))


# --------------------------------------------------------------------------------------- Tiny ImageNet


def tiny_imagenet(root: Path) -> Path:
    """As published: note that val_10 comes after val_2 in the annotations, and before it as text."""
    labels = [WNIDS[i % 3] for i in range(12)]
    for c, wnid in enumerate(WNIDS):
        put(root / "train" / wnid / f"{wnid}_boxes.txt", f"{wnid}_0.JPEG\t0\t0\t5\t5\n".encode())
        for i in range(3):
            put(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", picture(100 * c + i))
    for i in range(12):
        put(root / "val" / "images" / f"val_{i}.JPEG", picture(1000 + i))
    lines = "".join(f"val_{i}.JPEG\t{wnid}\t0\t0\t5\t5\n" for i, wnid in enumerate(labels))
    put(root / "val" / "val_annotations.txt", lines.encode())
    put(root / "wnids.txt", "\n".join(reversed(WNIDS)).encode())
    put(root / "words.txt", b"n00001740\tentity\nn01440764\ttench, Tinca tinca\nn01443537\tgoldfish\n")
    return root


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_tiny_imagenet(tmp_path: Path, kind: str) -> None:
    source = tiny_imagenet(tmp_path / "tiny-imagenet-200")
    if kind == "zip":
        source = zipped(source, tmp_path / "t.zip", "tiny-imagenet-200/")
    packed = packed_set(source, tmp_path)
    assert [(c.id, c.name, c.group) for c in packed.classes] == [
        ("n01440764", "tench", "natural"),
        ("n01443537", "goldfish", "natural"),
        ("n03000134", "n03000134", "man-made"),
    ]  # fmt: skip
    assert packed.train.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert packed.val.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    order = [i for c in range(3) for i in range(c, 12, 3)]
    assert np.array_equal(packed.val.images, [pixels(1000 + i) for i in order])


def test_tiny_imagenet_that_does_not_fit_together(tmp_path: Path) -> None:
    source = tiny_imagenet(tmp_path / "tiny")
    extra = put(source / "val" / "images" / "val_12.JPEG", picture(0))
    with pytest.raises(Refused, match=r"val_12.JPEG is not in val_annotations.txt"):
        packed_set(source, tmp_path)
    extra.unlink()
    os.rename(source / "val" / "images" / "val_3.JPEG", tmp_path / "val_3.JPEG")
    with pytest.raises(Refused, match=r"val_3.JPEG of val_annotations.txt is not in val/images"):
        packed_set(source, tmp_path)
    os.rename(tmp_path / "val_3.JPEG", source / "val" / "images" / "val_3.JPEG")
    annotations = source / "val" / "val_annotations.txt"
    lines = annotations.read_text()
    put(annotations, f"{lines}val_12.JPEG\n".encode())
    with pytest.raises(Refused, match=r"val_annotations.txt gives val_12.JPEG no class"):
        packed_set(source, tmp_path)
    put(annotations, lines.encode())
    put(source / "wnids.txt", "\n".join((*WNIDS, "n07711569")).encode())
    with pytest.raises(Refused, match=r"class n07711569 has no folder in train/"):
        packed_set(source, tmp_path)


@pytest.mark.parametrize("place", ["val", "val/images", "val with images/", "val, val/images left"])
@pytest.mark.parametrize("annotations", [True, False])
@pytest.mark.parametrize("packing", ["folder", "zip"])
def test_tiny_imagenet_with_val_sorted_by_hand(tmp_path: Path, place: str, annotations: bool, packing: str) -> None:
    """As scripts for PyTorch sort it, into class folders of val/ or of val/images/."""
    source = tiny_imagenet(tmp_path / "tiny-imagenet-200")
    images = source / "val" / "images"
    for file in sorted(images.iterdir()):
        wnid = WNIDS[int(file.stem.removeprefix("val_")) % 3]
        target = source / place.partition(" ")[0].rstrip(",") / wnid / ("images" if "with" in place else "")
        target.mkdir(parents=True, exist_ok=True)
        file.rename(target / file.name)
    if place == "val, val/images left":
        put(images / ".DS_Store", b"")
    elif place != "val/images":
        images.rmdir()
    if not annotations:
        (source / "val" / "val_annotations.txt").unlink()
    packed = packed_set(source if packing == "folder" else zipped(source, tmp_path / "t.zip"), tmp_path)
    assert [c.name for c in packed.classes] == ["tench", "goldfish", "chainlink fence"]
    assert packed.train.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3  # without the tables of boxes
    order = [i for c in range(3) for i in sorted(range(c, 12, 3), key=str)]  # of the names as text
    assert np.array_equal(packed.val.images, [pixels(1000 + i) for i in order])


def test_tiny_imagenet_with_val_copied_into_folders_is_as_published(tmp_path: Path) -> None:
    source = tiny_imagenet(tmp_path / "tiny")
    published = list_images(str(source))
    put(source / "val" / WNIDS[0] / "val_0.JPEG", picture(1000))
    assert list_images(str(source)) == published and len(published.val) == 3


def test_the_real_tiny_imagenet() -> None:
    archive = PICTURES / "tiny-imagenet-200-subset.zip"
    if not archive.exists():
        pytest.skip("Tiny ImageNet is not here")
    lists = list_images(str(archive))
    assert lists.arrangement == "Tiny ImageNet as published"
    assert {len(p) for p in lists.train.values()} == {200} and {len(p) for p in lists.val.values()} == {50}
    assert len(lists.train) == 200 and lists.names["n01443537"] == "goldfish"


# ----------------------------------------------------------------------------------------------- CIFAR


def cifar(root: Path, fine: int = 10) -> Path:
    """Pickles as published, few pictures; returns the root that torchvision was given."""
    draw = np.random.default_rng(0)
    ten = fine == 10
    at = root / ("cifar-10-batches-py" if ten else "cifar-100-python")
    at.mkdir(parents=True)

    def dump(name: str, content: dict[str, object]) -> None:
        (at / name).write_bytes(pickle.dumps(content, protocol=2))

    names = [f"class {i:02d}" for i in range(fine)]
    dump("batches.meta" if ten else "meta", {"label_names" if ten else "fine_label_names": names})
    batches = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"] if ten else ["train", "test"]
    for name in batches:
        labels = draw.permutation(np.arange(2 * fine) % fine).tolist()
        data = draw.integers(0, 256, (2 * fine, 3072), dtype=np.uint8)
        dump(
            name,
            {"data": data, "labels" if ten else "fine_labels": labels, "filenames": ["x.png"] * 2 * fine},
        )
    return root


@pytest.mark.parametrize("fine", [10, 100])
@pytest.mark.parametrize("inside", [False, True])
def test_cifar(tmp_path: Path, fine: int, inside: bool) -> None:
    source = cifar(tmp_path / "data", fine)
    packed = packed_set(next(source.iterdir()) if inside else source, tmp_path)
    per_class = 10 if fine == 10 else 2
    assert packed.train.labels.tolist() == [c for c in range(fine) for _ in range(per_class)]
    assert len(packed.val.labels) == 2 * fine and packed.size == 32 and packed.classes[3].id == "class 03"
    first = pickle.loads((next(source.iterdir()) / ("data_batch_1" if fine == 10 else "train")).read_bytes())
    row = first["labels" if fine == 10 else "fine_labels"].index(3)
    image = packed.train.images[3 * per_class]
    assert np.array_equal(image, first["data"][row].reshape(3, 32, 32).transpose(1, 2, 0))


@pytest.mark.parametrize("fine", [10, 100])
@pytest.mark.parametrize("suffix", [".tar.gz", ".tar"])
@pytest.mark.parametrize("give", ["the tar", "its folder"])
def test_cifar_in_the_tar_that_is_downloaded(tmp_path: Path, fine: int, suffix: str, give: str) -> None:
    unpacked = next(cifar(tmp_path / "data", fine).iterdir())
    files = {f"{unpacked.name}/{file.name}": file.read_bytes() for file in unpacked.iterdir()}
    files |= {f"{unpacked.name}/readme.html": b"<html>"}
    name = f"cifar-{fine}-python{suffix}"
    archive = put(tmp_path / "download" / name, tar_of(files, "w:gz" if suffix == ".tar.gz" else "w"))
    expected = pack(str(unpacked), tmp_path / "expected")
    packed = packed_set(archive if give == "the tar" else archive.parent, tmp_path)
    assert packed.checksum == expected.checksum


def test_a_damaged_tar_of_cifar_is_named(tmp_path: Path) -> None:
    unpacked = next(cifar(tmp_path / "data").iterdir())
    files = {f"{unpacked.name}/{file.name}": file.read_bytes() for file in sorted(unpacked.iterdir())}
    whole = tar_of(files, "w:gz")
    for data, message in (
        (whole[: len(whole) // 2], r"cifar.tar.gz(/data_batch_\d)? is (damaged|no batch)"),
        (tar_of(dict(list(files.items())[:3]), "w:gz"), "cifar.tar.gz holds no data_batch_3"),
    ):
        with pytest.raises(Refused, match=message):
            list_images(str(put(tmp_path / str(len(data)) / "cifar.tar.gz", data)))


def test_both_cifars_in_one_folder_have_to_be_told_apart(tmp_path: Path) -> None:
    cifar(tmp_path / "data")
    cifar(tmp_path / "data", 100)
    with pytest.raises(
        Refused, match=r"holds CIFAR-10 and CIFAR-100: give .*cifar-10-batches-py or .*cifar-100-python"
    ):
        list_images(str(tmp_path / "data"))


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    source = cifar(tmp_path / "data")

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "evil"),)

    (source / "cifar-10-batches-py" / "data_batch_2").write_bytes(pickle.dumps({"data": Evil()}))
    with pytest.raises(Refused, match=r"data_batch_2 is no batch of CIFAR .*mkdir"):
        packed_set(source, tmp_path)
    assert not (tmp_path / "evil").exists()


def test_a_missing_or_truncated_batch_is_named(tmp_path: Path) -> None:
    source = cifar(tmp_path / "data")
    batch = source / "cifar-10-batches-py" / "data_batch_4"
    batch.write_bytes(batch.read_bytes()[:-100])
    with pytest.raises(Refused, match=r"data_batch_4 is no batch of CIFAR"):
        packed_set(source, tmp_path)
    batch.unlink()
    with pytest.raises(Refused, match=r"data_batch_4 is missing"):
        packed_set(source, tmp_path)


# ----------------------------------------------------------------------------------------- ILSVRC 2012


def ilsvrc_tars(root: Path) -> Path:
    train, val = ilsvrc_files()
    by_class = {w: {n.partition("/")[2]: d for n, d in train.items() if n.startswith(w)} for w in WNIDS}
    put(root / "ILSVRC2012_img_train.tar", tar_of({f"{w}.tar": tar_of(by_class[w]) for w in reversed(WNIDS)}))
    put(root / "ILSVRC2012_img_val.tar", tar_of(dict(reversed(val.items()))))
    put(root / "ILSVRC2012_devkit_t12.tar.gz", tar_of(devkit(TRUTH), "w:gz"))
    return root


def check_ilsvrc(packed: PackedImages) -> None:
    assert [(c.id, c.name) for c in packed.classes] == list(
        zip(WNIDS, ("tench", "goldfish", "chainlink fence"), strict=True)
    )
    assert [c.group for c in packed.classes] == ["natural", "natural", "man-made"]
    assert packed.size == 256 and packed.val.labels.tolist() == [0, 0, 1, 1, 2, 2]

    def squashed(seed: int) -> np.ndarray:
        return np.asarray(Image.fromarray(pixels(seed, 20, 30)).resize((256, 256), Image.Resampling.BICUBIC))

    for row, n in enumerate((10, 100, 9)):  # in the order of the names as text, as in the authors' lists
        assert np.array_equal(packed.train.images[6 + row], squashed(200 + n))
    for row, i in enumerate((2, 3, 1, 5, 0, 4)):
        assert np.array_equal(packed.val.images[row], squashed(1000 + i))


def test_ilsvrc_from_the_official_tar_files(tmp_path: Path) -> None:
    source = ilsvrc_tars(tmp_path / "official")
    files = sorted(source.iterdir())
    check_ilsvrc(packed_set(source, tmp_path))
    assert sorted(source.iterdir()) == files


@pytest.mark.parametrize("truth", ["by class", "devkit", "devkit.tar.gz", "kaggle"])
def test_ilsvrc_unpacked(tmp_path: Path, truth: str) -> None:
    train, val = ilsvrc_files()
    source = root = tmp_path / "unpacked"
    wnids = [WNIDS[{1: 2, 2: 0, 3: 1}[i]] for i in TRUTH]
    if truth == "kaggle":
        root = source / "ILSVRC" / "Data" / "CLS-LOC"
        rows = [f"{name[:-5]},{wnid} 1 2 3 4 {wnid} 5 6 7 8" for name, wnid in zip(val, wnids, strict=True)]
        put(source / "LOC_val_solution.csv", "\n".join(["ImageId,PredictionString", *reversed(rows)]).encode())
    for name, data in train.items():
        put(root / "train" / name, data)
    for (name, data), wnid in zip(val.items(), wnids, strict=True):
        put(root / "val" / (f"{wnid}/{name}" if truth == "by class" else name), data)
    if truth == "devkit":
        for name, data in devkit(TRUTH).items():
            put(root / name, data)
    elif truth == "devkit.tar.gz":
        put(root / "ILSVRC2012_devkit_t12.tar.gz", tar_of(devkit(TRUTH), "w:gz"))
    # Three classes sorted by class do not look like ILSVRC: there the size must be given.
    check_ilsvrc(packed_set(source, tmp_path, size=256 if truth == "by class" else None))


def kaggle(root: Path) -> Path:
    """ILSVRC 2012 as Kaggle publishes it: three folders deep, with XML in folders of the same names, as deep."""
    train, val = ilsvrc_files()
    wnids = [WNIDS[{1: 2, 2: 0, 3: 1}[i]] for i in TRUTH]
    for name, data in train.items():
        put(root / "ILSVRC" / "Data" / "CLS-LOC" / "train" / name, data)
        put(root / "ILSVRC" / "Annotations" / "CLS-LOC" / "train" / name.replace("JPEG", "xml"), b"<annotation/>")
    for name, data in val.items():
        put(root / "ILSVRC" / "Data" / "CLS-LOC" / "val" / name, data)
        put(root / "ILSVRC" / "Annotations" / "CLS-LOC" / "val" / name.replace("JPEG", "xml"), b"<annotation/>")
    put(root / "ILSVRC" / "Data" / "CLS-LOC" / "test" / "ILSVRC2012_test_00000001.JPEG", b"")
    put(root / "ILSVRC" / "ImageSets" / "CLS-LOC" / "val.txt", b"ILSVRC2012_val_00000001 1\n")
    rows = [f"{name[:-5]},{wnid} 1 2 3 4 {wnid} 5 6 7 8" for name, wnid in zip(val, wnids, strict=True)]
    put(root / "LOC_val_solution.csv", "\n".join(["ImageId,PredictionString", *reversed(rows)]).encode())
    put(root / "LOC_synset_mapping.txt", b"")
    return root


@pytest.mark.parametrize("give", ["", "ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC", "zip", "zip in a folder"])
def test_ilsvrc_as_kaggle_publishes_it_from_any_of_its_folders(tmp_path: Path, give: str) -> None:
    source = kaggle(tmp_path / "imagenet-object-localization-challenge")
    if give.startswith("zip"):
        check_ilsvrc(packed_set(zipped(source, tmp_path / "k.zip", "" if give == "zip" else "challenge/"), tmp_path))
    else:
        check_ilsvrc(packed_set(source / give, tmp_path))


@pytest.mark.parametrize("kit", ["tar.gz", "tgz", "tar", "folder"])
@pytest.mark.parametrize("place", ["beside train/", "above", "beside the zip"])
def test_the_development_kit_may_lie_beside(tmp_path: Path, kit: str, place: str) -> None:
    train, val = ilsvrc_files()
    source = tmp_path / "imagenet" / "images"
    for which, files in (("train", train), ("val", val)):
        for name, data in files.items():
            put(source / which / name, data)
    at = source if place == "beside train/" else source.parent
    if kit == "folder":
        for name, data in devkit(TRUTH).items():
            put(at / name, data)
    else:
        put(at / f"ILSVRC2012_devkit_t12.{kit}", tar_of(devkit(TRUTH), "w" if kit == "tar" else "w:gz"))
    check_ilsvrc(packed_set(zipped(source, at / "images.zip") if place == "beside the zip" else source, tmp_path))


def torchvision_root(root: Path) -> Path:
    """What torchvision.datasets.ImageNet leaves: class folders, and the tar files that it unpacked."""
    train, val = ilsvrc_files()
    wnids = [WNIDS[{1: 2, 2: 0, 3: 1}[i]] for i in TRUTH]
    for name, data in train.items():
        put(root / "train" / name, data)
    for (name, data), wnid in zip(val.items(), wnids, strict=True):
        put(root / "val" / wnid / name, data)
    put(root / "meta.bin", b"")
    return ilsvrc_tars(root)


@pytest.mark.parametrize("thrown_away", ["img_train.tar", "img_val.tar", "devkit_t12.tar.gz", "img_*.tar", "*"])
def test_ilsvrc_as_torchvision_leaves_it_without_some_tar_files(tmp_path: Path, thrown_away: str) -> None:
    source = torchvision_root(tmp_path / "imagenet")
    for file in source.glob(f"ILSVRC2012_{thrown_away}"):
        file.unlink()
    check_ilsvrc(packed_set(source, tmp_path, size=256))


def test_with_all_tar_files_and_folders_the_tar_files_are_read(tmp_path: Path) -> None:
    assert list_images(str(torchvision_root(tmp_path / "imagenet"))).arrangement == "ILSVRC 2012, official tar files"


def test_clutter_in_the_official_tar_files_is_left_out(tmp_path: Path) -> None:
    """As they are after somebody made them anew on macOS."""
    train, val = ilsvrc_files()
    by_class = {w: {n.partition("/")[2]: d for n, d in train.items() if n.startswith(w)} for w in WNIDS}
    tars = {f"./{w}.tar": tar_of({f"._{w}_9.JPEG": b"", ".DS_Store": b"", **by_class[w]}) for w in WNIDS}
    source = tmp_path / "official"
    put(source / "ILSVRC2012_img_train.tar", tar_of({"./._n01440764.tar": b"", **tars}))
    put(source / "ILSVRC2012_img_val.tar", tar_of({"._ILSVRC2012_val_00000001.JPEG": b"", "Thumbs.db": b"", **val}))
    put(source / "ILSVRC2012_devkit_t12.tar.gz", tar_of({"._meta.mat": b"", **devkit(TRUTH)}, "w:gz"))
    check_ilsvrc(packed_set(source, tmp_path))


def test_one_of_the_official_tar_files_alone_names_their_folder(tmp_path: Path) -> None:
    source = ilsvrc_tars(tmp_path / "official")
    for name in ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"):
        with pytest.raises(Refused, match=rf"{name} is one of the three files .*: give the folder that holds them"):
            list_images(str(source / name))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("ImageId;PredictionString\nILSVRC2012_val_00000001;n01440764 1 2 3 4\n", "holds 6 .* ground truth has 1"),
        ("ImageId,PredictionString\nILSVRC2012_val_00000001,\n", "gives ILSVRC2012_val_00000001 no class"),
        ("ImageId,PredictionString\nILSVRC2012_val_00000002,n01440764\n", "every validation picture once"),
        ("name,label\nx,y\n", "LOC_val_solution.csv needs the columns"),
    ],
)
def test_a_table_of_kaggles_that_does_not_fit_is_named(tmp_path: Path, table: str, message: str) -> None:
    source = kaggle(tmp_path / "kaggle")
    put(source / "LOC_val_solution.csv", table.encode())
    with pytest.raises(Refused, match=message):
        list_images(str(source))


def test_a_damaged_meta_mat_is_one_line(tmp_path: Path) -> None:
    """Whatever was damaged: read in a process of its own, it cannot end this one."""
    kit = devkit(TRUTH)
    name = next(name for name in kit if name.endswith("meta.mat"))
    whole = kit[name]
    flipped = bytearray(whole)
    for at in range(0x80, 0x90):  # the tag and the flags of the array
        flipped[at] ^= 0x55
    for data in (b"", whole[:100], whole[: len(whole) // 2], bytes(flipped), bytes(1000), b"MATLAB" * 100):
        with pytest.raises(
            Refused, match=r"kit: meta.mat is damaged \(.*\): download the development kit again"
        ) as refused:
            devkit_truth(Path("kit"), io.BytesIO(tar_of(kit | {name: data}, "w:gz")))
        assert "\n" not in str(refused.value)


def test_a_crash_of_the_reader_of_meta_mat_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr("transferability.data.ilsvrc._META_READER", crash)
    with pytest.raises(Refused, match=r"meta.mat is damaged \(its reader was ended by SIGSEGV\)"):
        devkit_truth(Path("kit"), io.BytesIO(tar_of(devkit(TRUTH), "w:gz")))


def test_broken_ilsvrc_is_refused_by_name(tmp_path: Path) -> None:
    source = ilsvrc_tars(tmp_path / "official")

    def refused(name: str, data: bytes | None, message: str) -> None:
        good = (source / name).read_bytes()
        (source / name).unlink()
        if data is not None:
            put(source / name, data)
        with pytest.raises(Refused, match=message):
            packed_set(source, tmp_path)
        put(source / name, good)

    train = (source / "ILSVRC2012_img_train.tar").read_bytes()
    val = (source / "ILSVRC2012_img_val.tar").read_bytes()
    refused("ILSVRC2012_img_val.tar", None, "ILSVRC2012_img_val.tar is missing")
    refused("ILSVRC2012_img_train.tar", None, "ILSVRC2012_img_train.tar is missing")
    refused("ILSVRC2012_devkit_t12.tar.gz", None, "devkit_t12.tar.gz is missing")
    refused("ILSVRC2012_devkit_t12.tar.gz", b"\x1f\x8b none", "devkit_t12.tar.gz is damaged")
    refused("ILSVRC2012_devkit_t12.tar.gz", tar_of({}, "w:gz"), "holds no")
    short = tar_of(devkit(TRUTH[:-1]), "w:gz")
    refused("ILSVRC2012_devkit_t12.tar.gz", short, "holds 6 validation pictures, but the ground truth has 5")
    wrong = tar_of(devkit([9] * 6), "w:gz")
    refused("ILSVRC2012_devkit_t12.tar.gz", wrong, "do not fit together")
    refused(
        "ILSVRC2012_img_train.tar",
        train[: len(train) // 2],
        "ILSVRC2012_img_train.tar is (truncated|damaged)",
    )
    refused("ILSVRC2012_img_train.tar", b"no tar" * 1000, "ILSVRC2012_img_train.tar is damaged")
    refused("ILSVRC2012_img_val.tar", val[:1000], "ILSVRC2012_img_val.tar is (truncated|damaged)")
    twice = tar_of({f"{WNIDS[0]}.tar": tar_of({"x": b""}), f"a/{WNIDS[0]}.tar": tar_of({"x": b""})})
    refused("ILSVRC2012_img_train.tar", twice, "not the tar of one more class")
    check_ilsvrc(packed_set(source, tmp_path))


def test_flat_validation_without_ground_truth(tmp_path: Path) -> None:
    train, val = ilsvrc_files()
    for name, data in train.items():
        put(tmp_path / "set" / "train" / name, data)
    for name, data in val.items():
        put(tmp_path / "set" / "val" / name, data)
    with pytest.raises(Refused, match=r"not sorted by class; put ILSVRC2012_devkit_t12.tar.gz"):
        packed_set(tmp_path / "set", tmp_path)


def test_real_ilsvrc_pictures_in_tar_files(tmp_path: Path) -> None:
    archive = PICTURES / "imagenet-samples.zip"
    if not archive.exists():
        pytest.skip("the sample pictures are not here")
    with zipfile.ZipFile(archive) as samples:
        names = [n for n in samples.namelist() if n.endswith(".JPEG")][::34]
        data = {n.split("/")[-2]: samples.read(n) for n in names}
    assert len(data) == 3
    ids = sorted(data)
    source = tmp_path / "official"
    put(
        source / "ILSVRC2012_img_train.tar",
        tar_of({f"{w}.tar": tar_of({f"{w}_1.JPEG": data[w]}) for w in ids}),
    )
    val = {f"ILSVRC2012_val_{i + 1:08d}.JPEG": data[w] for i, w in enumerate(ids)}
    put(source / "ILSVRC2012_img_val.tar", tar_of(val))
    put(source / "ILSVRC2012_devkit_t12.tar.gz", tar_of(devkit([1, 2, 3], tuple(ids)), "w:gz"))
    packed = packed_set(source, tmp_path)
    assert [c.id for c in packed.classes] == ids and packed.train.images.shape == (3, 256, 256, 3)
    for row, wnid in enumerate(ids):
        image = Image.open(io.BytesIO(data[wnid])).convert("RGB")
        expected = np.asarray(image.resize((256, 256), Image.Resampling.BICUBIC))
        assert np.array_equal(packed.train.images[row], expected)
        assert np.array_equal(packed.val.images[row], expected)

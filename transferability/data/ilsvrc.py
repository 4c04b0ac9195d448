"""ILSVRC 2012: the official tar files and the development kit, and the ground truth of a flat validation folder."""

import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from transferability.classes import ilsvrc_classes
from transferability.data.listing import (
    MAX_FILE_BYTES,
    Entries,
    ImageLists,
    ImageRef,
    bytes_of,
    folder_entries,
    tar_members,
    tar_slice,
)
from transferability.data.matlab import read_mat
from transferability.files import Refused, parse_table, shown

TRAIN_TAR, VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
DEVKIT = "ILSVRC2012_devkit_t12"
DEVKIT_TARS = tuple(f"{DEVKIT}{suffix}" for suffix in (".tar.gz", ".tgz", ".tar"))
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
KAGGLE_TRUTH = "LOC_val_solution.csv"
VAL_NAME = re.compile(r"ILSVRC2012_val_(\d{8})(\.jpe?g|\.png|\.webp)?", re.IGNORECASE)


def class_names() -> dict[str, str]:
    """Names of the 1,000 classes by their WordNet ids."""
    return {c.id: c.name for c in ilsvrc_classes()}


def has_all_tars(path: Path) -> bool:
    """Whether the folder holds the training, validation and development kit tars."""
    return all((path / name).is_file() for name in (TRAIN_TAR, VAL_TAR)) and _devkit_tar(path) is not None


def has_some_tar(path: Path) -> bool:
    """Whether the folder holds the training or the validation tar."""
    return (path / TRAIN_TAR).exists() or (path / VAL_TAR).exists()


def _devkit_tar(path: Path) -> Path | None:
    return next((path / name for name in DEVKIT_TARS if (path / name).is_file()), None)


def tar_images(path: Path) -> ImageLists:
    """The three official files, read where they lie. An image is a slice of a tar, found by the headers.

    The training tar holds one tar per class, uncompressed, so the images inside those are slices of it too.
    """
    devkit = _devkit_tar(path)
    for file in (path / TRAIN_TAR, path / VAL_TAR, devkit or path / DEVKIT_TARS[0]):
        if not file.is_file():
            raise Refused(
                f"{shown(file)} is missing: ILSVRC 2012 needs its training, validation and development"
                " kit files in one folder, or train/ and val/ unpacked"
            )
    assert devkit is not None
    train: dict[str, list[ImageRef]] = {}
    for member in tar_members(path / TRAIN_TAR):
        wnid = Path(member.name).stem
        if not member.name.endswith(".tar") or wnid in train:
            name = shown(member.name)
            raise Refused(f"{shown(path / TRAIN_TAR)} holds {name}, which is not the tar of one more class")
        images = tar_members(path / TRAIN_TAR, member.offset_data, member.offset_data + member.size)
        train[wnid] = [tar_slice(path / TRAIN_TAR, image, f"{member.name}/") for image in images]
        train[wnid].sort(key=lambda image: image.name)
    val = [tar_slice(path / VAL_TAR, member) for member in tar_members(path / VAL_TAR)]
    with open(devkit, "rb") as handle:
        truth = devkit_truth(devkit, handle)
    return ImageLists(
        "ILSVRC 2012, official tar files",
        train,
        sort_by_truth(path / VAL_TAR, val, truth),
        names=class_names(),
        default_size=256,
    )


def flat_images(entries: Entries, folder: str) -> list[ImageRef]:
    """The validation images that lie in `folder` itself, under the names that ILSVRC 2012 gave them."""
    return [
        image
        for name, image in entries.items()
        if image is not None
        and name.rpartition("/")[0] == folder
        and (match := VAL_NAME.fullmatch(name.rpartition("/")[2]))
        and match[2]
    ]


def sort_by_truth(path: Path, images: list[ImageRef], truth: list[str]) -> dict[str, list[ImageRef]]:
    """Validation images by class: number i of the name (from 1) has class truth[i - 1]. `path` is for errors."""
    val: dict[str, list[ImageRef]] = {}
    if len(images) != len(truth):
        raise Refused(
            f"{shown(path)} holds {len(images):,} validation pictures, but the ground truth has"
            f" {len(truth):,}: unpack or download the validation pictures again"
        )
    for i, image in enumerate(sorted(images, key=lambda image: image.name)):
        match = VAL_NAME.fullmatch(image.name.rpartition("/")[2])
        if not match or int(match[1]) != i + 1:
            raise Refused(f"{image.place} stands where validation picture number {i + 1} was expected")
        val.setdefault(truth[i], []).append(image)
    return val


# ------------------------------------------------------------------------------------------- ground truth


def ground_truth(path: Path, entries: Entries) -> list[str]:
    """WordNet ids of the flat validation images of the folder or archive `path`, in the order of their numbers.

    From the development kit or Kaggle's table: among the entries of `path`, or in one of the three folders above it.
    """
    for place, files in _places(path, entries):
        truth = _truth_in(place, files)
        if truth is not None:
            return truth
    raise Refused(
        f"{shown(path)}: the validation pictures are not sorted by class; put {DEVKIT}.tar.gz (or its"
        f" unpacked folder), or Kaggle's {KAGGLE_TRUTH}, into this folder"
    )


def _places(path: Path, entries: Entries) -> Iterator[tuple[Path, Entries]]:
    """Where the ground truth may lie: Kaggle's table lies three folders above its train/ and val/."""
    yield path, entries
    for folder in path.resolve().parents[:3]:
        try:
            yield folder, folder_entries(folder, "", (DEVKIT.lower(),))
        except OSError:
            return


def _truth_in(path: Path, entries: Entries) -> list[str] | None:
    files = {name.rpartition("/")[2]: name for name, file in entries.items() if file is not None}
    if GROUND_TRUTH in files and "meta.mat" in files:
        return _truth(path, bytes_of(entries, files["meta.mat"]), bytes_of(entries, files[GROUND_TRUTH]))
    for name in DEVKIT_TARS:
        if name in files:
            return devkit_truth(path / files[name], io.BytesIO(bytes_of(entries, files[name])))
    if KAGGLE_TRUTH in files:
        return _kaggle_truth(path / files[KAGGLE_TRUTH], bytes_of(entries, files[KAGGLE_TRUTH]))
    return None


def _kaggle_truth(path: Path, table: bytes) -> list[str]:
    """Kaggle's table, in no order: ImageId, and PredictionString, which begins with the WordNet id."""
    truth: dict[int, str] = {}
    for row in parse_table(table, shown(path), ("imageid", "predictionstring")):
        match, wnid = VAL_NAME.fullmatch(row["imageid"]), row["predictionstring"].partition(" ")[0]
        if not match or not wnid:
            raise Refused(f"{shown(path)} gives {shown(row['imageid'])} no class: download it again")
        truth[int(match[1])] = wnid
    if sorted(truth) != list(range(1, len(truth) + 1)):
        raise Refused(f"{shown(path)} does not have every validation picture once: download it again")
    return [truth[number] for number in sorted(truth)]


def devkit_truth(path: Path, handle: IO[bytes]) -> list[str]:
    """WordNet ids of the validation images, from the tar of the development kit, read in memory."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=handle) as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if member.isreg() and name in ("meta.mat", GROUND_TRUTH) and member.size <= MAX_FILE_BYTES:
                    files[name] = archive.extractfile(member).read()  # type: ignore[union-attr]
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise Refused(f"{shown(path)} is damaged ({error}): download it again") from None
    if missing := {"meta.mat", GROUND_TRUTH} - set(files):
        raise Refused(f"{shown(path)} holds no {min(missing)}: it is not the development kit of ILSVRC 2012")
    return _truth(path, files["meta.mat"], files[GROUND_TRUTH])


def _truth(path: Path, meta: bytes, truth: bytes) -> list[str]:
    wnids = _read_meta(path, meta)
    try:
        return [wnids[int(line)] for line in truth.split()]
    except (KeyError, ValueError) as error:
        raise Refused(
            f"{shown(path)}: meta.mat and {GROUND_TRUTH} do not fit together ({error!r}): download the development"
            " kit again"
        ) from None


_META_READER = """
import io, sys
import numpy as np
from scipy.io import loadmat
synsets = loadmat(io.BytesIO(sys.stdin.buffer.read()), squeeze_me=True)["synsets"]
for row in np.atleast_1d(synsets):
    print(int(row["ILSVRC2012_ID"]), str(row["WNID"]))
"""


def _read_meta(path: Path, meta: bytes) -> dict[int, str]:
    """WordNet ids by the numbers that ILSVRC 2012 gave its classes, from meta.mat."""
    place, advice = f"{shown(path)}: meta.mat", "download the development kit again"
    lines = [line.split() for line in read_mat(_META_READER, meta, place, advice).splitlines()]
    if not all(len(line) == 2 and line[0].isdecimal() for line in lines):
        raise Refused(f"{place} is damaged (it holds other values): {advice}")
    return {int(number): wnid for number, wnid in lines}

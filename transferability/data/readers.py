"""Where pictures come from: every arrangement of files that `transferability pack` reads.

`open_source` finds out what it was given and lists the pictures of every class, without unpacking or copying
anything; `read` fetches one of them. One function per arrangement:

    demo                the demo pictures, drawn by the package itself
    a folder            with train/ and val/ of one folder per class; also a zip of it
    Tiny ImageNet       as published, zip or unpacked: the classes of val/ stand in val_annotations.txt
    CIFAR-10, -100      as torchvision downloads them
    ILSVRC 2012         the official tar files and the development kit, read where they lie; or unpacked, val/
                        by class, or flat with the ground truth of the development kit (or of Kaggle's table)

Every file in a class's folder counts as a picture, whatever its extension, except hidden ones.
"""

import csv
import io
import os
import pickle
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transferability.data.decode import Unreadable
from transferability.files import Refused
from transferability.splits import ilsvrc_classes

MAX_FILE_BYTES = 2**28  # of one encoded picture; nothing larger is a picture of a data set
CLUTTER = {"Thumbs.db", "desktop.ini", "__MACOSX"}
TRAIN_FOLDERS = ("train", "ILSVRC2012_img_train")
VAL_FOLDERS = ("val", "ILSVRC2012_img_val")
# Kaggle's archive of ILSVRC keeps train/ and val/ down here.
INNER_FOLDERS = ("", "ILSVRC/Data/CLS-LOC/", "Data/CLS-LOC/")
DEVKIT = "ILSVRC2012_devkit_t12"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
FLAT_VAL = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG", re.IGNORECASE)


class Picture(NamedTuple):
    """Where one picture is: a file, a zip's member, a tar's slice, a row of CIFAR, a number of the demo."""

    kind: str  # 'file', 'zip', 'slice', 'cifar', 'demo'
    container: str  # folder, archive or pickle; for the demo, the class index
    name: str
    offset: int = 0  # slice: first byte; cifar: row; demo: number
    length: int = 0  # bytes of the encoded picture (negative: no regular file); cifar: of the pickle
    changed: int = 0  # time of the file in ns, or CRC in the zip: tells a picture from its later version

    @property
    def key(self) -> tuple[str, str, int, int, int]:
        """What is packed, wherever the source lies."""
        return (self.kind, self.name, self.offset, self.length, self.changed)

    @property
    def where(self) -> str:
        """For people: the path, in one printable line."""
        return shown(self.name if self.kind == "demo" else f"{self.container}/{self.name}")


@dataclass(frozen=True)
class Source:
    """The pictures of a data set, by class id, in the order of the file list; names, groups."""

    kind: str
    train: dict[str, list[Picture]]
    val: dict[str, list[Picture]]
    names: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    default_size: int | None = None  # None: the pictures' own common size
    stamp: str = ""  # what the pictures' keys do not tell: the version of the demo's drawings


def open_source(source: str) -> Source:
    """Lists the pictures of `source`: the word `demo`, a folder or a zip. Refused if it is none of them."""
    if source == "demo":
        return demo_source()
    path = Path(source).expanduser()
    if not path.exists():
        raise Refused(f"{shown(path)} does not exist: give a folder, a zip, or the word demo")
    try:
        if path.is_file():
            if not zipfile.is_zipfile(path):
                raise Refused(
                    f"{shown(path)} is neither a folder nor a whole zip: unpack it, or, with the tar files of"
                    " ILSVRC 2012, give the folder that holds them"
                )
            return tree_source(path, zip_entries(path))
        if cifar := cifar_folder(path):
            return cifar_source(cifar)
        if (path / "ILSVRC2012_img_train.tar").exists() or (path / "ILSVRC2012_img_val.tar").exists():
            return ilsvrc_tar_source(path)
        return tree_source(path, folder_entries(path))
    except PermissionError as error:
        raise Refused(f"{shown(error.filename or path)} cannot be read: permission denied") from None
    except OSError as error:
        raise Refused(f"{shown(error.filename or path)} cannot be read: {error.strerror or error}") from None


def shown(path: object) -> str:
    """A path in one printable line: newlines and bytes that are not UTF-8 are escaped."""
    text = os.fsencode(str(path)).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def read(picture: Picture) -> bytes | np.ndarray:
    """The encoded file as bytes, or the pixels (H, W, 3) uint8 where the source holds pixels.

    Raises Unreadable, OSError, or what the reader of a damaged archive raises."""
    if picture.kind == "cifar":
        pixels: np.ndarray = cifar_batch(picture.container)["data"][picture.offset]
        return pixels.reshape(3, 32, 32).transpose(1, 2, 0)
    if picture.length < 0:
        raise Unreadable("is a broken link or no regular file")
    if picture.length > MAX_FILE_BYTES:
        raise Unreadable(f"has {picture.length:,} bytes, more than any picture")
    if picture.kind == "zip":
        with _open_zip(picture.container).open(picture.name) as handle:
            return handle.read(picture.length)  # so much: what is there may unpack to more than the zip says
    if picture.kind == "slice":
        with open(picture.container, "rb") as handle:
            handle.seek(picture.offset)
            data = handle.read(picture.length)
        if len(data) != picture.length:
            raise Unreadable("is cut off: the tar file is truncated")
        return data
    with open(os.path.join(picture.container, picture.name), "rb") as handle:
        return handle.read(MAX_FILE_BYTES)


@lru_cache(maxsize=2)
def _open_zip(path: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


# -------------------------------------------------------------------------------------- folders and zips
# Both are listed as {relative path: Picture, or None for a folder}; everything after that is the same.

Entries = dict[str, Picture | None]


def folder_entries(root: Path) -> Entries:
    """Lists what matters in a folder: train/, val/, the development kit, and the files beside them.

    Links are followed, but into no folder twice, so that loops end.
    """
    entries: Entries = {}
    inner = next((i for i in INNER_FOLDERS if any((root / i / t).is_dir() for t in TRAIN_FOLDERS)), "")
    for folder in dict.fromkeys(("", inner)):
        for entry in os.scandir(root / folder):
            name = folder + entry.name
            if _is_folder(entry):
                entries[name] = None
                if entry.name == DEVKIT or (folder == inner and entry.name in TRAIN_FOLDERS + VAL_FOLDERS):
                    entries.update(_walk(str(root), name, set(), top=True))
            else:
                entries[name] = _file_picture(str(root), name, entry)
    return entries


def _walk(
    root: str, folder: str, seen: set[tuple[int, int]], top: bool = False
) -> Iterator[tuple[str, Picture | None]]:
    """Everything below a folder. Each real folder is entered once per folder of the `top` level (a class)."""
    stat = os.stat(os.path.join(root, folder))
    if (stat.st_dev, stat.st_ino) in seen:
        return
    seen.add((stat.st_dev, stat.st_ino))
    with os.scandir(os.path.join(root, folder)) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{folder}/{entry.name}"
        if _is_folder(entry):
            yield name, None
            yield from _walk(root, name, set(seen) if top else seen)
        else:
            yield name, _file_picture(root, name, entry)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself


def _file_picture(root: str, name: str, entry: os.DirEntry[str]) -> Picture:
    try:
        if entry.is_file():
            return Picture("file", root, name, 0, entry.stat().st_size, entry.stat().st_mtime_ns)
    except OSError:
        pass  # a link that leads nowhere, or to itself: named when it is read
    return Picture("file", root, name, 0, -1, 0)


def zip_entries(path: Path) -> Entries:
    """Lists a zip. Nothing is unpacked, so its names lead nowhere on the disk."""
    entries: Entries = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                for i in (i for i, c in enumerate(info.filename) if c == "/"):
                    entries[info.filename[:i]] = None
                if not info.is_dir():
                    picture = Picture("zip", str(path), info.filename, 0, info.file_size, info.CRC)
                    entries[info.filename] = picture
    except (zipfile.BadZipFile, NotImplementedError) as error:  # the latter: of a version that there is not
        raise Refused(f"{shown(path)} is damaged ({error}): download it again") from None
    return entries


def tree_source(path: Path, entries: Entries) -> Source:
    """A folder or zip with train/ and val/, in any of the usual arrangements."""
    train_folder = _find_folder(path, entries, TRAIN_FOLDERS)
    inner = train_folder.rpartition("/")[0]
    val_folder = _find_folder(path, entries, VAL_FOLDERS, inner)
    annotations = entries.get(f"{val_folder}/val_annotations.txt")
    if annotations and entries.get(f"{val_folder}/images", annotations) is None:
        return tiny_imagenet_source(path, entries, inner, train_folder, val_folder)
    if annotations:  # Tiny ImageNet, val/ sorted into folders of classes by hand
        del entries[f"{val_folder}/val_annotations.txt"]

    train = by_class(entries, train_folder)
    flat = [
        picture
        for name, picture in sorted(entries.items())
        if picture is not None and name.rpartition("/")[0] == val_folder and FLAT_VAL.fullmatch(name.rpartition("/")[2])
    ]
    ilsvrc = {c.id: c.name for c in ilsvrc_classes()}
    truth = ground_truth(path, entries) if flat else []
    val = sort_by_truth(path, flat, truth) if flat else by_class(entries, val_folder)
    whole = bool(flat) or set(train) == set(ilsvrc)
    kind = "ILSVRC 2012, unpacked" if whole else f"{'zip' if path.is_file() else 'folder'} of class folders"
    return Source(kind, train, val, names=ilsvrc, default_size=256 if whole else None)


def _find_folder(path: Path, entries: Entries, names: tuple[str, ...], inner: str | None = None) -> str:
    """The folder train or val, the one least deep, and with `inner` given, the one in that folder."""
    found = [name for name, picture in entries.items() if picture is None and name.rpartition("/")[2] in names]
    if inner is not None:
        found = [name for name in found if name.rpartition("/")[0] == inner]
    found = [name for name in found if not name.startswith("__MACOSX")]
    if not found:
        below = f" in {shown(inner)}" if inner else ""
        raise Refused(
            f"{shown(path)} has no folder {names[0]}/{below}: it needs train/ and val/ of one folder per"
            " class, or Tiny ImageNet, CIFAR or ILSVRC 2012 as published"
        )
    return min(found, key=lambda name: (name.count("/"), names.index(name.rpartition("/")[2]), name))


def by_class(entries: Entries, folder: str) -> dict[str, list[Picture]]:
    """The pictures in and below each class folder, ordered by their path as text."""
    classes: dict[str, list[Picture]] = {}
    for name, picture in entries.items():
        if not name.startswith(folder + "/"):
            continue
        inside = name[len(folder) + 1 :].split("/")
        if any(part.startswith(".") or part in CLUTTER for part in inside):
            continue
        if picture is not None and len(inside) == 1:
            raise Refused(f"{picture.where} lies beside the class folders: move it into one, or away")
        pictures = classes.setdefault(inside[0], [])
        if picture is not None:
            pictures.append(picture)
    for pictures in classes.values():
        pictures.sort(key=lambda picture: picture.name)
    return classes


def tiny_imagenet_source(path: Path, entries: Entries, inner: str, train_folder: str, val_folder: str) -> Source:
    """Tiny ImageNet as published: train/<wnid>/images/, val/images/ and val_annotations.txt, words.txt."""
    at = f"{inner}/" if inner else ""
    train = {
        wnid: [p for p in pictures if not p.name.endswith(f"/{wnid}_boxes.txt")]
        for wnid, pictures in by_class(entries, train_folder).items()
    }
    if f"{at}wnids.txt" in entries:
        listed = set(_text(entries, f"{at}wnids.txt").split())
        if odd := sorted(listed ^ set(train)):
            what = "has no folder in train/" if odd[0] in listed else "is not in wnids.txt"
            raise Refused(f"{shown(path)}: class {shown(odd[0])} {what} ({len(odd)} such classes)")
    val: dict[str, list[Picture]] = {}
    images = {
        name: picture
        for name, picture in entries.items()
        if picture is not None
        and name.startswith(f"{val_folder}/images/")
        and not name.rpartition("/")[2].startswith(".")
    }
    for line in _text(entries, f"{val_folder}/val_annotations.txt").splitlines():
        if line.strip():
            name, _, rest = line.partition("\t")
            wnid = rest.partition("\t")[0]
            if not wnid:
                raise Refused(f"{shown(path)}: val_annotations.txt gives {shown(name)} no class: download it again")
            picture = images.pop(f"{val_folder}/images/{name}", None)
            if picture is None:
                raise Refused(f"{shown(path)}: {shown(name)} of val_annotations.txt is not in val/images/")
            val.setdefault(wnid, []).append(picture)
    if images:
        raise Refused(f"{shown(path)}: {shown(min(images))} is not in val_annotations.txt")
    names = {}
    if f"{at}words.txt" in entries:
        for line in _text(entries, f"{at}words.txt").splitlines():
            wnid, _, words = line.partition("\t")
            names[wnid] = words.split(",")[0].strip()
    return Source("Tiny ImageNet as published", train, val, names={wnid: names.get(wnid, "") for wnid in train})


def _text(entries: Entries, name: str) -> str:
    return _bytes(entries, name).decode("utf-8", "surrogateescape")


def _bytes(entries: Entries, name: str) -> bytes:
    picture = entries[name]
    assert picture is not None
    try:
        data = read(picture)
    except (Unreadable, OSError, zipfile.BadZipFile) as error:
        raise Refused(f"{picture.where} cannot be read: {error}") from None
    assert isinstance(data, bytes)
    return data


# ------------------------------------------------------------------------------------------ ILSVRC 2012


def ilsvrc_tar_source(path: Path) -> Source:
    """The three official files, read where they lie. A picture is a slice of a tar, found by the headers.

    The training tar holds one tar per class, uncompressed, so the pictures inside those are slices of it too.
    """
    for name in ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", f"{DEVKIT}.tar.gz"):
        if not (path / name).is_file():
            raise Refused(
                f"{shown(path / name)} is missing: ILSVRC 2012 needs its training, validation and development"
                " kit files in one folder"
            )
    train_tar, val_tar = path / "ILSVRC2012_img_train.tar", path / "ILSVRC2012_img_val.tar"
    train: dict[str, list[Picture]] = {}
    for member in tar_members(train_tar):
        wnid = Path(member.name).stem
        if not member.name.endswith(".tar") or wnid in train:
            what = shown(member.name)
            raise Refused(f"{shown(train_tar)} holds {what}, which is not the tar of one more class")
        inside = tar_members(train_tar, member.offset_data, member.offset_data + member.size)
        train[wnid] = [_slice(train_tar, m, f"{member.name}/") for m in inside]
        train[wnid].sort(key=lambda picture: picture.name)
    val = sorted((_slice(val_tar, m) for m in tar_members(val_tar)), key=lambda picture: picture.name)
    with open(path / f"{DEVKIT}.tar.gz", "rb") as handle:
        truth = devkit_truth(path / f"{DEVKIT}.tar.gz", handle)
    names = {c.id: c.name for c in ilsvrc_classes()}
    return Source(
        "ILSVRC 2012, official tar files",
        train,
        sort_by_truth(val_tar, val, truth),
        names=names,
        default_size=256,
    )


def tar_members(path: Path, start: int = 0, stop: int | None = None) -> list[tarfile.TarInfo]:
    """The regular files of an uncompressed tar, or of the tar that fills bytes [start, stop) of a file."""
    stop = path.stat().st_size if stop is None else stop
    with open(path, "rb") as handle:
        handle.seek(start)
        try:
            # `errors` keeps names that are not UTF-8; offsets count from the start of the file.
            with tarfile.TarFile(fileobj=handle, errors="surrogateescape") as archive:
                members = [member for member in archive if member.isreg()]
        except tarfile.TarError as error:
            raise Refused(f"{shown(path)} is damaged ({error}): download it again") from None
    if any(member.offset_data + member.size > stop for member in members):
        raise Refused(f"{shown(path)} is truncated: download it again")
    return members


def _slice(path: Path, member: tarfile.TarInfo, inside: str = "") -> Picture:
    return Picture("slice", str(path), inside + member.name, member.offset_data, member.size, int(member.mtime))


def sort_by_truth(path: Path, pictures: list[Picture], truth: list[str]) -> dict[str, list[Picture]]:
    """Validation pictures by class: picture number i of the name (from 1) has class truth[i - 1]."""
    val: dict[str, list[Picture]] = {}
    if len(pictures) != len(truth):
        raise Refused(
            f"{shown(path)} holds {len(pictures):,} validation pictures, but the ground truth has"
            f" {len(truth):,}: unpack or download the validation pictures again"
        )
    for i, picture in enumerate(pictures):
        match = FLAT_VAL.fullmatch(picture.name.rpartition("/")[2])
        if not match or int(match[1]) != i + 1:
            raise Refused(f"{picture.where} stands where validation picture number {i + 1} was expected")
        val.setdefault(truth[i], []).append(picture)
    return val


def ground_truth(path: Path, entries: Entries) -> list[str]:
    """WordNet ids of a flat validation folder, from the development kit or from Kaggle's table."""
    wanted = {f"{DEVKIT}.tar.gz", GROUND_TRUTH, "meta.mat", "LOC_val_solution.csv"}
    by_file = {
        name.rpartition("/")[2]: name
        for name, picture in entries.items()
        if picture is not None and name.rpartition("/")[2] in wanted
    }
    if GROUND_TRUTH in by_file and "meta.mat" in by_file:
        return _truth(path, _bytes(entries, by_file["meta.mat"]), _bytes(entries, by_file[GROUND_TRUTH]))
    if f"{DEVKIT}.tar.gz" in by_file:
        devkit = by_file[f"{DEVKIT}.tar.gz"]
        return devkit_truth(path / devkit, io.BytesIO(_bytes(entries, devkit)))
    if "LOC_val_solution.csv" in by_file:
        rows = csv.DictReader(io.StringIO(_text(entries, by_file["LOC_val_solution.csv"])))
        pairs = [(row["ImageId"], row["PredictionString"].split()[0]) for row in rows]
        return [wnid for _, wnid in sorted(pairs)]
    raise Refused(
        f"{shown(path)}: the validation pictures are not sorted by class; put {DEVKIT}.tar.gz (or its"
        " unpacked folder) into this folder"
    )


def devkit_truth(path: Path, handle: Any) -> list[str]:
    """WordNet ids of the validation pictures, from the tar.gz of the development kit, read in memory."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=handle, mode="r:gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if member.isreg() and name in ("meta.mat", GROUND_TRUTH) and member.size <= MAX_FILE_BYTES:
                    found[name] = archive.extractfile(member).read()  # type: ignore[union-attr]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Refused(f"{shown(path)} is damaged ({error}): download it again") from None
    if missing := {"meta.mat", GROUND_TRUTH} - set(found):
        raise Refused(f"{shown(path)} holds no {min(missing)}: it is not the development kit of ILSVRC 2012")
    return _truth(path, found["meta.mat"], found[GROUND_TRUTH])


def _truth(path: Path, meta: bytes, truth: bytes) -> list[str]:
    from scipy.io import loadmat  # here, because no other source needs it

    try:
        synsets = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]  # type: ignore[arg-type]
        wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in np.atleast_1d(synsets)}
        return [wnids[int(line)] for line in truth.split()]
    except (KeyError, ValueError, TypeError) as error:
        what = f"meta.mat and {GROUND_TRUTH} do not fit together ({error!r})"
        raise Refused(f"{shown(path)}: {what}: download the development kit again") from None


# ------------------------------------------------------------------------------------------------ CIFAR


def cifar_folder(path: Path) -> Path | None:
    """The folder with the pickles of CIFAR-10 or CIFAR-100 at or in `path`, if there is one."""
    names = ("cifar-10-batches-py", "cifar-100-python")
    found = [
        folder
        for folder in (path, *(path / name for name in names))
        if (folder / "batches.meta").is_file() or ((folder / "meta").is_file() and (folder / "train").is_file())
    ]
    if len(found) > 1:
        raise Refused(f"{shown(path)} holds CIFAR-10 and CIFAR-100: give {found[0]} or {found[1]}")
    return found[0] if found else None


def cifar_source(folder: Path) -> Source:
    """CIFAR-10 or CIFAR-100 (its 100 fine classes) as torchvision downloads it; class ids are names."""
    ten = (folder / "batches.meta").is_file()
    files = {
        "train": [f"data_batch_{i}" for i in range(1, 6)] if ten else ["train"],
        "val": ["test_batch" if ten else "test"],
    }
    names = cifar_batch(str(folder / ("batches.meta" if ten else "meta")))
    names = names["label_names" if ten else "fine_label_names"]
    sets: dict[str, dict[str, list[Picture]]] = {}
    for which, batches in files.items():
        sets[which] = {name: [] for name in names}
        for batch in batches:
            path = folder / batch
            content = cifar_batch(str(path))
            try:
                labels = content["labels" if ten else "fine_labels"]
                if content["data"].shape != (len(labels), 3072) or content["data"].dtype != np.uint8:
                    raise ValueError("data is not (N, 3072) uint8")
                stat = path.stat()
                for row, label in enumerate(labels):
                    place = (f"{batch}[{row}]", row, stat.st_size, stat.st_mtime_ns)
                    sets[which][names[label]].append(Picture("cifar", str(path), *place))
            except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
                raise Refused(f"{shown(path)} is no batch of CIFAR ({error!r}): download it again") from None
    return Source(f"CIFAR-{10 if ten else 100}", sets["train"], sets["val"])


class _ArraysOnly(pickle.Unpickler):
    """Pickles can run any code; these need arrays, lists and text only."""

    ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it wants to load {module}.{name}, which no CIFAR file does")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


@lru_cache(maxsize=6)
def cifar_batch(path: str) -> dict[str, Any]:
    """One pickle of CIFAR, read without running code from it."""
    try:
        with open(path, "rb") as handle:
            content = _ArraysOnly(handle, encoding="latin1").load()
    except FileNotFoundError:
        raise Refused(f"{shown(path)} is missing: download CIFAR again") from None
    except PermissionError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise Refused(f"{shown(path)} is no batch of CIFAR ({error}): download it again") from None
    if not isinstance(content, dict):
        raise Refused(f"{shown(path)} is no batch of CIFAR: download it again")
    return content


# ------------------------------------------------------------------------------------------------- demo


def demo_source() -> Source:
    """The demo pictures: training numbers first, then validation numbers, of every class."""
    import hashlib

    from transferability.data import demo

    sets: dict[str, dict[str, list[Picture]]] = {"train": {}, "val": {}}
    drawn = hashlib.sha256()
    for index, (class_id, _, _) in enumerate(demo.CLASSES):
        for which, numbers in (("train", demo.TRAIN_NUMBERS), ("val", demo.VAL_NUMBERS)):
            sets[which][class_id] = [Picture("demo", str(index), f"demo/{class_id}/{n}", n) for n in numbers]
        drawn.update(demo.draw_many(index, range(2)).tobytes())
    names = {class_id: name for class_id, name, _ in demo.CLASSES}
    groups = {class_id: group for class_id, _, group in demo.CLASSES}
    return Source("demo", sets["train"], sets["val"], names, groups, stamp=drawn.hexdigest())

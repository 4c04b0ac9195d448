"""Packed images: a data set as two memory-mapped uint8 arrays, labels, a table of classes and checksums.

A packed set is one folder, which may be moved and may be read-only:

    manifest.json       format, name, source, counts, size, resize rule, skipped images, checksums; domains, pool
    classes.csv         index, id, name, group; in ascending order of the id as text
    train-images.npy    (N, S, S, 3) uint8, grouped by class ascending, file-list order inside a class
    train-labels.npy    (N,) int64, index into the classes
    train-domains.npy   (N,) int64, index into the domains; only where images have domains
    train-several.npy   (N, K) int8, only where an image may have several of the K classes: 1 present, 0 absent,
                        -1 not known; the label is then the first class that is present
    val-….npy           the same of the validation part; in a pool, which has none, arrays of no rows
    blocks.json         SHA-256 of every block of every file: says where a file is damaged

A *pool* is packed as one part, `train`: which of its images train and which validate is drawn when a network is
trained.

The checksum of a file is the SHA-256 of the SHA-256s of its blocks, so that it can be computed in parallel and while
the file is being written.
"""

import csv
import hashlib
import io
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from transferability.classes import ImageClass, ilsvrc_classes
from transferability.files import MISSING_FEATURE, Refused, read_json, shown, write_atomically, write_json

FORMAT = 1
SETS = ("train", "val")
FILES = ("classes.csv", "train-labels.npy", "val-labels.npy", "train-images.npy", "val-images.npy")
IMAGE_FILES = FILES[3:]
OPTIONAL_FILES = tuple(f"{subset}-{kind}.npy" for kind in ("domains", "several") for subset in SETS)
BLOCK_BYTES = 2**22  # about; a block of an image file is a whole number of images


@dataclass(frozen=True)
class ImageSet:
    """`images` (N, S, S, 3) uint8, RGB, a read-only memory map; `labels` (N,) int64, index into the classes.

    Labels ascend; inside a class, images are in the order of the file list. `domains` (N,) int64, index into the
    domains, and `several` (N, K) int8, for each of the K classes 1 (present), 0 (absent) or -1 (not known), are None
    where the set has no domains, or one class per image. With `several`, a label is the first class that is present.
    """

    images: np.ndarray
    labels: np.ndarray
    domains: np.ndarray | None = None
    several: np.ndarray | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All but the images, by the last part of their files' names."""
        optional = {"domains": self.domains, "several": self.several}
        return {"labels": self.labels} | {kind: array for kind, array in optional.items() if array is not None}


@dataclass(frozen=True)
class PackedImages:
    """A packed set, opened. `checksum` identifies images, labels, classes and domains, wherever the folder lies.

    `domains`: their names, ascending; empty where images have none. `pool`: there is no validation part; `val` has no
    images, and `train` has all.
    """

    folder: Path
    name: str
    checksum: str
    size: int
    classes: tuple[ImageClass, ...]
    train: ImageSet
    val: ImageSet
    domains: tuple[str, ...] = ()
    pool: bool = False


# ---------------------------------------------------------------------------------------------- opening


def open_packed(folder: Path) -> PackedImages:
    """Opens a packed set in milliseconds.

    Checks that all files exist, their exact sizes, shapes and counts, and the content of the small files (classes,
    labels). The content of the image files is checked by `verify` and `verify_at_first_use`.

    Raises Refused when the folder is missing, is no packed set, is half-written, truncated, or inconsistent.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    try:
        for name in files_of(manifest):
            _check_file(folder / name, manifest["files"][name])
        size, checksum = int(manifest["size"]), str(manifest["checksum"])
        domains = tuple(str(name) for name in manifest.get("domains", []))
        list(manifest.get("skipped", []))  # `describe` counts them
        if checksum != content_checksum(manifest["files"], domains):
            raise Refused(
                f"{folder / 'manifest.json'} has changed since it was packed; delete the folder and pack again"
            )
        classes = read_classes(folder / "classes.csv")
        train, val = (_open_set(folder, manifest, subset, len(classes), len(domains)) for subset in SETS)
        pool = bool(manifest.get("pool", False))
        if not len(train.labels) or pool == bool(len(val.labels)):
            raise ValueError(f"{len(train.labels)} training and {len(val.labels)} validation images")
        return PackedImages(folder, str(manifest["name"]), checksum, size, classes, train, val, domains, pool)
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{folder} is damaged ({type(error).__name__}: {error}); delete it and pack again") from None
    except PermissionError as error:
        raise Refused(f"{error.filename} cannot be read: permission denied") from None


def refuse_few(images_per_class: int | None, largest: int, subject: str = "") -> None:
    """Refuses more images per class than the `largest` class has. None asks for all. subject: of the message."""
    if images_per_class is not None and largest < images_per_class:
        start = f"{subject}: " if subject else ""
        raise Refused(
            f"{start}no class has {images_per_class} training images, the largest has {largest}; "
            f"write @{largest} or less"
        )


def known_classes(folder: Path) -> tuple[ImageClass, ...] | None:
    """The classes of the data set that is packed in `folder`, or will be: None where they are not known beforehand.

    Before packing, the classes of the demo and of ILSVRC 2012 are known. They go by the folder's name: `demo`,
    `demo-domains`, or a name that begins with ilsvrc or imagenet.
    """
    if (folder / "manifest.json").exists():
        return open_packed(folder).classes
    if folder.name in ("demo", "demo-domains"):
        from transferability.data.demo import CLASSES  # imported only here: it needs Pillow

        return CLASSES
    return ilsvrc_classes() if folder.name.startswith(("ilsvrc", "imagenet")) else None


def _check_file(path: Path, entry: dict[str, Any]) -> None:
    """Compares one file of a packed set with its entry in the manifest: size, and the checksum of a small file."""
    if not path.is_file():
        raise Refused(f"{path} is missing: the packed set is not whole; pack it again")
    if path.stat().st_size != entry["bytes"]:
        raise Refused(
            f"{path} has {path.stat().st_size} bytes instead of {entry['bytes']}: it is"
            " truncated or was changed; delete the folder and pack again"
        )
    if path.name not in IMAGE_FILES and tree_digest(file_digests(path, entry)) != entry["sha256"]:
        raise Refused(f"{path} has changed since it was packed; delete the folder and pack again")


def _open_set(folder: Path, manifest: dict[str, Any], subset: str, classes: int, domains: int) -> ImageSet:
    size, count = int(manifest["size"]), int(manifest["counts"][subset])
    header = npy_header((count, size, size, 3), "|u1")
    with open(folder / f"{subset}-images.npy", "rb") as handle:
        if handle.read(len(header)) != header:
            raise ValueError(f"{subset}-images.npy has another header than it was packed with")
    shapes = {"labels": ((count,), np.int64), "domains": ((count,), np.int64), "several": ((count, classes), np.int8)}
    arrays: dict[str, np.ndarray] = {}
    for kind, (shape, dtype) in shapes.items():
        name = f"{subset}-{kind}.npy"
        if name in manifest["files"]:
            array = arrays[kind] = np.load(folder / name, allow_pickle=False)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"{name} holds {array.dtype} {array.shape}")
            array.flags.writeable = False
    labels, several = arrays["labels"], arrays.get("several")
    if not _are_indices(labels, classes) or np.any(np.diff(labels) < 0):
        raise ValueError(f"{subset}-labels.npy is not an ascending list of class indices")
    if ("domains" in arrays) != (domains > 0) or not _are_indices(arrays.get("domains", labels[:0]), domains):
        raise ValueError(f"{subset}-domains.npy is not a list of indices of {domains} domains")
    if several is not None and (
        np.abs(several).max(initial=0) > 1 or not np.array_equal(first_present(several), labels)
    ):
        raise ValueError(f"{subset}-several.npy does not agree with {subset}-labels.npy")
    return ImageSet(_mapped(folder / f"{subset}-images.npy"), **arrays)


def _are_indices(array: np.ndarray, count: int) -> bool:
    return not len(array) or bool(array.min() >= 0 and array.max() < count)


def first_present(several: np.ndarray) -> np.ndarray:
    """(N,) int64: of each row of (N, K) int8, the index of the first class that is present; -1 where none is."""
    present = several == 1
    return np.where(present.any(axis=1), present.argmax(axis=1), -1)


def _mapped(path: Path) -> np.ndarray:
    """The array in a .npy file as a read-only memory map. Raises Refused where the file system has no memory maps."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        if error.errno not in MISSING_FEATURE:
            raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        # FUSE with direct_io (many mounts of object stores) refuses shared maps, but allows private ones.
        images = np.load(path, mmap_mode="c", allow_pickle=False)
    except OSError as error:
        raise Refused(
            f"{path} cannot be mapped into memory ({error.strerror}): its file system does not allow that; copy the"
            " packed set to another one"
        ) from None
    images.flags.writeable = False
    return images


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the packed set in `folder`. Raises Refused when there is none or its format is unknown."""
    if not folder.is_dir():
        place, name = folder.absolute(), folder.name
        source = name if name in ("demo", "demo-domains") else "SOURCE"
        raise Refused(
            f"{place} does not exist: make it with 'transferability pack {source} {place}', or set TRANSFERABILITY_DATA"
            " to the folder that holds it"
        )
    path = folder / "manifest.json"
    if not path.is_file():
        raise Refused(
            f"{folder} is not a packed set (it has no manifest.json): make one with 'transferability pack SOURCE DEST'"
        )
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise Refused(f"{path} is not of packing format {FORMAT}: pack the data set again with this version")
    return manifest


def read_classes(path: Path) -> tuple[ImageClass, ...]:
    """The table of classes. Bytes of folder names that are not UTF-8 become surrogates, as in file names."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    classes = tuple(ImageClass(int(row["index"]), row["id"], row["name"], row["group"]) for row in rows)
    if [c.index for c in classes] != list(range(len(classes))):
        raise ValueError(f"{path.name} is not numbered from 0")
    return classes


# ------------------------------------------------------------------------------------------- checksums


def file_digests(path: Path, layout: dict[str, Any]) -> Iterator[str]:
    """SHA-256 (hex) of the blocks of a file: its first `layout['header']` bytes, then `layout['block']` at a time."""
    with open(path, "rb") as handle:
        if layout["header"]:
            yield hashlib.sha256(handle.read(layout["header"])).hexdigest()
        while block := handle.read(layout["block"]):
            yield hashlib.sha256(block).hexdigest()


def tree_digest(digests: Iterable[str]) -> str:
    """SHA-256 (hex) of the concatenated digests of a file's blocks."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()


def files_of(manifest: dict[str, Any]) -> tuple[str, ...]:
    """The files of a packed set that the checksum is about, in its order."""
    return FILES + tuple(name for name in OPTIONAL_FILES if name in manifest["files"])


def content_checksum(files: dict[str, dict[str, Any]], domains: Sequence[str] = ()) -> str:
    """One hex string for the content of a packed set, from the checksums of its files and the names of its domains."""
    names = files_of({"files": files})
    lines = "".join(f"{name} {files[name]['bytes']} {files[name]['sha256']}\n" for name in names)
    lines += f"domains {list(domains)!r}\n" if domains else ""
    return hashlib.sha256(f"format {FORMAT}\n{lines}".encode()).hexdigest()


def verify(packed: PackedImages) -> int:
    """Reads every byte of a packed set and compares all checksums. Returns the number of bytes.

    Raises Refused, naming the file and the images, where a block differs.
    """
    manifest = read_manifest(packed.folder)
    total = 0
    for name in files_of(manifest):
        entry = manifest["files"][name]
        digests = list(file_digests(packed.folder / name, entry))
        if tree_digest(digests) != entry["sha256"]:
            place = _damaged_part(packed, name, digests)
            raise Refused(
                f"{packed.folder / name} has changed since it was packed{place}; delete the folder and pack again"
            )
        total += entry["bytes"]
    return total


def _damaged_part(packed: PackedImages, name: str, digests: list[str]) -> str:
    """Which images of a file are damaged, in words; '' where that cannot be said."""
    path = packed.folder / "blocks.json"
    if not path.is_file():
        return ""
    expected = read_json(path)[name]
    damaged = [i for i, (a, b) in enumerate(zip(expected, digests, strict=False)) if a != b]
    if not damaged or not name.endswith("images.npy"):
        return ""
    rows = block_rows(packed.size)
    if damaged[0] == 0:
        return " (in its header)"
    first = (damaged[0] - 1) * rows
    return f" (in images {first} to {first + rows - 1}, {len(damaged)} of {len(expected)} blocks)"


# Sets up to this size are read in full at their first use: about two seconds.
FIRST_USE_BYTES = 2**32
FIRST_USE_BLOCKS = 128


def verify_at_first_use(packed: PackedImages) -> None:
    """Checks the image files when a packed set is used for the first time, and after their times or sizes change.

    Sets up to 4 GiB are read in full; of larger ones, 128 blocks spread evenly over each image file. Where the folder
    is writable, `verified.json` in it records what was checked. Raises Refused where a block differs.
    """
    names = files_of(read_manifest(packed.folder))
    state = {name: [(stat := (packed.folder / name).stat()).st_size, stat.st_mtime_ns] for name in names}
    stamp = packed.folder / "verified.json"
    if stamp.is_file():
        try:
            if read_json(stamp) == {"checksum": packed.checksum, "files": state}:
                return
        except Refused:
            pass  # a damaged stamp is no stamp
    if packed.train.images.nbytes + packed.val.images.nbytes <= FIRST_USE_BYTES:
        verify(packed)
    else:
        _verify_sample(packed)
    try:
        write_json(stamp, {"checksum": packed.checksum, "files": state})
    except OSError:
        pass  # a read-only folder is checked at every use


def _verify_sample(packed: PackedImages) -> None:
    """Checks FIRST_USE_BLOCKS blocks of each image file."""
    manifest, blocks = read_manifest(packed.folder), read_json(packed.folder / "blocks.json")
    for name in IMAGE_FILES:
        entry, digests = manifest["files"][name], blocks[name]
        if tree_digest(digests) != entry["sha256"]:
            raise Refused(f"{packed.folder / 'blocks.json'} has changed since it was packed; pack again")
        with open(packed.folder / name, "rb") as handle:
            for i in _spread(len(digests) - 1):
                handle.seek(entry["header"] + (i - 1) * entry["block"])
                if hashlib.sha256(handle.read(entry["block"])).hexdigest() != digests[i]:
                    raise Refused(
                        f"{packed.folder / name} has changed since it was packed (block {i} of"
                        f" {len(digests)}); delete the folder and pack again"
                    )


def _spread(blocks: int) -> list[int]:
    """FIRST_USE_BLOCKS numbers, or all, of the blocks 1 to `blocks`."""
    return np.unique(np.linspace(1, blocks, min(blocks, FIRST_USE_BLOCKS)).astype(int)).tolist()


# --------------------------------------------------------------------------------------------- writing


def block_rows(size: int) -> int:
    """Images per block of an image file."""
    return max(1, BLOCK_BYTES // (size * size * 3))


def npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """The first bytes of a .npy file of this shape and dtype ('|u1', '<i8')."""
    handle = io.BytesIO()
    np.lib.format.write_array_header_1_0(handle, {"descr": dtype, "fortran_order": False, "shape": shape})
    return handle.getvalue()


def write_small_files(folder: Path, classes: Sequence[ImageClass], arrays: dict[str, dict[str, np.ndarray]]) -> None:
    """Writes `classes.csv` and, by set and kind (`ImageSet.arrays`), the arrays that are no images."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "id", "name", "group"])
    writer.writerows([c.index, c.id, c.name, c.group] for c in classes)
    with write_atomically(folder / "classes.csv") as handle:
        handle.write(text.getvalue().encode("utf-8", "surrogateescape"))
    for subset, by_kind in arrays.items():
        for kind, array in by_kind.items():
            with write_atomically(folder / f"{subset}-{kind}.npy") as handle:
                dtype = "|i1" if kind == "several" else "<i8"
                np.save(handle, np.ascontiguousarray(array, dtype=dtype), allow_pickle=False)


def write_manifest(
    folder: Path,
    name: str,
    size: int,
    counts: dict[str, int],
    digests: dict[str, list[str]],
    about: dict[str, Any],
) -> None:
    """Writes `blocks.json` and, last of all, `manifest.json`, which marks the set as complete.

    digests: block digests of the image files, by file name; those of the small files are computed here.
    about: further entries of the manifest (source, resize rule, skipped images; domains and pool, where there are).
    """
    files: dict[str, dict[str, Any]] = {}
    for file in (*FILES, *(file for file in OPTIONAL_FILES if (folder / file).exists())):
        image_file = file in IMAGE_FILES
        count = counts[file.split("-")[0]] if image_file else 0
        header = len(npy_header((count, size, size, 3), "|u1")) if image_file else 0
        block = block_rows(size) * size * size * 3 if image_file else BLOCK_BYTES
        entry = {"bytes": os.path.getsize(folder / file), "header": header, "block": block}
        if not image_file:
            digests = digests | {file: list(file_digests(folder / file, entry))}
        files[file] = entry | {"sha256": tree_digest(digests[file])}
    write_json(folder / "blocks.json", {file: digests[file] for file in files})
    write_json(
        folder / "manifest.json",
        {
            "format": FORMAT,
            "name": name,
            "size": size,
            "counts": counts,
            **about,
            "files": files,
            "checksum": content_checksum(files, about.get("domains", ())),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "version": package_version(),
        },
    )


def package_version() -> str:
    """The installed version of this package."""
    try:
        return version("transferability")
    except PackageNotFoundError:
        return "not installed"


def write_packed(
    folder: Path,
    name: str,
    classes: Sequence[ImageClass],
    train: ImageSet,
    val: ImageSet | None,
    domains: Sequence[str] = (),
) -> PackedImages:
    """Writes arrays in memory as a packed set and opens it. For small sets that do not come from files.

    The folder must not exist. Labels must ascend and images be uint8 (N, S, S, 3), square and of one size. Without
    `val` the set is a pool.
    """
    folder = Path(folder)
    if folder.exists():
        raise Refused(f"{folder} exists already: delete it or choose another destination")
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True)
    size, sets = train.images.shape[1], {"train": train, "val": val or empty_set(train)}
    digests = {}
    for subset, image_set in sets.items():
        path = partial / f"{subset}-images.npy"
        header = npy_header(image_set.images.shape, "|u1")
        with write_atomically(path) as handle:
            handle.write(header)
            handle.write(np.ascontiguousarray(image_set.images, dtype=np.uint8).tobytes())
        layout = {"header": len(header), "block": block_rows(size) * size * size * 3}
        digests[path.name] = list(file_digests(path, layout))
    write_small_files(partial, classes, {subset: image_set.arrays for subset, image_set in sets.items()})
    counts = {subset: len(image_set.labels) for subset, image_set in sets.items()}
    about = {"source": "arrays", "skipped": []} | optional_entries(domains, pool=val is None)
    write_manifest(partial, name, size, counts, digests, about)
    os.rename(partial, folder)
    return open_packed(folder)


def empty_set(like: ImageSet) -> ImageSet:
    """A set of no images, with the arrays that `like` has."""
    return ImageSet(like.images[:0], **{kind: array[:0] for kind, array in like.arrays.items()})


def optional_entries(domains: Sequence[str], pool: bool) -> dict[str, Any]:
    """The entries of the manifest that only some packed sets have."""
    return ({"domains": list(domains)} if domains else {}) | ({"pool": True} if pool else {})


def describe(packed: PackedImages) -> str:
    """What a packed set holds, in a few lines for people."""
    groups = Counter(c.group for c in packed.classes if c.group)
    named = ", ".join(f"{count} {group}" for group, count in sorted(groups.items()))
    manifest = read_manifest(packed.folder)
    skipped = manifest.get("skipped", [])
    total = sum((packed.folder / name).stat().st_size for name in files_of(manifest))
    train, val = len(packed.train.labels), len(packed.val.labels)
    lines = [
        f"{packed.folder}: {packed.name}, {packed.size}x{packed.size} pixels, {human_bytes(total)}",
        f"  {train:,} images in one pool: each seed draws which of them train and which validate"
        if packed.pool
        else f"  {train:,} training and {val:,} validation images",
        f"  {len(packed.classes):,} classes ({named or 'man-made/natural not known'})",
        *_about_labels(packed),
    ]
    if skipped:
        lines.append(f"  {len(skipped):,} unreadable pictures left out: {packed.folder / 'manifest.json'}")
    lines.append(f"  checksum {packed.checksum[:16]}")
    return "\n".join(lines)


def _about_labels(packed: PackedImages) -> list[str]:
    """Lines about domains and several labels; none where a set has neither."""
    lines = []
    sets = (packed.train, packed.val)
    if packed.domains:
        indices = np.concatenate([image_set.arrays["domains"] for image_set in sets])
        counts = np.bincount(indices, minlength=len(packed.domains)).tolist()
        named = ", ".join(f"{shown(name)} {count:,}" for name, count in zip(packed.domains, counts, strict=True))
        lines.append(f"  {len(packed.domains)} domains (with their images): {named}")
    if packed.train.several is not None:
        several = np.concatenate([image_set.arrays["several"] for image_set in sets])
        mean, unknown = (several == 1).sum() / len(several), int((several == -1).sum())
        lines.append(f"  {mean:.2f} classes per image" + (f", {unknown:,} times not known" if unknown else ""))
    return lines


def human_bytes(count: float) -> str:
    """12.3 MB: for people, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"

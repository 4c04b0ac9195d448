"""Data sets that come as arrays: MNIST and its like, USPS, SVHN, as torchvision stores them, and arrays of NumPy.

Class ids are the labels as text, with leading zeros where there are more than ten. Grey images become RGB.

    MNIST       train-images-idx3-ubyte, train-labels-idx1-ubyte and the same of t10k, gzipped or not, in a folder, its
                raw/, or raw/ of one folder in it (MNIST/raw); FashionMNIST and KMNIST have the same form
    USPS        usps.bz2 and usps.t.bz2, in the format of LIBSVM
    SVHN        train_32x32.mat and test_32x32.mat; extra_32x32.mat is left out
    .npz        uint8 images train_x and test_x (N, H, W) or (N, H, W, 3), and whole numbers train_y and test_y; also
                under Keras's names x_train, y_train, …; without the test arrays it is a pool
"""

import bz2
import gzip
import json
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from transferability.data.decode import is_mistake, reason_of
from transferability.data.listing import ImageLists, ImageRef
from transferability.data.matlab import read_mat
from transferability.files import Refused, shown

STORAGE = "rows"  # of the ImageRefs: a row of the images in the file that is their container
MNIST = {  # images and labels, by set
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "val": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
USPS = {"train": "usps.bz2", "val": "usps.t.bz2"}
SVHN = {"train": "train_32x32.mat", "val": "test_32x32.mat"}
ARRAYS = ("train_{}", "test_{}"), ("{}_train", "{}_test")  # names in a .npz
AGAIN = "download it again"
T = TypeVar("T")


def folder_images(path: Path) -> ImageLists | None:
    """The images of MNIST, USPS or SVHN at the folder `path`. None if it holds none of them."""
    for names, images_of in ((USPS, _usps_part), (SVHN, _svhn_part)):
        if any((path / name).is_file() for name in names.values()):
            parts = {subset: images_of(_existing(path, (name,))) for subset, name in names.items()}
            return _lists("USPS" if names is USPS else "SVHN", parts)
    raw = [path, path / "raw", *sorted(path.glob("*/raw"))]
    folders = [folder for folder in raw if any(_idx_file(folder, name) for names in MNIST.values() for name in names)]
    if len(folders) > 1:
        raise Refused(f"{shown(path)} holds {shown(folders[0])} and {shown(folders[1])}: give one of them")
    if not folders:
        return None
    return _lists("MNIST (idx files)", {subset: _idx_part(folders[0], *names) for subset, names in MNIST.items()})


def npz_images(path: Path) -> ImageLists | None:
    """The images of a .npz file. None if it holds no images."""
    try:
        with np.load(path, allow_pickle=False) as content:
            for train, test in ARRAYS:
                if train.format("x") in content.files:
                    return _npz_lists(path, content, train, test)
    except Exception as error:  # damaged archives raise many types
        if isinstance(error, Refused) or is_mistake(error):
            raise
        raise Refused(f"{shown(path)} is damaged ({shown(reason_of(error))})") from None
    return None


def read_pixels(image: ImageRef) -> np.ndarray:
    """(H, W, 3) uint8. Raises Refused where the file is damaged."""
    pixels: np.ndarray = _images(image.container, image.name.partition("[")[0], image.changed)[image.offset]
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


# ---------------------------------------------------------------------------------------------- listing

Part = tuple[list[ImageRef], list[int]]  # images and labels of a set


def _lists(arrangement: str, parts: dict[str, Part]) -> ImageLists:
    """The lists of images with whole numbers as labels. Without images for validation it is a pool."""
    width = len(str(max(max(labels, default=0) for _, labels in parts.values())))
    sets: dict[str, dict[str, list[ImageRef]]] = {"train": {}, "val": {}}
    for subset, (images, labels) in parts.items():
        for image, label in zip(images, labels, strict=True):
            sets[subset].setdefault(f"{label:0{width}}", []).append(image)
    return ImageLists(arrangement, sets["train"], sets["val"], pool="val" not in parts)


def _part(file: Path, images: str, shape: tuple[int, ...], labels: list[int]) -> Part:
    """The rows of `images` (the name of a file or array) in a file."""
    if len(shape) not in (3, 4) or shape[0] != len(labels) or (len(shape) == 4 and shape[3] != 3):
        raise Refused(
            f"{shown(file)} holds images {shape} and {len(labels)} labels, which do not fit together: {AGAIN}"
        )
    if any(label < 0 for label in labels):
        raise Refused(f"{shown(file)} holds the label {min(labels)}: labels must not be negative")
    stat = file.stat()
    ref = ImageRef(STORAGE, str(file), "", 0, stat.st_size, stat.st_mtime_ns)
    return [ref._replace(name=f"{images}[{row}]", offset=row) for row in range(len(labels))], labels


def _existing(folder: Path, names: tuple[str, ...]) -> Path:
    """The first of some files. Raises Refused, naming the last, where there is none."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise Refused(f"{shown(folder / names[-1])} is missing: {AGAIN}")


def _idx_file(folder: Path, name: str) -> Path | None:
    names = (name, f"{name}.gz", name.replace("-idx", ".idx"))  # the last: as some programs unpack it
    return next((folder / variant for variant in names if (folder / variant).is_file()), None)


def _idx_part(folder: Path, images: str, labels: str) -> Part:
    files = [_idx_file(folder, name) for name in (images, labels)]
    if missing := [name for name, file in zip((images, labels), files, strict=True) if file is None]:
        raise Refused(f"{shown(folder / missing[0])} (or .gz) is missing: {AGAIN}")
    image_file, label_file = (file for file in files if file is not None)
    numbers = read_idx(str(label_file), label_file.stat().st_mtime_ns)
    if numbers.ndim != 1:
        raise Refused(f"{shown(label_file)} holds no labels: {AGAIN}")
    shape = _images(str(image_file), image_file.name, image_file.stat().st_mtime_ns).shape
    return _part(image_file, image_file.name, shape, numbers.tolist())


def _usps_part(file: Path) -> Part:
    images, labels = read_usps(str(file), file.stat().st_mtime_ns)
    return _part(file, file.name, images.shape, labels)


_SVHN_LABELS = """
import io, json, sys
from scipy.io import loadmat, whosmat
data = sys.stdin.buffer.read()
shape = {name: list(shape) for name, shape, kind in whosmat(io.BytesIO(data)) if kind == "uint8"}["X"]
labels = loadmat(io.BytesIO(data), variable_names=["y"])["y"].ravel().tolist()
print(json.dumps([shape, [int(label) for label in labels]]))
"""


def _svhn_part(file: Path) -> Part:
    """SVHN's label of the digit 0 is 10."""
    shape, labels = json.loads(read_mat(_SVHN_LABELS, file.read_bytes(), shown(file), AGAIN))
    return _part(file, file.name, (*shape[3:], *shape[:3]), [label % 10 for label in labels])


def _npz_lists(path: Path, content: np.lib.npyio.NpzFile, train: str, test: str) -> ImageLists:
    parts = {}
    for subset, name in (("train", train), ("val", test)):
        images, labels = name.format("x"), name.format("y")
        if subset == "val" and images not in content.files:
            continue
        for key, kinds in ((images, "u"), (labels, "iu")):
            if key not in content.files or content[key].dtype.kind not in kinds:
                raise Refused(f"{shown(path)} needs an array {key} of {'uint8' if kinds == 'u' else 'whole numbers'}")
        if content[images].dtype != np.uint8:
            raise Refused(f"{shown(path)} needs an array {images} of uint8")
        parts[subset] = _part(path, images, content[images].shape, content[labels].ravel().tolist())
    return _lists("arrays (.npz)", parts)


# ---------------------------------------------------------------------------------------------- reading


@lru_cache(maxsize=1)  # in every worker
def _images(path: str, name: str, changed: int) -> np.ndarray:
    """The images of a file, (N, H, W) or (N, H, W, 3) uint8. `changed`: the file's time, which tells it from a later
    one of the same name; `name`: the array of a .npz."""
    if path.endswith(".bz2"):
        return read_usps(path, changed)[0]
    if path.endswith(".npz"):
        with np.load(path, allow_pickle=False) as content:
            return content[name]
    if path.endswith(".mat"):
        from scipy.io import loadmat  # not needed for other data sets

        return loadmat(path, variable_names=["X"])["X"].transpose(3, 0, 1, 2)
    return read_idx(path, changed)


def read_idx(path: str, changed: int) -> np.ndarray:
    """An array of bytes in MNIST's idx format, gzipped or not. Raises Refused where it is damaged."""

    def parse() -> np.ndarray:
        opened: Callable[..., gzip.GzipFile] = gzip.open if path.endswith(".gz") else open  # type: ignore[assignment]
        with opened(path, "rb") as handle:
            data = handle.read()
        if data[:3] != b"\0\0\x08":
            raise ValueError("it does not begin like an idx file of bytes")
        shape = np.frombuffer(data, ">i4", data[3], 4).tolist()
        return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)

    return _parsed(path, parse)


@lru_cache(maxsize=2)
def read_usps(path: str, changed: int) -> tuple[np.ndarray, list[int]]:
    """Images (N, 16, 16) uint8 and labels 0 to 9 of USPS in the format of LIBSVM, as torchvision reads them."""

    def parse() -> tuple[np.ndarray, list[int]]:
        with bz2.open(path, "rt", encoding="ascii") as handle:
            rows = [line.split() for line in handle]
        values = [[value.partition(":")[2] for value in row[1:]] for row in rows]
        images = np.array(values, np.float32).reshape(-1, 16, 16)
        return ((images + 1) / 2 * 255).astype(np.uint8), [int(row[0]) - 1 for row in rows]

    return _parsed(path, parse)


def _parsed(path: str, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except (ValueError, IndexError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, PermissionError):
            raise
        raise Refused(f"{shown(path)} is damaged ({shown(reason_of(error))}): {AGAIN}") from None

"""CIFAR-10 and CIFAR-100 (its 100 fine classes) as torchvision downloads them: pickles in a folder, or in the tar.gz.

Class ids are the names of the classes.
"""

import pickle
import tarfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from transferability.data.listing import MAX_FILE_BYTES, ImageLists, ImageRef
from transferability.files import Refused, shown

FOLDERS = ("cifar-10-batches-py", "cifar-100-python")
TARS = ("cifar-10-python.tar.gz", "cifar-100-python.tar.gz", "cifar-10-python.tar", "cifar-100-python.tar")
BATCHES = {  # the pickles of images, by set
    "CIFAR-10": {"train": [f"data_batch_{i}" for i in range(1, 6)], "val": ["test_batch"]},
    "CIFAR-100": {"train": ["train"], "val": ["test"]},
}
NUMPY_CORE = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
Pickle = dict[str, Any]


def folder_images(path: Path) -> ImageLists | None:
    """The images of the CIFAR folder or tar at or in the folder `path`. None if there is none."""
    folders = [folder for folder in (path, *(path / name for name in FOLDERS)) if _is_cifar(folder)]
    places = folders or [path / name for name in TARS if (path / name).is_file()]
    if len(places) > 1:
        raise Refused(f"{shown(path)} holds CIFAR-10 and CIFAR-100: give {shown(places[0])} or {shown(places[1])}")
    if not places:
        return None
    if not folders:
        return tar_images(places[0])
    folder = places[0]

    def batch_ref(batch: str) -> ImageRef:
        stat = (folder / batch).stat()
        return ImageRef("cifar", str(folder / batch), batch, 0, stat.st_size, stat.st_mtime_ns)

    ten = (folder / "batches.meta").is_file()
    return _images(folder, ten, lambda name: _pickle_file(str(folder / name)), batch_ref)


def tar_images(path: Path) -> ImageLists | None:
    """The images in CIFAR's tar, compressed or not. None if the file is no such tar."""
    try:
        with tarfile.open(path) as archive:
            first = archive.next()
    except (tarfile.TarError, EOFError, OSError, zlib.error):
        return None
    if first is None or not {*FOLDERS} & {*first.name.split("/")}:
        return None
    pickles, stat = _tar_pickles(str(path)), path.stat()

    def pickle_of(name: str) -> Pickle:
        if name not in pickles:
            raise Refused(f"{shown(path)} holds no {name}: download CIFAR again")
        return pickles[name]

    def batch_ref(batch: str) -> ImageRef:
        return ImageRef("cifar tar", str(path), batch, 0, stat.st_size, stat.st_mtime_ns)

    return _images(path, "batches.meta" in pickles, pickle_of, batch_ref)


def read_pixels(image: ImageRef) -> np.ndarray:
    """(32, 32, 3) uint8."""
    if image.storage == "cifar tar":
        batch = _tar_pickles(image.container)[image.name.partition("[")[0]]
    else:
        batch = _pickle_file(image.container)
    pixels: np.ndarray = batch["data"][image.offset]
    return pixels.reshape(3, 32, 32).transpose(1, 2, 0)


def _is_cifar(folder: Path) -> bool:
    return (folder / "batches.meta").is_file() or ((folder / "meta").is_file() and (folder / "train").is_file())


def _images(
    place: Path, ten: bool, pickle_of: Callable[[str], Pickle], batch_ref: Callable[[str], ImageRef]
) -> ImageLists:
    """Lists the images of CIFAR-10 (`ten`) or CIFAR-100. `pickle_of` gives a pickle by its name, `batch_ref` the
    reference that those of its rows are made from."""
    arrangement = "CIFAR-10" if ten else "CIFAR-100"
    name = "batches.meta" if ten else "meta"
    try:
        classes = [str(c) for c in pickle_of(name)["label_names" if ten else "fine_label_names"]]
        sets: dict[str, dict[str, list[ImageRef]]] = {}
        for subset, batches in BATCHES[arrangement].items():
            sets[subset] = {c: [] for c in classes}
            for name in batches:
                content, ref = pickle_of(name), batch_ref(name)
                labels = content["labels" if ten else "fine_labels"]
                if content["data"].shape != (len(labels), 3072) or content["data"].dtype != np.uint8:
                    raise ValueError("data is not (N, 3072) uint8")
                for row, label in enumerate(labels):
                    sets[subset][classes[label]].append(ref._replace(name=f"{name}[{row}]", offset=row))
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise Refused(f"{shown(place / name)} is no batch of CIFAR ({error!r}): download it again") from None
    return ImageLists(arrangement, sets["train"], sets["val"])


# ------------------------------------------------------------------------------------------------ pickles


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
        return super().find_class(module.replace("numpy._core", "numpy.core").replace("numpy.core", NUMPY_CORE), name)


@lru_cache(maxsize=6)
def _pickle_file(path: str) -> Pickle:
    try:
        with open(path, "rb") as handle:
            return _unpickled(handle, path)
    except FileNotFoundError:
        raise Refused(f"{shown(path)} is missing: download CIFAR again") from None


@lru_cache(maxsize=1)
def _tar_pickles(path: str) -> dict[str, Pickle]:
    """The pickles in CIFAR's tar by the names of their files, all of them: the tar is read from its start only once."""
    wanted = {"batches.meta", "meta", *(name for sets in BATCHES.values() for names in sets.values() for name in names)}
    pickles = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if member.isreg() and member.size <= MAX_FILE_BYTES and name in wanted:
                    handle = archive.extractfile(member)
                    assert handle is not None
                    pickles[name] = _unpickled(handle, f"{path}/{name}")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise Refused(f"{shown(path)} is damaged ({error}): download it again") from None
    return pickles


def _unpickled(handle: IO[bytes], place: str) -> Pickle:
    """One pickle of CIFAR, read without running code from it."""
    try:
        content = _ArraysOnly(handle, encoding="latin1").load()
    except ImportError:  # of this installation
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise Refused(f"{shown(place)} is no batch of CIFAR ({error}): download it again") from None
    if not isinstance(content, dict):
        raise Refused(f"{shown(place)} is no batch of CIFAR: download it again")
    return content

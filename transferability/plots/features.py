"""Features that `transferability features` wrote, as figures read them."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transferability.data.packed import PackedImages, open_packed
from transferability.files import Refused
from transferability.training.vectors import transformed

# What numpy raises of a file that is no .npz file, is cut off, or lacks an array.
DAMAGES = (KeyError, ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Side:
    """The images that a readout is fitted to, or judged on.

    vectors: (n, numbers) float32, the mean over views. labels: (n,) int64, or (n, classes) of several. rows: (n,)
    places in `part`, train or val, of the packed set. domain: "" where there are none.
    """

    vectors: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    part: str
    domain: str


@dataclass(frozen=True)
class Features:
    """What one readout reads. classes, groups: their names, and those of their super-groups, by label."""

    network: str
    layer: str
    data: str  # checksum of the packed set
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    transforms: tuple[str, ...]
    components: int | None
    train: Side
    val: Side

    @property
    def title(self) -> str:
        return f"{self.network.split('/')[1]}, {self.layer}"

    @property
    def has_domains(self) -> bool:
        """Whether training and judged images are of two domains."""
        return self.train.domain != self.val.domain

    def transformed(self) -> tuple[np.ndarray, np.ndarray]:
        """Training and judged vectors as the readout's classifier has them."""
        return transformed(self.train.vectors, self.val.vectors, self.transforms, self.components)

    def standardised(self) -> tuple[np.ndarray, np.ndarray]:
        """Training and judged vectors, each number of mean 0 and standard deviation 1 over the training images."""
        return transformed(self.train.vectors, self.val.vectors, ("standardise",))

    def images(self, folder: Path) -> tuple[np.ndarray, np.ndarray]:
        """(N, S, S, 3) uint8 of the parts that training and judged images lie in. Refused if it is another set."""
        packed: PackedImages = open_packed(folder)
        if packed.checksum != self.data:
            raise Refused(f"{folder} is not the set whose features {self.network} reads")
        train, val = ((packed.val if side.part == "val" else packed.train).images for side in (self.train, self.val))
        return train, val


def read_export(file: Path) -> Features:
    """Refused if `file` is none that `transferability features` wrote."""

    def words(key: str) -> tuple[str, ...]:
        return tuple(map(str, content[key]))

    try:
        with np.load(file) as content:
            return Features(
                str(content["network"]),
                str(content["layer"]),
                str(content["data"]),
                words("classes"),
                words("groups"),
                words("transforms"),
                int(content["components"]) or None,
                _side(content, "train"),
                _side(content, "val"),
            )
    except FileNotFoundError:
        raise Refused(f"{file} does not exist; `transferability features STUDY NETWORK {file}` writes it") from None
    except DAMAGES as error:
        raise Refused(f"{file} is no file that `transferability features` wrote ({error})") from None


def _side(content: Mapping[str, np.ndarray], name: str) -> Side:
    vectors = content[f"{name}_features"]
    words = (str(content[f"{name}_{key}"]) for key in ("part", "domain"))
    return Side(
        vectors.mean(1) if vectors.ndim == 3 else vectors, content[f"{name}_labels"], content[f"{name}_rows"], *words
    )


def distances(asked: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(m, n) float64: squared Euclidean distances of vectors (m, d) and (n, d)."""
    asked, known = asked.astype(np.float64), known.astype(np.float64)
    return (asked**2).sum(1)[:, None] - 2 * asked @ known.T + (known**2).sum(1)

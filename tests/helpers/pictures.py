"""Small pictures and data sets for the tests of packing, and somebody else who looks at them."""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(seed: int, height: int = 16, width: int = 16) -> np.ndarray:
    """(height, width, 3) uint8 of smooth colours, another for every seed."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: np.ndarray | Image.Image, format: str = "PNG", **options: object) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    handle = BytesIO()
    image.save(handle, format, **options)
    return handle.getvalue()


def picture(seed: int, height: int = 16, width: int = 16) -> bytes:
    return encoded(pixels(seed, height, width))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG made by hand: PIL writes no 16-bit colour, and no picture that is larger than it says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def folder(root: Path, classes: tuple[str, ...] = ("cat", "ant", "bus"), train: int = 4, val: int = 2) -> Path:
    """train/ and val/ of one folder per class, 16x16 PNGs, all different."""
    for c, name in enumerate(classes):
        for i in range(train):
            put(root / "train" / name / f"{i}.png", picture(1000 * c + i))
        for i in range(val):
            put(root / "val" / name / f"{i}.png", picture(1000 * c + 500 + i))
    return root


def zipped(root: Path, archive: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(archive, "w") as handle:
        for path in sorted(root.rglob("*"), reverse=True):  # not in the order of the names
            handle.write(path, prefix + str(path.relative_to(root)))
    return archive


@contextmanager
def somebody(user: int = 65534) -> Iterator[None]:
    """Inside, a process of root's is that user's; others stay who they are."""
    user_at_start = os.geteuid()
    if user_at_start == 0:
        os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(user_at_start)

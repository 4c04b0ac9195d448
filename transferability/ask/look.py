"""What a folder of pictures holds: classes, pictures per class, sizes, what cannot be read, near-duplicates."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transferability import available_cores
from transferability.data.contents import check_classes
from transferability.data.decode import Unreadable
from transferability.data.listing import ImageRef
from transferability.data.pack import load
from transferability.data.readers import list_images
from transferability.files import Refused
from transferability.names import counted

# Of each class: one picture that judges, one inner picture that chooses, one to train on.
FEWEST = 3
NEAR = 4  # of the 64 bits of a perceptual hash: pictures that differ in no more look the same
MOST_COMPARED = 20_000  # pictures: their pairs are compared in seconds


class Seen(NamedTuple):
    """One picture. part: train or val. side: its shorter side in pixels, 0 if it cannot be read. hash: 64 bits; None:
    not computed."""

    image: ImageRef
    part: str
    label: str
    side: int
    hash: int | None


@dataclass(frozen=True)
class Pictures:
    """What was found.

    counts: pictures per class that can be read, without those of a validation part. everything: with these. side:
    median of the shorter sides, in pixels. pool: whether no part of the pictures is meant to judge. unreadable, near,
    conflicts: lines; near: pairs that look the same, one of them in the part that judges if there is one; conflicts:
    pairs whose classes differ. hashed: whether near-duplicates were looked for.
    """

    source: str
    counts: dict[str, int]
    everything: int
    side: int
    smallest: int
    largest: int
    pool: bool
    unreadable: tuple[str, ...]
    near: tuple[str, ...]
    conflicts: tuple[str, ...]
    hashed: bool

    @property
    def lines(self) -> list[str]:
        """For people."""
        total, counts = sum(self.counts.values()), self.counts.values()
        each = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        sides = f"{self.smallest}" if self.smallest == self.largest else f"{self.smallest} to {self.largest}"
        lines = [
            f"{total:,} pictures in {len(self.counts)} classes, {each} each; shorter sides {sides} pixels"
            + ("" if self.pool else "; the validation part judges")
        ]
        if self.unreadable:
            lines.append(f"left out, since they cannot be read: {_first(self.unreadable)}")
        if not self.hashed:
            few = self.everything <= MOST_COMPARED
            why = "that needs `pip install imagehash`" if few else f"there are more than {MOST_COMPARED:,} pictures"
            lines.append(f"near-duplicates were not looked for: {why}")
        elif self.near:
            where = "where one trains and the other judges," if self.pool else "one trains and the other judges:"
            lines.append(
                f"{_pairs(self.near)} the same: {_first(self.near)}; {where} the answer is too good: remove one of each"
            )
        if self.conflicts:
            lines.append(f"{_pairs(self.conflicts)} the same, in two classes: {_first(self.conflicts)}")
        return lines


def _pairs(lines: Sequence[str]) -> str:
    return "1 pair looks" if len(lines) == 1 else f"{len(lines)} pairs look"


def _first(lines: Sequence[str], count: int = 2) -> str:
    return ", ".join(lines[:count]) + (f" and {len(lines) - count} more" if len(lines) > count else "")


def look(source: str) -> Pictures:
    """Reads all pictures once. source: what `pack` takes.

    Refused: what `pack` refuses (one class, no classes), several classes per picture, too few pictures of a class.
    """
    lists = list_images(source)
    check_classes(source, lists)
    if lists.several:
        raise Refused(f"{source}: its pictures have several classes each, and `ask` is about one class per picture")
    refs = [
        (image, part, label)
        for part, classes in lists.sets.items()
        for label, images in classes.items()
        for image in images
    ]
    with ThreadPoolExecutor(available_cores()) as threads:
        seen = list(threads.map(_see, *zip(*refs, strict=True)))
    lost = {one.image for one in seen if not one.side}
    counts = {label: sum(image not in lost for image in images) for label, images in lists.train.items()}
    _refuse_few(source, counts)
    hashes = [one for one in seen if one.hash is not None]
    near, conflicts = _near(hashes, lists.pool) if len(hashes) <= MOST_COMPARED else ((), ())
    sides = sorted(one.side for one in seen if one.side)
    names = {label: lists.names.get(label, label) for label in counts}
    return Pictures(
        source,
        {names[label]: count for label, count in counts.items()},
        len(sides),
        sides[len(sides) // 2],
        sides[0],
        sides[-1],
        lists.pool,
        tuple(one.image.place for one in seen if not one.side),
        near,
        conflicts,
        0 < len(hashes) <= MOST_COMPARED,
    )


def _see(image: ImageRef, part: str, label: str) -> Seen:
    try:
        picture = load(image)
    except (Unreadable, OSError):
        return Seen(image, part, label, 0, None)
    try:
        import imagehash
    except ImportError:
        return Seen(image, part, label, min(picture.size), None)
    bits = np.packbits(imagehash.phash(picture).hash.flatten())
    return Seen(image, part, label, min(picture.size), int.from_bytes(bits.tobytes(), "big"))


def _refuse_few(source: str, counts: dict[str, int]) -> None:
    few = {label: count for label, count in counts.items() if count < FEWEST}
    if few:
        label, count = next(iter(few.items()))
        others = f" (and {len(few) - 1} more classes)" if len(few) > 1 else ""
        raise Refused(
            f"{source}: class {label!r} has {counted(count, 'picture')} that can be read{others}; at least "
            f"{FEWEST} are needed, to train, to choose and to judge: add some, or leave the class out"
        )


def _near(seen: Sequence[Seen], pool: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Pairs whose hashes differ in NEAR bits at most (without a pool, of both parts), and pairs of different classes.

    Each as "one = other".
    """
    hashes = np.array([one.hash for one in seen], np.uint64)
    pairs, conflicts = [], []
    for i, value in enumerate(hashes[:-1]):
        bits = np.bitwise_xor(hashes[i + 1 :], value)
        for j in np.flatnonzero(_ones(bits) <= NEAR).tolist():
            one, other = seen[i], seen[i + 1 + j]
            line = f"{one.image.name} = {other.image.name}"
            if pool or one.part != other.part:
                pairs.append(line)
            if one.label != other.label:
                conflicts.append(line)
    return tuple(pairs), tuple(conflicts)


def _ones(values: np.ndarray) -> np.ndarray:
    """(n,) uint64 → how many of the 64 bits of each are 1."""
    return np.unpackbits(values[:, None].view(np.uint8), axis=1).sum(1)

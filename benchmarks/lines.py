"""Lines of the benchmark's table, and how they are measured: in turn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

OURS = "this package"
BY_HAND = "a loop written by hand"


@dataclass(frozen=True)
class Line:
    """One line of the table. times: how many times better the first way of its case is, at the median pair."""

    row: str
    case: str
    way: str
    unit: str
    median: float
    low: float
    high: float
    repeats: int
    times: float | None = None
    times_low: float | None = None
    times_high: float | None = None


@dataclass(frozen=True)
class Options:
    """What the command line asks for. data: the folder of packed sets. scratch: a folder for the files of one row."""

    repeats: int
    quick: bool
    pictures: Path | None
    whole: bool
    data: Path
    scratch: Path


def compared(
    row: str, case: str, unit: str, measured: Mapping[str, Sequence[float]], more_is_better: bool = True
) -> list[Line]:
    """Lines of the ways that were measured in turn; the first is compared with all others."""
    ours = next(iter(measured.values()))
    lines = []
    for place, (way, values) in enumerate(measured.items()):
        ratios = sorted(a / b if more_is_better else b / a for a, b in zip(ours, values, strict=False)) if place else []
        times = (median(ratios), ratios[0], ratios[-1]) if ratios else ()
        lines.append(Line(row, case, way, unit, median(values), min(values), max(values), len(values), *times))
    return lines


def in_turn(ways: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Name of each way → its values, measured A B A B …, after one round that does not count."""
    for way in ways.values():
        way()
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            measured[name].append(way())
    return measured

"""What a table says of classes: attributes, or the numbers of an embedding. For classes that are never seen."""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from transferability.classes import TABLES
from transferability.files import Refused, parse_table, shown

MOST = float(np.finfo(np.float32).max)  # networks see numbers of this precision


@dataclass(frozen=True, eq=False)
class Descriptions:
    """place: the file, for messages. columns: the names of the numbers. ids: of the classes that are described. values:
    (ids, columns) float64, finite. checksum: SHA-256 of the file."""

    place: str
    columns: tuple[str, ...]
    ids: tuple[str, ...]
    values: np.ndarray
    checksum: str

    def of(self, ids: Sequence[str]) -> np.ndarray:
        """(ids, columns) float32. Refused: a class that has no row."""
        rows = {name: row for row, name in enumerate(self.ids)}
        if missing := [name for name in ids if name not in rows]:
            more = f" and of {len(missing) - 1} more" if len(missing) > 1 else ""
            raise Refused(
                f"{self.place} says nothing of class {missing[0]!r}{more}; add rows, or write undescribed='left out' "
                "in the recipe"
            )
        return self.values[[rows[name] for name in ids]].astype(np.float32)


def read_descriptions(name: str, data: Path) -> Descriptions:
    """The table of this name: one of the package's, or a CSV file in the folder of packed sets.

    Refused: there is none; a cell that is no finite number of 32 bits; a class with two rows; no column beside `id` and
    `name`.
    """
    file = data / name if name.lower().endswith(".csv") else TABLES / f"{name.replace('-', '_')}.csv"
    if not file.is_file():
        own = ", ".join(path.stem.replace("_", "-") for path in sorted(TABLES.glob("*_hypernyms.csv")))
        raise Refused(
            f"{shown(file)}: there is no such table of classes; write {own}, or the name of a .csv in {shown(data)}"
        )
    return _read(file, file.stat().st_mtime_ns)


@lru_cache(8)
def _read(file: Path, changed: int) -> Descriptions:
    """changed: when, so that a table that was written anew is read anew."""
    content = file.read_bytes()
    rows = parse_table(content, shown(file), ("id",))
    columns = tuple(name for name in (rows[0] if rows else ()) if name not in ("id", "name", ""))
    if not columns:
        raise Refused(f"{shown(file)} has no rows, or no columns beside the classes' ids")
    ids = tuple(row["id"] for row in rows)
    if twice := [name for name, rows_of in Counter(ids).items() if rows_of > 1]:
        raise Refused(f"{shown(file)}: class {twice[0]!r} stands there twice")
    values = np.array([[_number(file, row, column) for column in columns] for row in rows])
    return Descriptions(shown(file), columns, ids, values, hashlib.sha256(content).hexdigest())


def _number(file: Path, row: dict[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not abs(value) <= MOST:
        raise Refused(f"{shown(file)}: {column} of class {row['id']!r} is {row[column]!r}; write a number")
    return value

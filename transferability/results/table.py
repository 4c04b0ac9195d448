"""The results table: the columns of results.csv and curves.csv, their one writer and their one reader.

One row of results.csv is one network, one row of curves.csv is one of its validations.

`read_results` and `read_curves` read the file as it was written, and what pandas, R and spreadsheets make of it:
columns in any order and more of them, any delimiter, decimal commas, grouped digits, 1.0 for 1, UTF-16, NA for what
is missing, compressed (gzip, bzip2, xz, zip).
`read_results` takes the treatment of a network from the network's name, and refuses a row whose other columns say
something else.

pandas is imported only where a table is read, so that `collect`, which needs nothing but the columns, can read a
study's results while pandas is loaded.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transferability import treatment as treatments
from transferability.files import Refused, as_windows_text, shown, table_text, write_atomically

if TYPE_CHECKING:
    import pandas as pd

# The columns of results.csv, in order: text ("" is a value), int, or float (may be empty).
COLUMNS: dict[str, type] = {
    "study": str,
    "split": str,
    "network": str,  # without split and seed: baseA, A3B, A3B+, B3Bp1, R3B, A3B+@250, baseB@long
    "kind": str,  # base, selffer, transfer, random
    "source": str,  # "" for a base
    "target": str,
    "n": int,  # 0 for a base
    "layer": str,  # name of layer n, the last one that is copied (of A3Bp1: and frozen); "" for a base
    "preserved": int,
    "plus": str,  # "" frozen, "1" trained at the full rate, "0.1" at a tenth of it, or the word of a rule
    "rule": str,  # of the n copied layers: frozen, full, a multiple of the rate, or a word; "" for a base
    "images_per_class": str,  # "" all
    "variant": str,  # "" or a word, e.g. "long"
    "recipe": str,
    "surrogate": str,  # objective of a base that was trained without labels: rotation, exemplar; else ""
    "seed": int,
    "val_top1": float,  # final
    "val_top1_best10": float,  # mean of the ten highest; empty below 100 validations
    "val_top5": float,
    "val_class_top1": float,  # final, the mean over classes
    "val_map": float,  # final mean average precision, where images have several labels; else empty
    "val_map_eleven": float,  # the same, as PASCAL VOC 2007 counts it
    "val_precision_ten": float,  # of the ten nearest training images, of a retrieval
    "val_seen": float,  # of classes never seen, when an image may be of any class: the source's classes
    "val_unseen": float,  # the target's
    "val_harmonic": float,  # their harmonic mean
    "by_class": str,  # among the target's classes alone: n01443537=0.12 n01629819=0.3; "" of other networks
    "val_auc": float,  # final mean area under the ROC curves, where the recipe asks for it; else empty
    "val_loss": float,
    "train_loss": float,
    "train_top1": float,
    "classes": float,  # of the target
    "chance": float,  # accuracy of always naming the target's largest class
    "numbers": float,  # per image, of a readout
    "penalty": float,  # of a readout, or its number of neighbours: chosen on inner folds
    "validations": int,
    "training_images": float,  # of the target, each counted once
    "steps": int,
    "images_seen": float,
    "seconds": float,
    "images_per_second": float,
    "diverged_at": float,  # step, or empty
    "git_commit": str,
}
# Columns that tables of earlier versions lack: they are empty then.
LATER = (
    *("layer", "rule", "val_class_top1", "val_map", "val_auc", "training_images"),
    *("val_map_eleven", "val_precision_ten", "classes", "chance", "numbers", "penalty"),
    *("domain_loss", "domain_top1", "surrogate", "val_seen", "val_unseen", "val_harmonic", "by_class"),
)
# What the network's name says too.
NAMED = ("kind", "source", "target", "n", "preserved", "plus", "rule", "images_per_class", "variant")
ACCURACIES = (
    *("val_top1", "val_top1_best10", "val_top5", "val_class_top1", "val_map", "val_auc", "train_top1"),
    *("val_map_eleven", "val_precision_ten", "chance", "val_seen", "val_unseen", "val_harmonic"),
)

# The columns of curves.csv: one row per validation.
CURVES = ["study", "split", "network", "seed"]
CURVES += ["step", "images_seen", "rate", "val_top1", "val_top5", "val_loss", "train_loss", "train_top1", "seconds"]
CURVES += ["domain_loss", "domain_top1"]  # of the domain classifier, in training; empty where there is none
# Those of them that are drawn.
DRAWN: dict[str, type] = {
    **{"study": str, "split": str, "network": str, "seed": int},
    **{"step": int, "images_seen": float, "val_top1": float, "val_loss": float, "train_loss": float},
    **{"domain_loss": float, "domain_top1": float},
}

# ---------------------------------------------------------------------------------------------- names


def full_names(results: "pd.DataFrame") -> list[str]:
    """The full names of the networks in a table: random-0/A3B+/seed-0."""
    columns = (results[name].tolist() for name in ("split", "network", "seed"))
    return [f"{split}/{network}/seed-{seed}" for split, network, seed in zip(*columns, strict=True)]


# ---------------------------------------------------------------------------------------------- writing


def lines_of(rows: Iterable[Iterable[object]]) -> str:
    """The lines of a table; None is an empty cell."""
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(rows)
    return lines.getvalue()


def write_lines(path: Path, columns: Iterable[str], lines: Iterable[str]) -> None:
    """Writes a table with these columns, atomically. `lines`: of `lines_of`."""
    with write_atomically(path, "w") as handle:
        handle.write(lines_of([columns]))
        handle.writelines(lines)


# ---------------------------------------------------------------------------------------------- reading

NOTHING = {"", "na", "n/a", "#n/a", "#na", "<na>", "#nv", "nan", "nat", "null", "none", "-", "--", ".", "?"}
TRUTH = {"true": "1", "false": "0"}  # what a table program may make of a column that holds nothing but 1 and 0
DELIMITERS = ",;\t| "
SEPARATOR = re.compile(r'"?sep=.?"?\s*', re.IGNORECASE)  # a line before the table that tells spreadsheets the delimiter
# A number, digits grouped or not: by decimal sign.
NUMBERS = {
    decimal: re.compile(
        rf"[+-]?(?:\d*|[1-9]\d{{0,2}}(?:[{grouping}'’\s]\d{{3}})+)(?:[{decimal}]\d*)?(?:e[+-]?\d+)?|[+-]?inf(?:inity)?",
        re.IGNORECASE,
    )
    for decimal, grouping in (".,", ",.")
}


@dataclass(frozen=True)
class Cells:
    """The cells of a table as text, by column, and the line of the file that each row ends on. decimal: "." or ","."""

    place: str  # the file, for messages
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]
    decimal: str

    def refused(self, row: int, reason: str) -> Refused:
        return Refused(f"{self.place}, line {self.lines[row]}: {reason}")


def read_results(path: Path | str) -> "pd.DataFrame":
    """A results.csv, with exactly the columns and types of COLUMNS.

    Refused, naming file and column or line: what is no results table; a cell that is no number; an accuracy that is
    no fraction of 1; a row whose columns do not spell its network.
    """
    import pandas as pd

    cells = _cells(path, COLUMNS, "results table")
    named = _named(cells)
    return pd.DataFrame(
        {
            column: pd.Series(named[column] if column in named else _values(cells, column, kind), dtype=kind)
            for column, kind in COLUMNS.items()
        }
    )


def read_curves(path: Path | str) -> "pd.DataFrame":
    """A curves.csv, with exactly the columns and types of DRAWN. Refused, naming file and column or line, if it is
    none, or a cell is no number."""
    import pandas as pd

    cells = _cells(path, DRAWN, "table of curves")
    return pd.DataFrame({column: pd.Series(_values(cells, column, kind), dtype=kind) for column, kind in DRAWN.items()})


def _values(cells: Cells, column: str, kind: type) -> Sequence[str | float]:
    return _texts(cells.columns[column]) if kind is str else _numbers(cells, column, kind)


def _texts(column: Sequence[str]) -> list[str]:
    """A column of text, without the words for nothing."""
    texts = {cell: "" if _is_nothing(cell) else as_windows_text(cell.strip()) for cell in {*column}}
    return [texts[cell] for cell in column]


def _named(cells: Cells) -> dict[str, list[str | float]]:
    """The columns NAMED, as the networks' names spell them. Refused, with its line: a row that says otherwise."""
    networks = _texts(cells.columns["network"])
    spelled: dict[str, tuple[str | float, ...]] = {}
    checked = set()
    for row, (network, *values) in enumerate(zip(networks, *(cells.columns[name] for name in NAMED), strict=True)):
        if (network, *values) in checked:
            continue
        checked.add((network, *values))
        try:
            right = spelled[network] = _spelled(network)
        except Refused as error:
            raise cells.refused(row, str(error)) from None
        for column, cell, value in zip(NAMED, values, right, strict=True):
            is_absent = column in LATER and not cell
            if not is_absent and not _says(cell, str(value), cells.decimal):
                raise cells.refused(
                    row, f"{column} is {cell!r}, but the network is {network}, whose {column} is {str(value)!r}"
                )
    return {column: [spelled[network][i] for network in networks] for i, column in enumerate(NAMED)}


def _spelled(network: str) -> tuple[str | float, ...]:
    """The values of NAMED that a network's name spells."""
    text, *endings = network.split("@")
    treatment = treatments.parse(text)
    images = endings.pop(0) if endings and endings[0].isdigit() else ""
    variant = "@".join(endings)
    place = (treatment.kind, treatment.source, treatment.target, treatment.n, treatment.preserved)
    return (*place, treatment.plus, treatment.rule, images, variant)


def _says(cell: str, value: str, decimal: str) -> bool:
    """Whether a cell says `value`: to the letter, or as another spelling of the same number or of nothing."""
    number = _number(cell, decimal)
    if value == "":
        return _is_nothing(cell) or number == 0
    return cell.strip() == value or (number is not None and value[0].isdigit() and number == float(value))


def _numbers(cells: Cells, column: str, kind: type) -> list[float]:
    """A column of int or float. Refused, with its line: what is no number, no whole one, or no fraction of 1."""
    text = cells.columns[column]
    try:
        numbers = [float(cell or "nan") for cell in text] if cells.decimal == "." else []
    except ValueError:
        numbers = []
    for row, cell in enumerate(text if not numbers else ()):
        number = _number(cell, cells.decimal)
        if number is None:
            raise cells.refused(row, f"{column} is {cell!r}, not a number")
        numbers.append(number)
    if kind is int:
        for row, number in enumerate(numbers):
            if not number.is_integer():
                raise cells.refused(row, f"{column} is {text[row]!r}, not a whole number")
    elif column in ACCURACIES:
        for row, number in enumerate(numbers):
            if number < 0 or number > 1:  # neither holds for NaN
                raise cells.refused(row, f"{column} is {text[row]!r}; accuracies are fractions, from 0 to 1")
    return numbers


def _number(cell: str, decimal: str) -> float | None:
    """The number in a cell, NaN for nothing; None if there is something else."""
    text = TRUTH.get(cell.strip().lower(), cell.strip()).replace("\N{MINUS SIGN}", "-")
    if _is_nothing(text):
        return math.nan
    if not NUMBERS[decimal].fullmatch(text):
        return None
    plain = re.sub("['’\\s]", "", text.replace("," if decimal == "." else ".", "")).replace(",", ".")
    try:
        return float(plain)
    except ValueError:  # a sign without digits
        return None


def _is_nothing(cell: str) -> bool:
    return cell.strip().lower() in NOTHING


def _cells(path: Path | str, kinds: Mapping[str, type], what: str) -> Cells:
    """The cells of a table that has all columns of `kinds` but LATER. Refused, naming the file, if it is no such table.

    what: such a table is, for messages.
    """
    place = shown(path)
    lines = io.StringIO(_text(path), newline="")
    first, skipped = lines.readline(), 1
    while first and (not first.strip(DELIMITERS + '"\r\n') or SEPARATOR.fullmatch(first)):
        first, skipped = lines.readline(), skipped + 1
    try:
        headings = {sign: next(csv.reader([first], delimiter=sign), []) for sign in DELIMITERS}
    except csv.Error as error:
        raise Refused(f"{place} is no {what}: {error}") from None
    names = {sign: [name.strip().lower() for name in heading] for sign, heading in headings.items()}
    delimiter = max(names, key=lambda sign: len(kinds.keys() & names[sign]))
    header, heading = names[delimiter], headings[delimiter]
    if missing := [column for column in kinds if column not in (*header, *LATER)]:
        raise Refused(f"{place} is no {what}: it lacks the column {listed(missing)}")
    if twice := [column for column in kinds if header.count(column) > 1]:
        raise Refused(f"{place} has two columns {twice[0]}: leave one of them out")

    rows, numbers = [], []
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        for row in reader:
            if any(row) and row != heading:  # the heading again: tables that were put together
                rows.append(row)
                numbers.append(skipped + reader.line_num)
    except csv.Error as error:
        raise Refused(f"{place}, line {skipped + reader.line_num}: {error}") from None
    if rows and all(len(row) == len(header) + 1 for row in rows):
        # Row names that have no header (R), or a delimiter at the end of each line.
        own = slice(1, None) if any(row[-1] for row in rows) else slice(-1)
        rows = [row[own] for row in rows]
    for row, number in zip(rows, numbers, strict=True):
        if len(row) != len(header):
            raise Refused(f"{place}, line {number}: {len(row)} cells under {len(header)} columns; is it complete?")
    columns = {column: ("",) * len(rows) for column in LATER if column in kinds}
    columns |= dict(zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True))
    return Cells(place, columns, numbers, _decimal(columns, kinds))


def _decimal(columns: Mapping[str, Sequence[str]], kinds: Mapping[str, type]) -> str:
    """The decimal sign: a comma if a number can be read in no other way."""
    for column, kind in kinds.items():
        for cell in columns[column] if kind is not str or column in ("plus", "rule", "images_per_class") else ():
            if "," in cell and NUMBERS[","].fullmatch(cell) and not NUMBERS["."].fullmatch(cell):
                return ","
    return "."


def _text(path: Path | str) -> str:
    """The text of a table's file, whatever its encoding. Refused if there is none, or it is no text."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise Refused(f"{shown(path)} does not exist; `transferability results EXPERIMENT` writes it") from None
    except OSError as error:
        raise Refused(f"{shown(path)}: {error.strerror}") from None
    return table_text(content, shown(path), "results table")


def listed(names: Sequence[str], most: int = 6) -> str:
    """The first names of a list, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

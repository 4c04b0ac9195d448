"""The results table for people, as data and as print; and any table, in the width that there is.

`summary_tables` and `footnotes` are data: the report's page shows the same ones. `print_columns` never cuts a cell:
where the terminal is too narrow it leaves out whole columns, and what prints the table says which.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from transferability.names import in_spans
from transferability.results.statistics import (
    FINAL,
    MARGIN,
    MIN_UNITS,
    NOT_ENOUGH,
    STATISTICS,
    diverged,
    networks,
    summary_of,
    unpaired,
    varying,
)
from transferability.results.table import full_names, listed
from transferability.splits import group_title

NOTE_WIDTH = 100
# Of a study with `validation`. Nadeau and Bengio 2003; ask/answer.py allows for it.
OVERLAP = (
    "Each seed draws which images of the pool validate. These draws overlap, and the intervals do not allow for that: "
    "of other images of the same kind they say too much."
)
MEAN_PRECISION = " Of retrieval, and where images have several classes, top-1 is the mean average precision."

# ------------------------------------------------------------------------------------------------ numbers


def points(value: float, low: float = math.nan, sign: bool = True) -> str:
    """A fraction in points (or, without a sign, in %), with the half-width of its interval: +4.5 ±3.2. "" for NaN."""
    if math.isnan(value):
        return ""
    half_width = "" if math.isnan(low) else f" ±{100 * (value - low):.1f}"
    return f"{round(100 * value, 1) + 0.0:{'+' if sign else ''}.1f}{half_width}"  # + 0.0: no negative zero


# ------------------------------------------------------------------------------------------------ the summary


@dataclass(frozen=True)
class Column:
    """A column of a table for people.

    left: words, which begin at the left edge; numbers end at the right one. least: the width down to which the cells
    may be wrapped; 0: they are not. spare: 0 for a column that is always shown; of the others the one with the highest
    number is the first to be left out where there is no room.
    """

    head: str
    left: bool = False
    least: int = 0
    spare: int = 0


@dataclass(frozen=True)
class SummaryTable:
    """The lines of one group of splits. `rows`: a text for each of `columns`."""

    group: str
    title: str
    about: str  # whether and how its units differ
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


# Each column, and its cell in a line of `statistics.summary`.
_CELLS: tuple[tuple[Column, Callable[[Mapping[Any, Any]], str]], ...] = (
    (Column("treatment", left=True), lambda line: line["treatment"]),
    (Column("n"), lambda line: str(line["n"] or "")),
    (Column("networks"), lambda line: str(line["accuracy_networks"])),
    (Column("units"), lambda line: str(line["accuracy_units"])),
    (Column("top-1 %"), lambda line: points(line["accuracy"], line["accuracy_low"], sign=False)),
    (Column("- base"), lambda line: points(line["difference"], line["difference_low"])),
    (Column("verdict", left=True), lambda line: "?" if line["verdict"] == NOT_ENOUGH else line["verdict"]),
    (Column("co-adaptation", spare=1), lambda line: points(line["coadaptation"], line["coadaptation_low"])),
    (Column("specificity", spare=2), lambda line: points(line["specificity"], line["specificity_low"])),
    (Column("train loss", spare=3), lambda line: "" if math.isnan(line["train_loss"]) else f"{line['train_loss']:.2f}"),
    (Column("train %", spare=4), lambda line: points(line["train_top1"], sign=False)),
)


def summary_tables(rows: pd.DataFrame, accuracy_interval: bool = False) -> list[SummaryTable]:
    """The summary of `rows` (of `statistics.networks`), one table per group of splits.

    A column that is empty in every line of a group is left out. accuracy_interval: whether the top-1 accuracy has its
    interval too.
    """
    lines = summary_of(rows)
    if not accuracy_interval:
        lines["accuracy_low"] = math.nan
    tables = []
    for group in lines["group"].unique():
        varies = varying(rows["unit"][rows["group"] == group])
        members = lines[lines["group"] == group].to_dict("records")
        cells = [[cell(line) for _, cell in _CELLS] for line in members]
        used = [i for i in range(len(_CELLS)) if any(texts[i] for texts in cells)]
        tables.append(
            SummaryTable(
                group,
                group_title(group),
                f"units differ in {varies}" if varies else "one unit: no intervals",
                tuple(_CELLS[i][0] for i in used),
                tuple(tuple(texts[i] for i in used) for texts in cells),
            )
        )
    return tables


def footnotes(results: pd.DataFrame, rows: pd.DataFrame, statistic: str = FINAL) -> list[str]:
    """What the summary's columns mean, and the networks that are not in its means: by name, or how many more.

    results: the whole table. rows: its networks, from `statistics.networks`.
    """
    notes = [
        f"top-1: {STATISTICS[statistic]}. Differences in points, paired within split, target and seed. "
        "Co-adaptation: BnB - base; specificity: AnB - BnB (AnB+ - BnB+) on the same target."
        + (MEAN_PRECISION if rows["val_map"].notna().any() else ""),
        f"±: half-width of the 95 % t interval over units (split x seed), from {MIN_UNITS} units on. same: "
        f"it lies within {100 * MARGIN:g} point; above, below: it excludes 0; ?: not enough networks.",
    ]
    is_transfer = rows["kind"] == "transfer"
    unmatched = is_transfer & rows["specificity"].isna()
    if unmatched.any() and not unmatched[is_transfer].all():
        names = listed(in_spans(full_names(rows[unmatched])))
        notes.append(f"No BnB on the same target for {names}: not in the specificity.")
    if alone := unpaired(rows):
        notes.append(f"No base to compare with: {listed(in_spans(alone))}.")
    if lost := diverged(results):
        notes.append(f"Diverged, in no mean: {', '.join(lost)}.")
    return notes


def print_table(results: pd.DataFrame, statistic: str = FINAL, console: Console | None = None) -> None:
    """Prints the summary, one table per group of splits, and its footnotes."""
    console = console or Console(highlight=False)
    rows = networks(results, statistic)
    left_out: dict[str, None] = {}
    for table in summary_tables(rows):
        console.print(Text(f"{table.title} ({table.about})", "bold"))
        families = [row[0].partition("@")[0] for row in table.rows]
        left_out |= dict.fromkeys(print_columns(console, table.columns, table.rows, families))
        console.print()
    if left_out:
        print_note(console, f"No room for: {', '.join(left_out)}. A wider terminal shows them, and `results --csv`.")
    for note in footnotes(results, rows, statistic):
        print_note(console, note)


def latex(results: pd.DataFrame, statistic: str = FINAL) -> str:
    """The summary as LaTeX, for the package booktabs: one table per group of splits, with its title as caption."""
    text = ["% needs \\usepackage{booktabs}"]
    for table in summary_tables(networks(results, statistic)):
        text += [
            "\\begin{table}",
            f"\\caption{{{in_latex(f'{table.title} ({table.about})')}}}",
            f"\\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in table.columns)}}}",
            "\\toprule",
            " & ".join(in_latex(column.head) for column in table.columns) + " \\\\",
            "\\midrule",
            *(" & ".join(map(in_latex, row)) + " \\\\" for row in table.rows),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
    return "\n".join(text) + "\n"


def in_latex(cell: str) -> str:
    """A cell as LaTeX: numbers with signs in mathematics, special characters escaped."""
    if re.fullmatch(r"[+-]?\d+(\.\d+)?( ±\d+\.\d+)?", cell):
        return f"${cell.replace('±', chr(92) + 'pm ')}$"
    return re.sub(r"([%&_#])", r"\\\1", cell).replace("- base", "$-$ base").replace("+", "$^+$")


# ------------------------------------------------------------------------------------------------ any table


def print_note(console: Console, note: str) -> None:
    """Prints a text in lines of at most NOTE_WIDTH."""
    for line in Text(note).wrap(console, min(console.width, NOTE_WIDTH)):
        line.rstrip()
        console.print(line, soft_wrap=True)


def print_columns(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]], families: Sequence[str] = ()
) -> list[str]:
    """Prints a table as wide as its console; returns the heads of the columns that were left out for want of room.

    Heads are text, cells rich's markup, of one or several lines. families: a word per row; where it changes there is
    a blank line.
    """
    heads = [Text(column.head) for column in columns]
    texts = [[Text.from_markup(cell) for cell in row] for row in rows]
    natural = [max(_width(row[i]) for row in (heads, *texts)) for i in range(len(columns))]
    widths = fit(columns, natural, console.width)

    def print_row(cells: Sequence[Text]) -> None:
        wrapped = {i: cells[i].wrap(console, width) for i, width in widths.items()}
        for number in range(max(len(lines) for lines in wrapped.values())):
            line = Text()
            for i, lines in wrapped.items():
                part = lines[number] if number < len(lines) else Text()
                part.rstrip()
                part.align("left" if columns[i].left else "right", widths[i])
                line.append_text(part).append(" ")
            line.rstrip()
            console.print(line, soft_wrap=True)

    print_row(heads)
    rule = "─" if console.encoding.startswith("utf") else "-"
    console.print(rule * (sum(widths.values()) + len(widths) - 1), soft_wrap=True)
    for number, row in enumerate(texts):
        if number and families and families[number] != families[number - 1]:
            console.print()
        print_row(row)
    return [column.head for i, column in enumerate(columns) if i not in widths]


def fit(columns: Sequence[Column], natural: Sequence[int], room: int) -> dict[int, int]:
    """The columns that are printed in a width of `room`, by number, with their widths; one blank between any two.

    natural: the width of each column's longest line. First the columns that may be wrapped become narrower, then
    spare columns are left out. The others are kept even where there is no room for them: lines then wrap.
    """
    least = {i: min(natural[i], column.least or natural[i]) for i, column in enumerate(columns)}
    while sum(least.values()) + len(least) - 1 > room:
        last = max(least, key=lambda i: (columns[i].spare, i))
        if not columns[last].spare:
            break
        del least[last]
    free = room - (sum(least.values()) + len(least) - 1)
    widths = {}
    for i, width in least.items():
        widths[i] = width + max(0, min(free, natural[i] - width))
        free -= widths[i] - width
    return widths


def _width(text: Text) -> int:
    return max((line.cell_len for line in text.split()), default=0)

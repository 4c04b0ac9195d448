"""What figures are drawn from and what drawing returns: tables of networks, their means, the names of the missing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from transferability.files import Refused
from transferability.names import in_spans
from transferability.recipe import BEST_NEEDS
from transferability.results import statistics as results
from transferability.results.claims import statistic_of
from transferability.results.paper import paper_results
from transferability.results.table import full_names, read_results

HIGHEST = "the mean of the ten highest validations"
FINAL = "the final accuracy"


@dataclass(frozen=True)
class Table:
    """The networks to draw, as `results.networks` returns them, and the paper's to set beside them, if any."""

    rows: pd.DataFrame
    published: pd.DataFrame | None = None
    note: str = ""  # for the caption, where there is `published`: which accuracies are compared
    diverged: tuple[str, ...] = ()  # full names with their step; they are in no figure

    def published_of(self, rows: pd.DataFrame) -> pd.DataFrame | None:
        """The paper's networks of the group that `rows` are of; None if there are none."""
        if self.published is None:
            return None
        others = self.published[self.published["group"].isin(set(rows["group"]))]
        return others if len(others) else None


@dataclass(frozen=True)
class Drawn:
    """One figure. `split`: the group of splits, or the one split, that it shows; "" if it shows the whole table."""

    plot: str
    figure: Figure
    split: str = ""
    lines: tuple[str, ...] = ()  # to print: what the figure does not show, or says in numbers
    latex: str = ""  # of a table

    @property
    def name(self) -> str:
        return file_name(self.plot, self.split)


def file_name(plot: str, split: str = "") -> str:
    """The name of a figure's files without their ending: figure2 for all random splits, figure2-manmade-natural."""
    return f"{plot}-{split}" if split not in ("", "random") else plot


@dataclass(frozen=True)
class NotDrawn:
    """A figure that cannot be drawn, and the reason."""

    plot: str
    reason: str

    def __str__(self) -> str:
        return f"{self.plot}: not drawn: {self.reason}"


# ------------------------------------------------------------------------------------------ reading


def table_of(own: pd.DataFrame | None, paper: bool = False) -> Table:
    """One's own results (the rows of a results.csv), or the paper's (`own` is None), or both.

    One's own accuracies are the final ones. Beside the paper's they are by its statistic, the mean of the ten highest
    validations, if every network has enough validations for that.
    """
    published = results.networks(paper_results(), results.BEST) if paper or own is None else None
    if own is None:
        assert published is not None
        return Table(published)
    if published is None:
        return Table(results.networks(own), diverged=tuple(results.diverged(own)))
    statistic = statistic_of(own)
    if statistic == results.BEST:
        accuracies = f"Accuracies are {HIGHEST}."
    else:
        fewer = f"fewer than {BEST_NEEDS} validations"
        accuracies = f"Accuracies of the paper's networks are {HIGHEST}, those of this study final ones ({fewer})."
    note = f"Faint and dotted: the paper's networks. {accuracies}"
    return Table(results.networks(own, statistic), published, note, tuple(results.diverged(own)))


def read_table(path: Path | None, paper: bool = False) -> Table:
    """`table_of` a results.csv; without a path the paper's networks. Refused if it is no results table."""
    return table_of(None if path is None else read_results(path), paper)


# ------------------------------------------------------------------------------------------ choosing rows


def means(rows: pd.DataFrame, column: str = "accuracy", treatment: str | None = None) -> pd.DataFrame:
    """`results.means_by_n` of rows that are of one group, or of one treatment, without the means that do not exist."""
    chosen = rows if treatment is None else rows[rows["treatment"] == treatment]
    return results.means_by_n(chosen, column).dropna(subset="value").sort_values("n")


def line(rows: pd.DataFrame, treatment: str) -> "pd.Series[float]":
    """Mean accuracies of a treatment over n, from the base's mean at n = 0 on."""
    own = means(rows, "accuracy", treatment)
    base = means(rows, "accuracy", "base") if treatment != "base" and len(own) else own[:0]
    both = pd.concat([base, own])
    return pd.Series(both["value"].to_numpy(), index=both["n"].to_numpy(dtype=int), dtype=float)


def last_cut(rows: pd.DataFrame) -> int:
    """The largest n at which layers are drawn afresh: of frozen networks, else of AnB+, else of all networks.

    BnB+ may have one n more, at which all layers are copied and trained (B8B+).
    """
    copied = rows[rows["kind"].isin(("selffer", "transfer")) & ~is_as_it_was(rows)]
    for networks in (
        copied[(copied["plus"] == "") & (copied["preserved"] == 0)],
        copied[copied["treatment"] == "AnB+"],
    ):
        if len(networks):
            return int(networks["n"].max())
    return int(rows["n"].max())


def is_as_it_was(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Whether nothing of a network was trained, all layers being frozen (A8B): no n at which others could be cut."""
    return (rows["n"] > 0) & (rows["steps"] == 0) & (rows["variant"] == "") & rows["numbers"].isna()  # no readout


def span(first: int, last: int, dash: str = " to ") -> str:
    """A range of n: "n = 1 to 7", or "n = 1"."""
    return f"n = {first}" if first == last else f"n = {first}{dash}{last}"


def with_half_width(mean: results.Mean, factor: float = 100, digits: int = 1) -> str:
    """A mean of differences, with the half-width of its interval if it has one: +1.2 ± 0.8; in points, unless told."""
    if math.isnan(mean.value):
        return "–"
    half = "" if math.isnan(mean.high) else f" ± {factor * (mean.high - mean.value):.{digits}f}"
    return f"{factor * mean.value:+.{digits}f}{half}"


def lines_of_cells(cells: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Rows of cells as lines of text with aligned columns, to print below a figure's name."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return tuple("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def depth_of(rows: pd.DataFrame) -> int:
    """The number of layers of the networks, as far as a table shows it: one above the last cut, or all copied ones."""
    return max(last_cut(rows) + 1, int((rows["n"] + rows["preserved"]).max()))


def of_split(rows: pd.DataFrame, wanted: str) -> pd.DataFrame:
    """The rows of a group of splits ("random"), or of one split; all of them for "". Refused if there are none."""
    chosen = rows[(rows["group"] == wanted) | (rows["split"] == wanted)] if wanted else rows
    if chosen.empty and len(rows):
        raise Refused(f"the table has no split {wanted}, only {', '.join(sorted(set(rows['split'])))}")
    return chosen


def groups(rows: pd.DataFrame, wanted: str = "") -> dict[str, pd.DataFrame]:
    """The rows of each figure to draw, by group: each group that has selffer or transfer networks, or `wanted` only.

    `wanted`: "" for all groups, a group ("random" pools all random splits), or one split. Refused if the table lacks
    it.
    """
    if wanted:
        return {wanted: of_split(rows, wanted)}
    present = set(rows[rows["kind"].isin(("selffer", "transfer"))]["group"])
    return {group: rows[rows["group"] == group] for group in sorted(present, key=lambda name: (name != "random", name))}


# ------------------------------------------------------------------------------------------ what is not shown


def not_shown(name: str, rows: pd.DataFrame, treatments: Sequence[str]) -> list[str]:
    """Lines for the treatments of `rows` that a figure has no place for, and for networks that the table lacks."""
    others = rows[~rows["treatment"].isin(treatments)]["treatment"].value_counts(sort=False)
    lines = []
    if len(others):
        counted = ", ".join(f"{treatment} ({count})" for treatment, count in others.items())
        lines.append(f"{name}: in the table, but not in this figure: {counted}")
    return lines + lacking(name, missing(rows, treatments))


def lacking(name: str, networks: Sequence[str]) -> list[str]:
    """The line that names the networks which a figure would show and the table lacks; none if there are none."""
    return [f"{name}: not in the table, so not drawn: {', '.join(in_spans(networks))}"] if networks else []


def missing(rows: pd.DataFrame, treatments: Sequence[str]) -> list[str]:
    """Full names of the networks that a figure would show and the table lacks.

    Expected is, for each split and seed of the table, each of `treatments` for each task as target, at each n of the
    table at which something is left to train. Where networks copy to one task alone, as from a published base, only
    that task is a target, and only the treatments that it has are expected.
    """
    if rows.empty:
        return []
    targets = set(rows[rows["kind"] != "base"]["target"])
    if len(targets) == 1 and "W" not in targets:
        treatments = [treatment for treatment in treatments if (rows["treatment"] == treatment).any()]
    else:
        targets = {"A", "B"}
    ns = sorted({int(n) for n in rows[(rows["n"] > 0) & (rows["plus"] == "") & ~is_as_it_was(rows)]["n"]})
    depth = int((rows["n"] + rows["preserved"]).max())
    names = []
    for split, seed in sorted(set(zip(rows["split"], rows["seed"], strict=True))):
        for treatment in treatments:
            for target in "W" if split == "whole" else sorted(targets):
                networks = [f"base{target}"] if treatment == "base" else _networks(treatment, target, ns, depth)
                names += [f"{split}/{network}/seed-{seed}" for network in networks]
    present = set(full_names(rows))
    return [name for name in names if name not in present]


def _networks(treatment: str, target: str, ns: Sequence[int], depth: int) -> list[str]:
    """The names of a treatment's networks for one target, within split and seed: A1B+ to A7B+ of AnB+."""
    source = {"A": {"A": "B", "B": "A", "W": ""}[target], "B": target, "R": "R"}[treatment[0]]
    preserved = int(treatment[4:]) if "p" in treatment else 0
    if not source:
        return []  # no transfer within all classes
    ending = treatment[2:].replace("B", target, 1)
    return [f"{source}{n}{ending}" for n in ns if n + preserved <= depth]

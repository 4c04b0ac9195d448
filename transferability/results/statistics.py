"""How is an accuracy averaged? The results table, its statistics, and how they are printed.

One row of results.csv (`collect` writes it) is one network. From it:

- *accuracy*: the final top-1 accuracy on the validation set (`val_top1`), everywhere. Only beside the paper's
  own numbers, and then on both sides, its statistic: the mean of the ten highest (`val_top1_best10`).
- *difference*: a network minus the base of its own split, target and seed.
- *co-adaptation*: BnB - base. *specificity*: AnB - BnB on the same target; likewise AnB+ - BnB+.
- *mean, interval*: the unit is split x seed, because the networks of a unit share bases. Both directions
  (targets) of a unit are averaged first; a 95 % t interval over units, and none below three.
- *same*: the interval lies within one point. *above*, *below*: it excludes 0. Else: not enough networks.

A mean over networks of different targets is an accuracy, never an effect: effects are means of paired
differences. The one exception is `boosts`, which repeats the paper's Table 1 and calls it pooled.

Nothing here needs torch. Accuracies and differences are fractions (0.01 is one point) until they are printed.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import special

from transferability.files import Refused
from transferability.results.collect import COLUMNS

# ---------------------------------------------------------------------------------------------- the table

MARGIN = 0.01  # "the same": one point of top-1 accuracy, fixed before any run
NOT_ENOUGH = "not enough networks"
MIN_UNITS = 3  # below it there is no interval
MIN_VALIDATIONS = 100  # below it the mean of the ten highest is refused
PUBLISHED = "yosinski2014-published"  # the study name of the paper's own networks

STATISTICS = {
    "val_top1": "final top-1 accuracy",
    "val_top1_best10": "mean of the ten highest of all validations, the paper's statistic",
}


def read_results(path: Path | str) -> pd.DataFrame:
    """A results.csv, typed as in COLUMNS; Refused, naming file and column, if it is none."""
    try:
        raw = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise Refused(f"{path} does not exist; `transferability results EXPERIMENT` writes it") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise Refused(f"{path} is no results table ({error})") from None
    if missing := [column for column in COLUMNS if column not in raw]:
        raise Refused(f"{path} is no results table: it lacks the column {', '.join(missing)}")
    for column, kind in COLUMNS.items():
        if kind is str:
            continue
        numbers = pd.to_numeric(raw[column], errors="coerce")
        wrong = raw[column][numbers.isna() & ((kind is int) | ~raw[column].isin(["", "nan"]))]
        if len(wrong):
            raise Refused(f"{path}, line {wrong.index[0] + 2}: {column} is {wrong.iloc[0]!r}, not a number")
        raw[column] = numbers.astype(kind)
    return raw[list(COLUMNS)]


def full_names(results: pd.DataFrame) -> list[str]:
    """The full names of the networks in a table: random-0/A3B+/seed-0."""
    columns = (results[name].tolist() for name in ("split", "network", "seed"))
    return [f"{split}/{network}/seed-{seed}" for split, network, seed in zip(*columns, strict=True)]


# ----------------------------------------------------------------------------------- networks and their pairs


def networks(results: pd.DataFrame, statistic: str = "val_top1") -> pd.DataFrame:
    """The networks that count, each with its paired differences. Every figure and table starts here.

    Returns the rows of `results` but the diverged ones (`diverged` names those) with these columns added:
      group          'random' (all random splits), 'manmade-natural' or 'whole'
      treatment      in the paper's letters, whatever the direction: 'base', 'BnB', 'BnB+', 'AnB', 'AnB+',
                     'RnB', 'BnBp1', 'AnB+0.1', 'base@250' (images per class), 'base@long' (variant)
      unit           split and seed, 'random-0/seed-1'
      accuracy       the statistic
      difference     accuracy - base of the same split, target and seed (and images per class if there is one,
                     else the base on all images); of a variant of a base, minus the base; else NaN
      coadaptation   BnB - base at this n and target, for a BnB and its AnB; else NaN
      specificity    AnB - BnB (AnB+ - BnB+, ...) at this n and target, for a transfer network; else NaN
      train_loss_difference   training loss - that of the same base
    Refused: two rows for one network; a network without the statistic (fewer than 100 validations).
    """
    if statistic not in STATISTICS:
        raise Refused(f"unknown statistic {statistic!r}: choose {' or '.join(STATISTICS)}")
    names = pd.Series(full_names(results), index=results.index, dtype=str)
    if names.duplicated().any():
        raise Refused(f"two rows for {names[names.duplicated()].iloc[0]}: one table holds one result per network")

    rows = results[results["diverged_at"].isna()].copy()
    lacking = rows[statistic].isna()
    if statistic == "val_top1_best10":
        # The published logs of two networks have 90 and 80 validations; the paper used them all the same.
        lacking |= (rows["validations"] < MIN_VALIDATIONS) & (rows["study"] != PUBLISHED)
    if lacking.any():
        why = (
            f"the mean of the ten highest needs {MIN_VALIDATIONS} validations"
            if statistic == "val_top1_best10"
            else "the table has no final accuracy (val_top1)"
        )
        raise Refused(f"{_some(full_names(rows[lacking]))} cannot be used: {why}")

    rows["group"] = rows["split"].where(~rows["split"].str.startswith("random-"), "random")
    rows["treatment"] = _treatments(rows)
    rows["unit"] = rows["split"] + "/seed-" + rows["seed"].astype(str)
    rows["accuracy"] = rows[statistic]

    # The base on the same images if there is one, else that on all. A base is compared with nothing but, where it
    # is a variant, the plain base on the same images.
    key = ["split", "seed", "target", "images_per_class"]
    is_base, is_plain = rows["kind"] == "base", rows["variant"] == ""
    bases = rows[is_base & is_plain].set_index(key)[["accuracy", "train_loss"]]
    base = rows[key].join(bases, on=key)
    on_all = rows[key].assign(images_per_class="").join(bases, on=key)
    base = base.where(base["accuracy"].notna() | is_base, on_all)[~(is_base & is_plain)].reindex(rows.index)

    cut = ["split", "seed", "target", "n", "preserved", "plus", "images_per_class", "variant"]
    selffers = rows[rows["kind"] == "selffer"].set_index(cut)["accuracy"].rename("selffer")
    selffer = rows[cut].join(selffers, on=cut)["selffer"]
    is_frozen = rows["kind"].isin(["selffer", "transfer"]) & (rows["plus"] == "") & (rows["preserved"] == 0)

    rows["difference"] = rows["accuracy"] - base["accuracy"]
    rows["coadaptation"] = (selffer - base["accuracy"]).where(is_frozen)
    rows["specificity"] = (rows["accuracy"] - selffer).where(rows["kind"] == "transfer")
    rows["train_loss_difference"] = rows["train_loss"] - base["train_loss"]
    return rows.reset_index(drop=True)


def _treatments(rows: pd.DataFrame) -> list[str]:
    """The treatment of each row: see `networks`."""
    columns = ["kind", "preserved", "plus", "images_per_class", "variant"]
    return [_treatment(*its) for its in zip(*(rows[name].tolist() for name in columns), strict=True)]


def _treatment(kind: str, preserved: int, plus: str, images_per_class: str, variant: str) -> str:
    name = {"base": "base", "selffer": "BnB", "transfer": "AnB", "random": "RnB"}[kind]
    name += f"p{preserved}" if preserved else ""
    name += f"+{plus if plus != '1' else ''}" if plus else ""
    name += f"@{images_per_class}" if images_per_class else ""
    return name + (f"@{variant}" if variant else "")


def diverged(results: pd.DataFrame) -> list[str]:
    """Full names of the networks whose loss became NaN or infinite, with the step; they are in no mean."""
    rows = results[results["diverged_at"].notna()]
    return [f"{name} (step {step:.0f})" for name, step in zip(full_names(rows), rows["diverged_at"], strict=True)]


def unpaired(rows: pd.DataFrame) -> list[str]:
    """Full names of the networks (of `networks`) that have no base to be compared with."""
    return full_names(rows[rows["difference"].isna() & ((rows["kind"] != "base") | (rows["variant"] != ""))])


# --------------------------------------------------------------------------------------- means and intervals


@dataclass(frozen=True)
class Mean:
    """A mean over units and its 95 % interval: NaN without networks; no interval below three units (NaN)."""

    value: float
    low: float
    high: float
    networks: int
    units: int
    varies: str  # what varies between the units: "splits", "seeds", "splits and seeds", or "" for one unit


def mean_of(rows: pd.DataFrame, column: str = "difference") -> Mean:
    """The mean of one column of `networks` over units; rows where it is NaN do not count.

    Within a unit the networks of each target are averaged first, then the targets that there are.
    """
    return _mean_of(*(rows[name].tolist() for name in ("unit", "target", column)))


def _mean_of(units: Sequence[str], targets: Sequence[str], values: Sequence[float]) -> Mean:
    """`mean_of`, of plain lists with an entry for each network: the summary takes hundreds of means."""
    there: dict[str, dict[str, list[float]]] = {}
    networks = 0
    for unit, target, value in zip(units, targets, values, strict=True):
        if not math.isnan(value):
            there.setdefault(unit, {}).setdefault(target, []).append(value)
            networks += 1
    return _mean([fmean([fmean(some) for some in its.values()]) for its in there.values()], networks, there)


def mean_over_units(units: Iterable[float], rows: pd.DataFrame) -> Mean:
    """The mean of one value per unit, with its t interval. `rows`: the networks behind the values."""
    return _mean(list(units), len(rows), rows["unit"])


def _mean(values: Sequence[float], networks: int, units: Iterable[str]) -> Mean:
    """The mean of one value per unit, with its t interval, and what is said beside it."""
    count = len(values)
    value = fmean(values) if count else math.nan
    half_width = math.nan
    if count >= MIN_UNITS:
        variance = math.fsum((each - value) ** 2 for each in values) / (count - 1)
        half_width = float(special.stdtrit(count - 1, 0.975)) * math.sqrt(variance / count)
    return Mean(value, value - half_width, value + half_width, networks, count, _varies(units))


def pooled_mean(rows: pd.DataFrame, column: str = "accuracy") -> Mean:
    """The mean over networks whatever their unit and target, as in the paper's Table 1. No interval."""
    rows = rows[rows[column].notna()]
    value = float(rows[column].mean()) if len(rows) else math.nan
    return Mean(value, math.nan, math.nan, len(rows), rows["unit"].nunique(), _varies(rows["unit"]))


def _varies(units: Iterable[str]) -> str:
    names = [unit.rpartition("/") for unit in {*units}]
    words = {"splits": {split for split, _, _ in names}, "seeds": {seed for _, _, seed in names}}
    return " and ".join(word for word, different in words.items() if len(different) > 1)


def verdict(mean: Mean, margin: float = MARGIN) -> str:
    """What a mean of differences shows.

    'same' (the interval lies within the margin), else 'above' or 'below' (it excludes 0), else 'not enough
    networks'.
    """
    if -margin <= mean.low and mean.high <= margin:
        return "same"
    if mean.low > 0:
        return "above"
    if mean.high < 0:
        return "below"
    return NOT_ENOUGH


def means_by_n(rows: pd.DataFrame, column: str = "difference") -> pd.DataFrame:
    """`mean_of` for each group, treatment and n: what the lines of the figures are drawn from.

    Columns: group, treatment, n, value, low, high, networks, units, varies, verdict (of a difference only).
    """
    is_difference = column not in ("accuracy", "train_loss", "train_top1")
    out = []
    for (group, treatment, n), some in rows.groupby(["group", "treatment", "n"], sort=False):
        mean = mean_of(some, column)
        if mean.networks:
            out.append(
                {"group": group, "treatment": treatment, "n": n}
                | asdict(mean)
                | {"verdict": verdict(mean) if is_difference else ""}
            )
    columns = ["group", "treatment", "n", *(field.name for field in fields(Mean)), "verdict"]
    return _sorted(pd.DataFrame(out, columns=columns))


@dataclass(frozen=True)
class Boost:
    """One row of the paper's Table 1, and what becomes of it when networks are paired."""

    layers: str  # "1-7"
    transfer_over_base_pooled: Mean  # mean AnB+ - mean base, over networks of different targets: no effect
    transfer_over_selffer_pooled: Mean  # mean AnB+ - mean BnB+, likewise
    transfer_over_base: Mean  # AnB+ - base of its own target
    selffer_over_base: Mean  # BnB+ - base of its own target
    transfer_over_selffer: Mean  # AnB+ - BnB+ on the same target and n
    transfer_over_base_by_network: Mean  # the paired differences averaged over networks instead of units
    selffer_over_base_by_network: Mean


def boosts(rows: pd.DataFrame, ranges: Sequence[tuple[int, int]] = ((1, 7), (3, 7), (5, 7))) -> list[Boost]:
    """Table 1 from the random splits, pooled as in the paper and paired. `rows` are those of `networks`."""
    rows = rows[rows["group"] == "random"]
    bases = rows[rows["treatment"] == "base"]
    out = []
    for first, last in ranges:
        at = rows[rows["n"].between(first, last)]
        transfer, selffer = at[at["treatment"] == "AnB+"], at[at["treatment"] == "BnB+"]
        out.append(
            Boost(
                f"{first}-{last}",
                _minus(pooled_mean(transfer), pooled_mean(bases)),
                _minus(pooled_mean(transfer), pooled_mean(selffer)),
                mean_of(transfer),
                mean_of(selffer),
                mean_of(transfer, "specificity"),
                pooled_mean(transfer, "difference"),
                pooled_mean(selffer, "difference"),
            )
        )
    return out


def _minus(left: Mean, right: Mean) -> Mean:
    return replace(left, value=left.value - right.value)


# ------------------------------------------------------------------------------------------------ the summary

_SUMMARISED = (
    "accuracy",
    "difference",
    "coadaptation",
    "specificity",
    "train_loss",
    "train_top1",
    "train_loss_difference",
)


def summary(results: pd.DataFrame, statistic: str = "val_top1") -> pd.DataFrame:
    """One row per group, treatment and n.

    Columns: group, treatment, n, targets ("A B"), varies, verdict (of the difference), and for each of
    accuracy, difference, coadaptation, specificity, train_loss, train_top1 and train_loss_difference the mean
    under that name and its _low, _high, _networks, _units.
    """
    return _summary(networks(results, statistic))


def _summary(rows: pd.DataFrame) -> pd.DataFrame:
    """`summary` of the rows that `networks` returns."""
    out = []
    for (group, treatment, n), some in rows.groupby(["group", "treatment", "n"], sort=False):
        units, targets = some["unit"].tolist(), some["target"].tolist()
        means = {column: _mean_of(units, targets, some[column].tolist()) for column in _SUMMARISED}
        line: dict[str, Any] = {"group": group, "treatment": treatment, "n": n}
        line["targets"] = " ".join(sorted({*targets}))
        line["varies"] = _varies(units)
        line["verdict"] = verdict(means["difference"]) if means["difference"].networks else ""
        for column, mean in means.items():
            line[column] = mean.value
            for part in ("low", "high", "networks", "units"):
                line[f"{column}_{part}"] = getattr(mean, part)
        out.append(line)
    columns = ["group", "treatment", "n", "targets", "varies", "verdict"]
    for column in _SUMMARISED:
        columns += [column, *(f"{column}_{part}" for part in ("low", "high", "networks", "units"))]
    return _sorted(pd.DataFrame(out, columns=columns))


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    """In the order of the paper: random splits first; base, BnB, BnB+, AnB, AnB+, RnB; n ascending."""

    def order(treatment: str) -> tuple[int, list[tuple[bool, float, str]]]:
        kind = next(i for i, name in enumerate(("base", "BnB", "AnB", "RnB")) if treatment.startswith(name))
        parts = re.findall(r"[\d.]+|[^\d.]+", treatment)
        return kind, [(True, float(p), "") if p[0].isdigit() else (False, 0.0, p) for p in parts]

    keys = [
        (("random", "manmade-natural", "whole").index(row["group"]), order(row["treatment"]), row["n"])
        for row in frame.to_dict("records")
    ]
    return frame.iloc[sorted(range(len(frame)), key=keys.__getitem__)].reset_index(drop=True)


def print_table(results: pd.DataFrame, statistic: str = "val_top1", console: Console | None = None) -> None:
    """Prints the summary, one table per group of splits, 100 columns wide, and names what is left out."""
    console = console or Console()
    if not console.is_terminal and console.width < 100:
        console.width = 100  # a pipe has no width of its own
    rows = networks(results, statistic)
    lines = _summary(rows)
    titles = {"random": "Random splits", "manmade-natural": "Man-made / natural", "whole": "All classes"}
    for group in lines["group"].unique():
        some = lines[lines["group"] == group]
        varies = _varies(rows["unit"][rows["group"] == group])
        table = Table(
            title=f"{titles[group]} ({'units differ in ' + varies if varies else 'one unit: no intervals'})",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            title_justify="left",
            title_style="bold",
        )
        # Header and cell of each column; a column that is empty in every line is left out.
        columns: list[tuple[str, Callable[[Mapping[Any, Any]], str]]] = [
            ("treatment", lambda line: line["treatment"]),
            ("n", lambda line: str(line["n"] or "")),
            ("networks", lambda line: str(line["accuracy_networks"])),
            ("units", lambda line: str(line["accuracy_units"])),
            ("top-1 %", lambda line: _number(100 * line["accuracy"], ".1f")),
            ("- base", lambda line: _points(line, "difference")),
            ("", lambda line: {NOT_ENOUGH: "?"}.get(line["verdict"], line["verdict"])),
            ("co-adaptation", lambda line: _points(line, "coadaptation")),
            ("specificity", lambda line: _points(line, "specificity")),
            ("train loss", lambda line: _number(line["train_loss"], ".2f")),
            ("train %", lambda line: _number(100 * line["train_top1"], ".1f")),
        ]
        cells = [[cell(line) for _, cell in columns] for line in some.to_dict("records")]
        used = [i for i in range(len(columns)) if any(row[i] for row in cells)]
        for i in used:
            table.add_column(columns[i][0], justify="left" if i in (0, 6) else "right", no_wrap=True)
        above = ""
        for row in cells:
            if above and above.split("@")[0] != row[0].split("@")[0]:
                table.add_section()
            above = row[0]
            table.add_row(*(row[i] for i in used))
        console.print(table)

    notes = [
        f"top-1: {STATISTICS[statistic]}. Differences in points, paired within split, target and seed. "
        "Co-adaptation: BnB - base; specificity: AnB - BnB (AnB+ - BnB+) on the same target.",
        f"±: half-width of the 95 % t interval over units (split x seed), from {MIN_UNITS} units on. same: "
        f"it lies within {100 * MARGIN:g} point; above, below: it excludes 0; ?: not enough networks.",
    ]
    fewer = rows["specificity"].isna() & (rows["kind"] == "transfer")
    if fewer.any() and not fewer[rows["kind"] == "transfer"].all():
        notes.append(f"No BnB on the same target for {_some(full_names(rows[fewer]))}: not in the specificity.")
    if names := unpaired(rows):
        notes.append(f"No base to compare with: {_some(names)}.")
    if names := diverged(results):
        notes.append(f"Diverged, in no mean: {', '.join(names)}.")
    for note in notes:
        console.print(note, highlight=False, markup=False)


def _number(value: float, how: str) -> str:
    return "" if math.isnan(value) else format(value, how)


def _points(line: Mapping[Any, Any], column: str) -> str:
    value, low = line[column], line[f"{column}_low"]
    if math.isnan(value):
        return ""
    interval = "" if math.isnan(low) else f" ±{100 * (value - low):.1f}"
    return f"{round(100 * value, 1) + 0.0:+.1f}{interval}"  # + 0.0: no negative zero


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

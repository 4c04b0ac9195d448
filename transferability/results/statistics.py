"""How is an accuracy averaged? Paired differences, means, intervals and verdicts, from the results table.

One row of results.csv is one network. From it:

- *accuracy*: the final top-1 accuracy on the validation set (`val_top1`), everywhere. Only beside the paper's
  own numbers, and then on both sides, its statistic: the mean of the ten highest (`val_top1_best10`).
- *difference*: a network minus the base of its own split, target and seed.
- *co-adaptation*: BnB - base. *specificity*: AnB - BnB on the same target; likewise AnB+ - BnB+.
- *mean, interval*: the unit is split x seed, because the networks of a unit share bases. Both directions
  (targets) of a unit are averaged first; a 95 % t interval over units, and none below three.
- *same*: the interval lies within one point. *above*, *below*: it excludes 0. Else: not enough networks.

A mean over networks of different targets is an accuracy, never an effect: effects are means of paired
differences. The one exception is `boosts`, which repeats the paper's Table 1 and calls it pooled.

Nothing here needs torch. Accuracies and differences are fractions: 0.01 is one point.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import fmean
from typing import Any

import pandas as pd
from scipy import special

from transferability.files import Refused
from transferability.recipe import BEST_NEEDS
from transferability.results.table import COLUMNS, full_names, listed
from transferability.splits import sorted_groups, split_group
from transferability.treatment import in_letters

MARGIN = 0.01  # "the same": one point of top-1 accuracy, fixed before any run
NOT_ENOUGH = "not enough networks"
MIN_UNITS = 3  # below it there is no interval
PUBLISHED = "yosinski2014-published"  # the study name of the paper's own networks

FINAL = "val_top1"
BEST = "val_top1_best10"
STATISTICS = {
    FINAL: "final top-1 accuracy",
    BEST: "mean of the ten highest of all validations, the paper's statistic",
}

# ----------------------------------------------------------------------------------- networks and their pairs


def has_best(results: pd.DataFrame) -> "pd.Series[bool]":
    """Whether each network of a table has the paper's statistic: from BEST_NEEDS validations on.

    The published logs of two networks have 90 and 80 validations; the paper used them all the same.
    """
    enough = (results["validations"] >= BEST_NEEDS) | (results["study"] == PUBLISHED)
    return enough & results[BEST].notna()


def has_no_images(results: pd.DataFrame) -> "pd.Series[bool]":
    """The published bases that were not validated, since the images that they were trained on are not at hand."""
    return (results["steps"] == 0) & results[FINAL].isna()


def networks(results: pd.DataFrame, statistic: str = FINAL) -> pd.DataFrame:
    """The networks that count, each with its paired differences. Every figure and table starts here.

    Returns the rows of `results` without the diverged networks (`diverged` names those), with these columns added:
      group          'random' (all random splits), else the split: 'manmade-natural', 'whole'
      treatment      in the paper's letters, whatever the direction: 'base', 'BnB', 'BnB+', 'AnB', 'AnB+',
                     'RnB', 'BnBp1', 'AnB+0.1', 'base@250' (images per class), 'base@long' (variant); 'published': a
                     base that was trained elsewhere
      unit           split and seed, 'random-0/seed-1'
      accuracy       the statistic; in place of the final accuracy the mean average precision, where images have
                     several labels
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

    rows = results[results["diverged_at"].isna() & ~has_no_images(results)].copy()
    lacking = ~has_best(rows) if statistic == BEST else rows[statistic].isna()
    if lacking.any():
        reason = (
            f"the mean of the ten highest needs {BEST_NEEDS} validations"
            if statistic == BEST
            else f"the table has no final accuracy ({FINAL})"
        )
        raise Refused(f"{listed(full_names(rows[lacking]))} cannot be used: {reason}")

    letters = {name: in_letters(name) for name in rows["network"].unique()}
    rows["group"] = rows["split"].map(split_group)
    # A published base is no base of these images: it is in no mean with those that were trained on them.
    is_published = (rows["kind"] == "base") & (rows["steps"] == 0)
    rows["treatment"] = rows["network"].map(letters).mask(is_published, "published")
    rows["unit"] = rows["split"] + "/seed-" + rows["seed"].astype(str)
    rows["accuracy"] = rows[statistic] if statistic == BEST else rows["val_map"].fillna(rows[statistic])
    base, selffer = _bases(rows), _selffers(rows)
    is_frozen = rows["kind"].isin(["selffer", "transfer"]) & (rows["plus"] == "") & (rows["preserved"] == 0)
    rows["difference"] = rows["accuracy"] - base["accuracy"]
    rows["coadaptation"] = (selffer - base["accuracy"]).where(is_frozen)
    rows["specificity"] = (rows["accuracy"] - selffer).where(rows["kind"] == "transfer")
    rows["train_loss_difference"] = rows["train_loss"] - base["train_loss"]
    return rows.reset_index(drop=True)


def networks_of_several(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """`networks` of each table, put together: those of different studies may have one name. No row without tables."""
    empty = pd.DataFrame({column: pd.Series(dtype=kind) for column, kind in COLUMNS.items()})
    parts = [networks(table) for table in tables]
    return pd.concat(parts, ignore_index=True) if parts else networks(empty)


def _bases(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and training loss of the base that each row is compared with; NaN where there is none.

    That is the base on the same images if there is one, else the base on all images. A base is itself compared only
    if it is a variant, and then with the plain base on the same images; not if it was trained without labels, whose
    accuracy is of something else. Nor is a network of classes never seen that is judged on a part of them.
    """
    key = ["split", "seed", "target", "images_per_class"]
    is_base, is_plain = rows["kind"] == "base", rows["variant"] == ""
    bases = rows[is_base & is_plain].set_index(key)[["accuracy", "train_loss", "classes"]]
    on_same = rows[key].join(bases, on=key)
    on_all = rows[key].assign(images_per_class="").join(bases, on=key)
    base = on_same.where(on_same["accuracy"].notna() | is_base, on_all)
    of_all = (rows["by_class"] == "") | (rows["classes"] == base["classes"])
    return base[~(is_base & is_plain) & (rows["surrogate"] == "") & of_all].reindex(rows.index)


def _selffers(rows: pd.DataFrame) -> "pd.Series[float]":
    """The accuracy of the selffer that differs from each row in the source alone; NaN where there is none."""
    key = ["split", "seed", "target", "n", "preserved", "plus", "images_per_class", "variant"]
    selffers = rows[rows["kind"] == "selffer"].set_index(key)["accuracy"].rename("selffer")
    return rows[key].join(selffers, on=key)["selffer"]


def diverged(results: pd.DataFrame) -> list[str]:
    """Full names of the networks whose loss became NaN or infinite, with the step; they are in no mean."""
    rows = results[results["diverged_at"].notna()]
    return [f"{name} (step {step:.0f})" for name, step in zip(full_names(rows), rows["diverged_at"], strict=True)]


def unpaired(rows: pd.DataFrame) -> list[str]:
    """Full names of the networks (of `networks`) that have no base to be compared with."""
    alone = rows["difference"].isna() & ((rows["kind"] != "base") | (rows["variant"] != ""))
    return full_names(rows[alone & ~is_apart(rows)])


def is_apart(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Whether networks are readouts whose target has no base: a study of readouts alone trains none."""
    bases = rows[rows["treatment"] == "base"]
    has_base = {*zip(bases["split"], bases["target"], strict=True)}
    without = [pair not in has_base for pair in zip(rows["split"], rows["target"], strict=True)]
    return rows["numbers"].notna() & pd.Series(without, rows.index, dtype=bool)


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


NO_MEAN = Mean(math.nan, math.nan, math.nan, 0, 0, "")


def mean_of(rows: pd.DataFrame, column: str = "difference") -> Mean:
    """The mean of one column of `networks` over units; rows where it is NaN do not count.

    Within a unit the networks of each target are averaged first, then the targets that there are.
    """
    return _mean_of(*(rows[name].tolist() for name in ("unit", "target", column)))


def _mean_of(units: Sequence[str], targets: Sequence[str], values: Sequence[float]) -> Mean:
    """`mean_of`, of plain lists with an entry for each network: the summary takes hundreds of means."""
    by_unit: dict[str, dict[str, list[float]]] = {}  # unit → target → values
    networks = 0
    for unit, target, value in zip(units, targets, values, strict=True):
        if not math.isnan(value):
            by_unit.setdefault(unit, {}).setdefault(target, []).append(value)
            networks += 1
    of_units = [fmean([fmean(values) for values in by_target.values()]) for by_target in by_unit.values()]
    return _mean(of_units, networks, by_unit)


def mean_over_units(values: Iterable[float], rows: pd.DataFrame) -> Mean:
    """The mean of one value per unit, with its t interval. `rows`: the networks behind the values."""
    return _mean(list(values), len(rows), rows["unit"])


def _mean(values: Sequence[float], networks: int, units: Iterable[str]) -> Mean:
    """The mean of one value per unit, with its t interval. `units`: the unit of each network, or of each value."""
    count = len(values)
    mean = fmean(values) if count else math.nan
    half_width = math.nan
    if count >= MIN_UNITS:
        variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
        half_width = float(special.stdtrit(count - 1, 0.975)) * math.sqrt(variance / count)
    return Mean(mean, mean - half_width, mean + half_width, networks, count, varying(units))


def pooled_mean(rows: pd.DataFrame, column: str = "accuracy") -> Mean:
    """The mean over networks whatever their unit and target, as in the paper's Table 1. No interval."""
    rows = rows[rows[column].notna()]
    value = float(rows[column].mean()) if len(rows) else math.nan
    return Mean(value, math.nan, math.nan, len(rows), rows["unit"].nunique(), varying(rows["unit"]))


def varying(units: Iterable[str]) -> str:
    """What varies between units: "splits", "seeds", "splits and seeds", or "" if there is one unit."""
    names = [unit.rpartition("/") for unit in {*units}]
    parts = {"splits": {split for split, _, _ in names}, "seeds": {seed for _, _, seed in names}}
    return " and ".join(part for part, values in parts.items() if len(values) > 1)


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


def standing(mean: Mean, margin: float = MARGIN) -> str:
    """Whether what a mean of differences is about is at most `margin` worse.

    'within' (the interval ends above -margin: the same, or better), 'beyond' (it lies below -margin), else 'not enough
    networks'.
    """
    if mean.low >= -margin:
        return "within"
    if mean.high < -margin:
        return "beyond"
    return NOT_ENOUGH


def means_by_n(rows: pd.DataFrame, column: str = "difference") -> pd.DataFrame:
    """`mean_of` for each group, treatment and n: what the lines of the figures are drawn from.

    Columns: group, treatment, n, value, low, high, networks, units, varies, verdict (of a difference only).
    """
    is_difference = column not in ("accuracy", "train_loss", "train_top1")
    lines = []
    for (group, treatment, n), members in rows.groupby(["group", "treatment", "n"], sort=False):
        mean = mean_of(members, column)
        if mean.networks:
            key = {"group": group, "treatment": treatment, "n": n}
            lines.append(key | asdict(mean) | {"verdict": verdict(mean) if is_difference else ""})
    columns = ["group", "treatment", "n", *(field.name for field in fields(Mean)), "verdict"]
    return _sorted(pd.DataFrame(lines, columns=columns))


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
    lines = []
    for first, last in ranges:
        copied = rows[rows["n"].between(first, last)]
        transfer, selffer = copied[copied["treatment"] == "AnB+"], copied[copied["treatment"] == "BnB+"]
        lines.append(
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
    return lines


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


def summary(results: pd.DataFrame, statistic: str = FINAL) -> pd.DataFrame:
    """One row per group, treatment and n.

    Columns: group, treatment, n, targets ("A B"), varies, verdict (of the difference), and for each of
    accuracy, difference, coadaptation, specificity, train_loss, train_top1 and train_loss_difference the mean
    under that name and its _low, _high, _networks, _units.
    """
    return summary_of(networks(results, statistic))


def summary_of(rows: pd.DataFrame) -> pd.DataFrame:
    """`summary` of rows that `networks` returned."""
    lines = []
    for (group, treatment, n), members in rows.groupby(["group", "treatment", "n"], sort=False):
        units, targets = members["unit"].tolist(), members["target"].tolist()
        means = {column: _mean_of(units, targets, members[column].tolist()) for column in _SUMMARISED}
        line: dict[str, Any] = {"group": group, "treatment": treatment, "n": n}
        line["targets"] = " ".join(sorted({*targets}))
        line["varies"] = varying(units)
        line["verdict"] = verdict(means["difference"]) if means["difference"].networks else ""
        for column, mean in means.items():
            line[column] = mean.value
            for part in ("low", "high", "networks", "units"):
                line[f"{column}_{part}"] = getattr(mean, part)
        lines.append(line)
    columns = ["group", "treatment", "n", "targets", "varies", "verdict"]
    for column in _SUMMARISED:
        columns += [column, *(f"{column}_{part}" for part in ("low", "high", "networks", "units"))]
    return _sorted(pd.DataFrame(lines, columns=columns))


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    """In the order of the paper: random splits first; base, BnB, BnB+, AnB, AnB+, RnB; n ascending."""
    groups = sorted_groups(frame["group"])
    keys = [
        (groups.index(row["group"]), treatment_order(row["treatment"]), row["n"]) for row in frame.to_dict("records")
    ]
    return frame.iloc[sorted(range(len(frame)), key=keys.__getitem__)].reset_index(drop=True)


def treatment_order(treatment: str) -> tuple[int, list[tuple[bool, float, str]]]:
    """The place of a treatment, in the paper's letters, in the order of the paper."""
    kind = next(i for i, name in enumerate(("base", "published", "B", "A", "R")) if treatment.startswith(name))
    parts = re.findall(r"[\d.]+|[^\d.]+", treatment)
    return kind, [(True, float(p), "") if p[0].isdigit() else (False, 0.0, p) for p in parts]

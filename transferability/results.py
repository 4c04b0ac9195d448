"""How is an accuracy averaged? The results table, its statistics, and how they are printed.

One row of results.csv is one network. From it:

- *accuracy*: the final top-1 accuracy on the validation set (`val_top1`), everywhere. Only beside the paper's own
  numbers, and then on both sides, its statistic: the mean of the ten highest validations (`val_top1_best10`).
- *difference*: a network minus the base of its own split, target and seed.
- *co-adaptation*: BnB - base. *specificity*: AnB - BnB on the same target, so also AnB+ - BnB+.
- *mean, interval*: the unit is split x seed, because the networks of a unit share bases. Both directions (targets)
  of a unit are averaged first; the interval is a 95 % t interval over units, and there is none below three.
- *the same*: the interval lies within one point. *above*, *below*: it excludes 0. Else: not enough networks.

A mean over networks of different targets is an accuracy, never an effect: effects are means of paired differences.
The only exception is `boosts`, which repeats the paper's Table 1 and calls it pooled.

Nothing here needs torch. Accuracies and differences are fractions (0.01 is one point) until they are printed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console

from transferability.files import Refused, write_atomically

# ---------------------------------------------------------------------------------------------- the table

# The columns of results.csv, in order, with what they hold: text ("" is a value), int, or float (may be empty).
COLUMNS: dict[str, type] = {
    "study": str,
    "split": str,
    "network": str,  # without split and seed: baseA, A3B, A3B+, B3Bp1, R3B, A3B+@250, baseB@long
    "kind": str,  # base, selffer, transfer, random
    "source": str,  # "" for a base
    "target": str,
    "n": int,  # 0 for a base
    "preserved": int,
    "plus": str,  # "" frozen, "1" trained at the full rate, "0.1" at a tenth of it
    "images_per_class": str,  # "" all
    "variant": str,  # "" or a word, e.g. "long"
    "recipe": str,
    "seed": int,
    "val_top1": float,  # final
    "val_top1_best10": float,  # mean of the ten highest; empty below 100 validations
    "val_top5": float,
    "val_loss": float,
    "train_loss": float,
    "train_top1": float,
    "validations": int,
    "steps": int,
    "images_seen": float,
    "seconds": float,
    "images_per_second": float,
    "diverged_at": float,  # step, or empty
    "git_commit": str,
}

MARGIN = 0.01  # "the same": one point of top-1 accuracy, fixed before any run
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
        numbers = pd.to_numeric(raw[column].replace("", "nan"), errors="coerce")
        wrong = raw[column][(numbers.isna() & ~raw[column].isin(["", "nan"])) | (numbers.isna() & (kind is int))]
        if len(wrong):
            raise Refused(f"{path}, line {wrong.index[0] + 2}: {column} is {wrong.iloc[0]!r}, not a number")
        raw[column] = numbers.astype(kind)
    return raw[list(COLUMNS)]


def write_results(results: pd.DataFrame, path: Path | str) -> None:
    """Writes a results.csv atomically, in the order of COLUMNS."""
    with write_atomically(path, "w") as handle:
        results[list(COLUMNS)].to_csv(handle, index=False, lineterminator="\n")


def full_names(results: pd.DataFrame) -> list[str]:
    """The full names of the networks in a table: random-0/A3B+/seed-0."""
    return [f"{row.split}/{row.network}/seed-{row.seed}" for row in results.itertuples()]


# ----------------------------------------------------------------------------------- networks and their pairs


def networks(results: pd.DataFrame, statistic: str = "val_top1") -> pd.DataFrame:
    """The networks that count, each with its paired differences. Every figure and table starts here.

    Returns the rows of `results` but the diverged ones (`diverged` names those) with these columns added:
      group          'random' (all random splits), 'manmade-natural' or 'whole'
      treatment      the letters of the paper, whatever the direction: 'base', 'BnB', 'BnB+', 'AnB', 'AnB+', 'RnB',
                     'BnBp1', 'AnB+0.1', 'base@250' (images per class), 'base@long' (variant)
      unit           split and seed, 'random-0/seed-1'
      accuracy       the statistic
      difference     accuracy - base of the same split, target and seed (and images per class if there is one, else
                     the base on all images). Of a variant of a base: minus the base. NaN for a base and without one
      coadaptation   BnB - base at this n and target, for a BnB and its AnB; else NaN
      specificity    AnB - BnB (AnB+ - BnB+, ...) at this n and target, for a transfer network; else NaN
      train_loss_difference   training loss - that of the same base
    Refused: two rows for one network; a network without the statistic (fewer than 100 validations).
    """
    raise NotImplementedError


def diverged(results: pd.DataFrame) -> list[str]:
    """Full names of the networks whose loss became NaN or infinite, with the step: excluded from every mean."""
    raise NotImplementedError


def unpaired(rows: pd.DataFrame) -> list[str]:
    """Full names of the networks (of `networks`) that have no base to be compared with."""
    raise NotImplementedError


# --------------------------------------------------------------------------------------- means and intervals


@dataclass(frozen=True)
class Mean:
    """A mean over units with its 95 % interval. value is NaN without networks, low and high below three units."""

    value: float
    low: float
    high: float
    networks: int
    units: int
    varies: str  # what varies between the units: "splits", "seeds", "splits and seeds", or "" for one unit


def mean_of(rows: pd.DataFrame, column: str = "difference") -> Mean:
    """The mean of one column of `networks` over units; rows where it is NaN do not count."""
    raise NotImplementedError


def pooled_mean(rows: pd.DataFrame, column: str = "accuracy") -> Mean:
    """The mean over networks, whatever their unit and target: as in the paper's Table 1, without an interval."""
    raise NotImplementedError


def verdict(mean: Mean, margin: float = MARGIN) -> str:
    """'same' (the interval lies within the margin), else 'above' or 'below' (it excludes 0), else
    'not enough networks'. For means of differences."""
    raise NotImplementedError


def means_by_n(rows: pd.DataFrame, column: str = "difference") -> pd.DataFrame:
    """`mean_of` for each group, treatment and n: columns group, treatment, n, value, low, high, networks, units,
    varies, verdict. What the lines of the figures are drawn from."""
    raise NotImplementedError


@dataclass(frozen=True)
class Boost:
    """One row of the paper's Table 1, and what becomes of it when networks are paired."""

    layers: str  # "1-7"
    transfer_over_base_pooled: Mean  # mean AnB+ - mean base, over networks of different targets
    transfer_over_selffer_pooled: Mean  # mean AnB+ - mean BnB+, over networks of different targets
    transfer_over_base: Mean  # AnB+ - base of its own target
    selffer_over_base: Mean  # BnB+ - base of its own target
    transfer_over_selffer: Mean  # AnB+ - BnB+ on the same target and n


def boosts(rows: pd.DataFrame, ranges: Sequence[tuple[int, int]] = ((1, 7), (3, 7), (5, 7))) -> list[Boost]:
    """Table 1 from the random splits, pooled as in the paper and paired. `rows` from `networks`."""
    raise NotImplementedError


def summary(results: pd.DataFrame, statistic: str = "val_top1") -> pd.DataFrame:
    """One row per group, treatment and n: mean accuracy, difference, coadaptation, specificity, train_loss,
    train_top1, train_loss_difference, each with _low, _high, _networks, _units; varies; verdict (of the
    difference); targets."""
    raise NotImplementedError


def print_table(results: pd.DataFrame, statistic: str = "val_top1", console: Console | None = None) -> None:
    """Prints the summary, one table per group, at most 100 columns wide; names what is left out."""
    raise NotImplementedError

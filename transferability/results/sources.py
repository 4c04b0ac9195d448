"""Do better source networks transfer better? Accuracy of the source beside what became of its layers on a target.

After Kornblith, Shlens and Le 2019, "Do better ImageNet models transfer better?". A source is a study: its accuracy is
the mean of its own bases of the other task, or, where the base is published, what its authors say
(`transferability/tables/source_accuracies.csv`), by the word behind the first `-` of the study's name:
`backbones-tf_efficientnet_lite0`.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
from scipy import special, stats

from transferability.results.benefits import courses
from transferability.results.statistics import Mean, mean_of
from transferability.results.strategies import ways

TABLE = Path(__file__).resolve().parents[1] / "tables" / "source_accuracies.csv"


@cache
def published_accuracies() -> dict[str, float]:
    """Network → its top-1 accuracy on ILSVRC 2012, as its authors say."""
    with TABLE.open(newline="", encoding="utf-8") as handle:
        return {row["network"]: float(row["top1"]) for row in csv.DictReader(handle)}


def network_of(study: str) -> str:
    """The network that a study is named after: what is behind the first `-`."""
    return study.partition("-")[2] or study


def source_accuracy(rows: pd.DataFrame, study: str, group: str) -> float:
    """Of the bases of task A on all images, else the published one; NaN if nobody says. rows: of `networks`."""
    own = rows[(rows["study"] == study) & (rows["group"] == group) & (rows["network"] == "baseA")]
    return mean_of(own, "accuracy").value if len(own) else published_accuracies().get(network_of(study), math.nan)


@dataclass(frozen=True)
class Transferred:
    """What one source is worth on one target, by one way, at one number of images per class."""

    study: str
    group: str
    way: str
    images: int
    source: float  # its accuracy
    mean: Mean  # of the accuracies on the target
    gap: Mean  # minus from scratch, paired


def transferred(rows: pd.DataFrame) -> list[Transferred]:
    """Every source, target, way and number of images of a table with several studies. Target B alone."""
    table = ways(rows)
    table = table[table["target"] == "B"]
    place = ["study", "group", "unit", "target", "images"]
    scratch = table[table["way"] == "scratch"].set_index(place)["accuracy"].rename("scratch")
    table = table.join(scratch, on=place)
    table["gap"] = table["accuracy"] - table["scratch"]
    found = []
    for (study, group, way, images), members in table.groupby(["study", "group", "way", "images"], sort=False):
        accuracy = source_accuracy(rows, str(study), str(group))
        means = mean_of(members, "accuracy"), mean_of(members, "gap")
        found.append(Transferred(str(study), str(group), str(way), int(str(images)), accuracy, *means))
    return found


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's, over networks, with a 95 % interval; NaN below four networks, and where all are equal."""

    value: float
    low: float
    high: float
    networks: int


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation:
    """Spearman's rank correlation. Its interval is over networks: Bonett and Wright 2000, Psychometrika 65, eq. 4.

    Where all ranks agree the formula has no interval; the next lower value that so many networks can have, one pair of
    neighbours swapped, stands for it on the open side.
    """
    n = len(x)
    if n < 4 or len({*x}) == 1 or len({*y}) == 1:
        return RankCorrelation(math.nan, math.nan, math.nan, n)
    value = float(stats.spearmanr(x, y).statistic)
    inside = max(-1.0, min(1.0, value)) * (1.0 if abs(value) < 1 - 1e-9 else 1 - 12 / (n * (n * n - 1)))
    half = float(special.ndtri(0.975)) * math.sqrt((1 + inside**2 / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(inside) + sign * half) for sign in (-1, 1))
    return RankCorrelation(value, min(low, value), max(high, value), n)


def speed_ups(curves: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The transfer networks that reach the final accuracy of the network from scratch, on the same images.

    Columns of `rows`, and `speed_up`: steps after which scratch first reaches its own final accuracy, divided by the
    steps after which the network does (Kornblith et al., section 4.7). curves: of curves.csv, of one study.
    """
    known = courses(curves, rows)
    keys = list(zip(*(rows[name].tolist() for name in ("split", "network", "seed")), strict=True))
    places = list(zip(*(rows[name].tolist() for name in ("split", "target", "seed", "images_per_class")), strict=True))
    is_base = (rows["kind"] == "base") & (rows["variant"] == "")
    bases = {place: key for place, key, base in zip(places, keys, is_base, strict=True) if base and key in known}
    ups = []
    for place, key, kind in zip(places, keys, rows["kind"], strict=True):
        base, own = known.get(bases.get(place, ("", "", 0))), known.get(key)
        if kind != "transfer" or base is None or own is None:
            ups.append(math.nan)
            continue
        final = float(base.accuracy[-1])
        at, base_at = own.reached(final), base.reached(final)
        steps = math.nan if at is None else own.steps[at]
        ups.append(base.steps[base_at] / steps if base_at is not None and steps > 0 else math.nan)
    return rows.assign(speed_up=ups).dropna(subset="speed_up")

"""Which way of using a network serves how many images? Ways, chosen without the images that judge; where they cross.

A *way* is a set of networks that differ in n alone (and in m, or in the classifier): from scratch, pure transfer, top
layers fine-tuned, all copied layers fine-tuned at a tenth or at the full rate, handmade features. Which of its networks
stands for a way is chosen on other validation images: by the accuracies on the other target, where the split is trained
in both directions (its classes, and so its images, are others), else by those of the other splits and seeds. In a pool
the seeds draw what validates, so that the images of other seeds are partly the same. Where there is neither, a way with
several networks has no accuracy.

Two ways are compared within split, seed and target, at the same number of images. They cross where the mean difference,
interpolated over the logarithm of the images, is 0; the crossing lies, at 95 %, where the interval of the difference
(t, over units) contains 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from transferability.results.statistics import Mean, mean_of

# Way → its name for people, in the order of figures and tables.
WAYS = {
    "handmade": "handmade features",
    "scratch": "from scratch",
    "frozen": "pure transfer, best n",
    "top": "top layers fine-tuned",
    "tenth": "fine-tuned at a tenth",
    "full": "fine-tuned",
}
ALL = 0  # in the column images: on all images


def way_of(kind: str, n: int, preserved: int, plus: str, variant: str) -> str:
    """The way that a network is one of; "" for none: selffers, random layers, other rules, variants of bases."""
    if kind == "base":
        return "" if variant else "scratch"
    if kind == "random":
        return "" if n else "handmade"
    if kind != "transfer":
        return ""
    if plus == "":
        return "top" if preserved else "frozen"
    return {"0.1": "tenth", "1": "full"}.get(plus, "") if not preserved and not variant else ""


def ways(rows: pd.DataFrame) -> pd.DataFrame:
    """The accuracy of each way, at each number of images, for each split, seed and target.

    rows: of `statistics.networks`. Columns: study, group, unit, target, images (per class; `ALL`: all), way, network
    (the chosen one), accuracy.
    """
    columns = ["kind", "n", "preserved", "plus", "variant"]
    names = [way_of(*place) for place in zip(*(rows[column].tolist() for column in columns), strict=True)]
    rows = rows.assign(way=names, images=pd.to_numeric(rows["images_per_class"]).fillna(ALL).astype(int))
    chosen = []
    for (study, group, images, way), members in rows[rows["way"] != ""].groupby(["study", "group", "images", "way"]):
        for (unit, target), own in members.groupby(["unit", "target"]):
            row = _chosen(own, members, columns)
            if row is not None:
                place = {"study": study, "group": group, "unit": unit, "target": target, "images": images, "way": way}
                chosen.append(place | {"network": row["network"], "accuracy": row["accuracy"]})
    order = ["study", "group", "unit", "target", "images", "way", "network", "accuracy"]
    return pd.DataFrame(chosen, columns=order)


def _chosen(own: pd.DataFrame, members: pd.DataFrame, columns: list[str]) -> "pd.Series | None":
    """The one of the networks `own` (of one unit and target) that is best where others judge; None if nobody does.

    members: the networks of this way on all units and targets. columns: what tells networks of a way apart.
    """
    if len(own) == 1:
        return own.iloc[0]
    first = own.iloc[0]
    others = members[members["target"] != first["target"]]
    if others.empty:
        others = members[members["unit"] != first["unit"]]
    elsewhere = others.groupby(columns)["accuracy"].mean().rename("elsewhere")
    judged = own.join(elsewhere, on=columns).dropna(subset="elsewhere")
    return None if judged.empty else judged.sort_values(["elsewhere", "n"], ascending=[False, True]).iloc[0]


def difference(table: pd.DataFrame, left: str, right: str) -> dict[int, Mean]:
    """Images per class → the paired difference between two ways, left minus right. table: of `ways`, of one group."""
    wide = table.pivot_table(index=["unit", "target", "images"], columns="way", values="accuracy").reset_index()
    if left not in wide or right not in wide:
        return {}
    wide = wide.assign(difference=wide[left] - wide[right]).dropna(subset="difference")
    return {int(str(images)): mean_of(members) for images, members in wide.groupby("images")}


# ------------------------------------------------------------------------------------------ where ways cross


@dataclass(frozen=True)
class Crossing:
    """Where one way overtakes another, in images per class.

    at: by the means. low, high: between them the interval of the difference contains 0; 0 and infinity where it does so
    to the end of what was measured, NaN where there are no intervals.
    """

    before: str  # the way that is above up to here
    after: str
    at: float
    low: float
    high: float

    def __str__(self) -> str:
        between = "" if math.isnan(self.low) else f" ({_bound(self.low)} to {_bound(self.high)})"
        return f"{WAYS[self.after]} overtakes {WAYS[self.before]} at {self.at:.0f}{between}"


def _bound(images: float) -> str:
    if images == 0:
        return "fewer than measured"
    return "more than measured" if math.isinf(images) else f"{images:.0f}"


def crossings(table: pd.DataFrame, left: str, right: str) -> list[Crossing]:
    """Where the two ways cross, few images first. table: of `ways`, of one group."""
    means = {images: mean for images, mean in sorted(difference(table, left, right).items()) if images != ALL}
    x = [math.log(images) for images in means]
    found = []
    for i in range(len(x) - 1):
        values = [mean.value for mean in means.values()]
        if (values[i] > 0) == (values[i + 1] > 0):
            continue
        falls = values[i] > 0
        # Seen so that the difference falls from above to below 0.
        sign = 1 if falls else -1
        bounds = [(sign * mean.low, sign * mean.high) for mean in means.values()]
        lower, upper = [min(pair) for pair in bounds], [max(pair) for pair in bounds]
        at = _zero(x, values, i)
        if any(math.isnan(mean.low) for mean in means.values()):
            low = high = math.nan
        else:
            low = next((math.exp(_zero(x, lower, j)) for j in range(i, -1, -1) if lower[j] > 0), 0.0)
            high = next((math.exp(_zero(x, upper, j - 1)) for j in range(i + 1, len(x)) if upper[j] < 0), math.inf)
        found.append(Crossing(*((left, right) if falls else (right, left)), math.exp(at), low, high))
    return found


def _zero(x: Sequence[float], y: Sequence[float], i: int) -> float:
    """Where the line through the points i and i + 1 is 0."""
    return x[i] + (x[i + 1] - x[i]) * y[i] / (y[i] - y[i + 1])


# ------------------------------------------------------------------------------------------ which way is best


@dataclass(frozen=True)
class Field:
    """At one number of images: the way with the highest mean, and the ways that cannot be told from it."""

    images: int
    best: str
    beside: tuple[str, ...]


def fields(table: pd.DataFrame) -> list[Field]:
    """The best way at each number of images, few first. table: of `ways`, of one group."""
    found = []
    for images, members in table[table["images"] != ALL].groupby("images"):
        means = {str(way): mean_of(rows, "accuracy").value for way, rows in members.groupby("way")}
        best = max(means, key=means.__getitem__)
        gaps = {way: difference(members, best, way) for way in means if way != best}
        beside = [way for way, gap in gaps.items() if not any(mean.low > 0 for mean in gap.values())]
        found.append(Field(int(str(images)), best, tuple(way for way in WAYS if way in beside)))
    return found

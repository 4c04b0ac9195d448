"""How training goes, not only where it ends: a higher start, a higher slope, a higher asymptote.

The three ways in which transfer may help: Torrey and Shavlik 2009, "Transfer Learning", figure 3. Each network is
compared with the base of its own split, target and seed; accuracies are those of single validations, nothing is
smoothed:

    start k     accuracy at the first validation at or after k epochs, minus the base's. k = 0: before the first step,
                if the recipe says `validate_start`. Epochs are images seen, divided by the training images.
    slope       accuracy gained per epoch from the first validation to the first one at or after a quarter of the
                course, minus the base's
    asymptote   final accuracy, minus the base's
    reached     whether some validation is at or above the base's final accuracy
    saved       steps (images) of the base until it first reaches its own final accuracy, minus the network's; of the
                networks that reach it
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transferability.results.statistics import Mean, mean_of

STARTS = (0, 1, 2)  # epochs
EARLY = 0.25  # share of the course
MEASURES = (*(f"start {k}" for k in STARTS), "slope", "asymptote", "reached", "steps saved", "images saved")


@dataclass(frozen=True)
class Course:
    """The validations of a network. steps, epochs, images, accuracy: (v,). epochs are NaN where they are not known."""

    steps: np.ndarray
    epochs: np.ndarray
    images: np.ndarray
    accuracy: np.ndarray

    def start(self, epoch: int) -> float:
        """Accuracy at the first validation at or after `epoch` epochs; NaN if there is none."""
        if epoch == 0:
            return float(self.accuracy[0]) if self.steps[0] == 0 else np.nan
        later = np.flatnonzero(self.epochs >= epoch)
        return float(self.accuracy[later[0]]) if len(later) else np.nan

    def slope(self) -> float:
        """Accuracy gained per epoch, early in the course."""
        early = int(np.flatnonzero(self.steps >= EARLY * self.steps[-1])[0])
        epochs = self.epochs[early] - self.epochs[0]
        return float((self.accuracy[early] - self.accuracy[0]) / epochs) if epochs > 0 else np.nan

    def reached(self, accuracy: float) -> int | None:
        """The index of the first validation at or above `accuracy`; None if none is."""
        places = np.flatnonzero(self.accuracy >= accuracy)
        return int(places[0]) if len(places) else None


def courses(curves: pd.DataFrame, rows: pd.DataFrame) -> dict[tuple[str, str, int], Course]:
    """(split, network, seed) → its course. curves: of curves.csv. rows: of `statistics.networks`."""
    rows = rows[rows["steps"] > 0]  # the others have no course: nothing was trained
    numbers = dict(zip(_keys(rows), rows["training_images"].tolist(), strict=True))
    made = {}
    for (split, network, seed), validations in curves.groupby(["split", "network", "seed"], sort=False):
        key = (str(split), str(network), int(str(seed)))
        ordered = validations.sort_values("step")
        steps, seen, accuracy = (ordered[name].to_numpy(float) for name in ("step", "images_seen", "val_top1"))
        if key in numbers:
            made[key] = Course(steps, seen / numbers[key], seen, accuracy)
    return made


def _keys(rows: pd.DataFrame) -> list[tuple[str, str, int]]:
    """(split, network, seed) of each row."""
    return list(zip(*(rows[name].tolist() for name in ("split", "network", "seed")), strict=True))


def benefits(curves: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The networks of `rows` that copy from something and have a base, with a column for each of MEASURES.

    curves: of curves.csv. rows: of `statistics.networks`. `reached` is 1 or 0; what a network has not is NaN.
    """
    known = courses(curves, rows)
    is_base = (rows["kind"] == "base") & (rows["variant"] == "")
    places = list(zip(*(rows[name].tolist() for name in ("split", "target", "seed", "images_per_class")), strict=True))
    pairs = zip(places, _keys(rows), is_base, strict=True)
    bases = {place: key for place, key, chosen in pairs if chosen}
    lines, index = [], []
    for row, place, key, kind in zip(rows.index, places, _keys(rows), rows["kind"], strict=True):
        base = known.get(bases.get(place) or bases.get((*place[:3], "")) or ("", "", 0))
        own = known.get(key)
        if kind != "base" and base is not None and own is not None:
            lines.append(_measures(own, base))
            index.append(row)
    measured = pd.DataFrame(lines, columns=list(MEASURES), index=index, dtype=float)
    return rows.loc[index].join(measured)


def _measures(own: Course, base: Course) -> dict[str, float]:
    final = float(base.accuracy[-1])
    at, base_at = own.reached(final), base.reached(final)
    assert base_at is not None
    measures = {f"start {k}": own.start(k) - base.start(k) for k in STARTS}
    measures |= {"slope": own.slope() - base.slope(), "asymptote": float(own.accuracy[-1]) - final}
    saved = (
        [np.nan, np.nan] if at is None else [base.steps[base_at] - own.steps[at], base.images[base_at] - own.images[at]]
    )
    return measures | {"reached": float(at is not None), "steps saved": saved[0], "images saved": saved[1]}


def summary(measured: pd.DataFrame) -> dict[tuple[str, str, int], Mapping[str, Mean]]:
    """(group, treatment, n) → the mean of each measure over units, of what `benefits` returned."""
    return {
        (str(group), str(treatment), int(str(n))): {measure: mean_of(members, measure) for measure in MEASURES}
        for (group, treatment, n), members in measured.groupby(["group", "treatment", "n"], sort=False)
    }

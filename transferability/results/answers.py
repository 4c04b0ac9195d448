"""How many layers can be kept? The answer of a results table, in sentences, with its interval or why there is none.

For each group of splits and each treatment: the n up to which its networks are within a point of their base, or above
it; and within a point of the best networks of that group. By `statistics.standing`: the 95 % interval of the paired
difference decides, and below three units nothing is decided. Networks are compared with those that saw as many images
per class, by the same variant of the recipe.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from transferability.names import counted
from transferability.results.show import points
from transferability.results.statistics import (
    MARGIN,
    MIN_UNITS,
    NOT_ENOUGH,
    Mean,
    is_apart,
    mean_of,
    standing,
    treatment_order,
)
from transferability.splits import group_title, sorted_groups

POINT = "a point" if MARGIN == 0.01 else f"{100 * MARGIN:g} points"
UNITS = f"A unit is a split with a seed; below {MIN_UNITS} units there is no interval, which would decide."


@dataclass(frozen=True)
class Answer:
    """How the networks of one treatment compare, over n, with a reference: "base", or the best, as "AnB+ at n = 5".

    means: n → mean of the paired differences, minus the reference.
    """

    group: str
    treatment: str
    reference: str
    means: Mapping[int, Mean]

    def at(self, wanted: str) -> tuple[int, ...]:
        """The n at which the standing is `wanted`."""
        return tuple(n for n, mean in self.means.items() if standing(mean) == wanted)

    @property
    def up_to(self) -> int | None:
        """The largest n up to which all networks are within a point; None if those of the first n are not."""
        return _up_to(self.means, lambda mean: standing(mean) == "within")

    @property
    def units(self) -> int:
        return max(mean.units for mean in self.means.values())


def answers(rows: pd.DataFrame) -> list[list[Answer]]:
    """For each group of networks that are compared: its treatments against their base, then against the best.

    rows: of `statistics.networks`. Published bases are judged on other images: they are compared with nothing.
    """
    rows = rows[rows["treatment"] != "published"]
    return [
        _answers_of(group, alike)
        for group in sorted_groups(rows["group"])
        for _, alike in rows[rows["group"] == group].groupby(["images_per_class", "variant"], sort=False)
        if (alike["kind"] != "base").any()
    ]


def _answers_of(group: str, rows: pd.DataFrame) -> list[Answer]:
    """rows: networks that are compared; the base is no worse than itself."""
    is_plain_base = (rows["kind"] == "base") & (rows["variant"] == "")
    rows = rows.assign(difference=rows["difference"].mask(is_plain_base, 0.0))
    cells = {(name, n): rows[(rows["treatment"] == name) & (rows["n"] == n)] for name, n in _cells(rows)}
    means = {key: mean_of(cells[key]) for key in sorted(cells, key=lambda key: (treatment_order(key[0]), key[1]))}
    means = {key: mean for key, mean in means.items() if mean.networks}
    copying = dict.fromkeys(name for name, _ in means if not name.startswith("base"))
    against_base = [Answer(group, name, "base", _over_n(means, name)) for name in copying]
    if not against_base:
        return []
    most = max(mean.units for mean in means.values())
    best = max((key for key, mean in means.items() if mean.units == most), key=lambda key: means[key].value)
    reference = cells[best].groupby(["unit", "target"])["difference"].mean().rename("best")
    gaps = {}
    for key in means:
        cell = cells[key].join(reference, on=["unit", "target"])
        gaps[key] = mean_of(cell.assign(difference=cell["difference"] - cell["best"]))
    gaps = {key: gap for key, gap in gaps.items() if gap.networks}
    names = dict.fromkeys(name for name, _ in gaps)
    return against_base + [Answer(group, name, _cell_name(*best), _over_n(gaps, name)) for name in names]


def _cells(rows: pd.DataFrame) -> set[tuple[str, int]]:
    return set(zip(rows["treatment"].tolist(), rows["n"].tolist(), strict=True))


def _over_n(means: Mapping[tuple[str, int], Mean], treatment: str) -> dict[int, Mean]:
    return {n: mean for (name, n), mean in means.items() if name == treatment}


def _up_to(means: Mapping[int, Mean], holds: Callable[[Mean], bool]) -> int | None:
    kept = list(itertools.takewhile(lambda n: holds(means[n]), means))
    return kept[-1] if kept else None


# ------------------------------------------------------------------------------------------ in words


def sentences(rows: pd.DataFrame) -> list[str]:
    """The answers in words: a sentence for each treatment, and one on the best for each group of networks."""
    lines, compared = [], answers(rows)
    for group in filter(None, compared):
        against_base = [answer for answer in group if answer.reference == "base"]
        lines += [_against_base(answer) for answer in against_base]
        lines.append(_against_best(against_base, [answer for answer in group if answer.reference != "base"]))
    if any(answer.units < MIN_UNITS for group in compared for answer in group):
        lines.append(UNITS)
    return lines + _without_base(rows)


def _against_base(answer: Answer) -> str:
    title = f"{group_title(answer.group)}, {answer.treatment}"
    measured = sorted(answer.means)
    sparse = f"compared at n = {spans(measured)} only" if 1 < len(measured) < measured[-1] else ""
    if answer.units < MIN_UNITS:
        alone = _up_to(answer.means, lambda mean: mean.value >= -MARGIN)
        means = f"within {POINT} of its base, or above it, {_first_n(answer, alone)}"
        if alone is None:
            means = f"more than {POINT} below its base at n = {min(answer.means)} already"
        parts = [f"cannot be told from {counted(answer.units, 'unit')}", f"by the means alone, {means}", sparse]
        return f"{title}: {'; '.join(filter(None, parts))}."
    parts = []
    for kind, numbers in itertools.groupby(answer.means, key=lambda n: standing(answer.means[n])):
        ns = list(numbers)
        lowest = min(ns, key=lambda n: answer.means[n].value)
        mean = answer.means[lowest]
        value = points(mean.value, mean.low)
        value = f"lowest: {value} at n = {lowest}" if len(ns) > 1 else value
        if kind == "within":
            again = "" if answer.up_to is None else "again "
            where = _first_n(answer, ns[-1]) if ns[-1] == answer.up_to else f"{again}at n = {spans(ns)}"
            parts.append(f"{where} within {POINT} of its base, or above it ({value})")
        elif kind == "beyond":
            parts.append(f"at n = {spans(ns)} more than {POINT} below its base ({value})")
        else:
            parts.append(f"at n = {spans(ns)} it cannot be told ({value}, {NOT_ENOUGH})")
    return f"{title}: {'; '.join(filter(None, [*parts, sparse]))}."


def _first_n(answer: Answer, last: int | None) -> str:
    return f"up to n = {last}" if len(answer.means) > 1 else f"at n = {last}"


def _against_best(against_base: Sequence[Answer], compared: Sequence[Answer]) -> str:
    """One sentence: which networks are best, and which others are within a point of them."""
    best, most = compared[0].reference, max(answer.units for answer in compared)
    _, at, variety = against_base[0].treatment.partition("@")
    title = group_title(compared[0].group) + (f", networks @{variety}" if at else "")
    cells = {_cell_name(answer.treatment, n): mean for answer in against_base for n, mean in answer.means.items()}
    fewer = any(mean.units < most for mean in cells.values())
    which = f"the best of the networks with {counted(most, 'unit')}" if fewer else "the best"
    if most < MIN_UNITS:
        return f"{title}: {which}, by the means alone: {best}; what is within {POINT} of it cannot be told."
    near, unclear = _at(compared, "within", best), _at(compared, NOT_ENOUGH, best)
    measured = {answer.treatment: set(answer.means) for answer in compared}
    for answer in against_base:
        if apart := set(answer.means) - measured.get(answer.treatment, set()):
            unclear.append(_cell_name(answer.treatment, *apart))
    rest = f"; it cannot be told of {', '.join(unclear)} ({NOT_ENOUGH})" if unclear else ""
    return f"{title}: {which}, by the means: {best}; within {POINT} of it: {', '.join(near) or 'nothing else'}{rest}."


def _at(compared: Sequence[Answer], wanted: str, best: str) -> list[str]:
    """The networks, without the best, whose standing is `wanted`, in words."""
    cells = [(answer, [n for n in answer.at(wanted) if _cell_name(answer.treatment, n) != best]) for answer in compared]
    return [_cell_name(answer.treatment, *ns) for answer, ns in cells if ns]


def _without_base(rows: pd.DataFrame) -> list[str]:
    """For each group of splits: the treatments of which no network has a base."""
    lines = []
    rows = rows[~is_apart(rows)]
    for group in sorted_groups(rows["group"]):
        copying = rows[(rows["group"] == group) & (rows["kind"] != "base")]
        paired = copying.groupby("treatment", sort=False)["difference"].count()
        names = sorted(paired.index[paired == 0], key=treatment_order)
        if names:
            lines.append(
                f"{group_title(group)}, {', '.join(names)}: cannot be told, since their bases are not in the table, "
                "or have diverged."
            )
    return lines


def _cell_name(treatment: str, *ns: int) -> str:
    return f"the {treatment}" if treatment.startswith("base") else f"{treatment} at n = {spans(ns)}"


def spans(numbers: Iterable[int]) -> str:
    """Numbers in words: "3", "1 to 4 and 6"."""
    runs: list[list[int]] = []
    for n in sorted(numbers):
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)

"""The answer: which rule and which layer serve the pictures best, how sure that is, and what would make it surer.

The unit is a seed: it draws which pictures judge, which choose and which train. Nothing is chosen on pictures that
judge: for each rule, each seed takes the layer whose accuracy on its own inner pictures (a part of its training
pictures) is highest, and that network is judged.

Draws of one pool overlap, so that their results are not independent. The variance of a mean over J seeds is therefore
taken as s² (1/J + judging/training pictures), not s²/J (Nadeau and Bengio 2003, Inference for the generalization error,
section 3), and s is at least one picture of one draw. Differences between the rule that is recommended and each other
one are paired by seed, and their p values are adjusted by Holm's method.
"""

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import optimize, stats

from transferability.ask.file import LINEAR, SPLIT
from transferability.files import Missing
from transferability.results.statistics import MARGIN, MIN_UNITS
from transferability.runs.paths import StudyFolder
from transferability.runs.result import Result, read_result
from transferability.study import Study

LEVEL = 0.05
MOST_USEFUL = 1000  # seeds beyond which nobody goes
# Rule → what is done, at layer n of `depth`.
RULES = {
    "linear": "put a linear classifier on layer {n} of {depth}",
    "frozen": "keep the first {n} of {depth} layers frozen and train the rest",
    "tuned": "fine-tune the first {n} of {depth} layers, new ones above",
    "tenth": "fine-tune the first {n} of {depth} layers at a tenth of the rate",
    "scratch": "train from scratch",
}
_OF_PLUS = {"": "frozen", "1": "tuned", "0.1": "tenth"}  # as results say it


@dataclass(frozen=True)
class Candidate:
    """One way, in all seeds that are done. inner, judged: accuracies by seed. results: by seed."""

    study: str
    network: str
    depth: int
    rule: str
    n: int
    inner: Mapping[int, float]
    results: Mapping[int, Result]

    @property
    def judged(self) -> dict[int, float]:
        return {seed: float(result.val_top1 or 0.0) for seed, result in self.results.items()}

    @property
    def words(self) -> str:
        return RULES[self.rule].format(n=self.n, depth=self.depth)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval (NaN below three seeds). spread: standard deviation of one seed."""

    value: float
    half: float
    seeds: int
    spread: float = math.nan
    p: float = math.nan  # that it is 0, two-sided

    @property
    def text(self) -> str:
        """In points."""
        return f"{100 * self.value:.1f}" + ("" if math.isnan(self.half) else f" ± {100 * self.half:.1f}")


@dataclass(frozen=True)
class Rule:
    """What one rule is worth on one network, where each seed takes the layer that its own inner pictures say.

    candidate: the layer that most seeds take; of equal ones the one with the higher inner accuracy.
    """

    candidate: Candidate
    inner: float
    values: Mapping[int, float]
    estimate: Estimate
    gap: Estimate | None = None  # to the rule that is recommended, paired
    verdict: str = ""


@dataclass(frozen=True)
class Answer:
    """rules: the recommended one first, then by inner accuracy. over_n: every candidate and its estimate."""

    rules: tuple[Rule, ...]
    over_n: tuple[tuple[Candidate, Estimate], ...]
    chance: float
    ratio: float  # judging over training pictures; 0 where no seed draws which judge
    judging: int
    training: int
    learning: "Learning | None" = None
    notes: tuple[str, ...] = field(default=())

    @property
    def best(self) -> Rule:
        return self.rules[0]

    @property
    def beats_chance(self) -> bool:
        estimate = self.best.estimate
        return not math.isnan(estimate.half) and estimate.value - estimate.half > self.chance


# ------------------------------------------------------------------------------------------ what is there


def candidates(study: Study, folder: StudyFolder) -> tuple[list[Candidate], dict[int, list[Candidate]]]:
    """(those on all pictures, those on k per class by k), of the networks that are done and have not diverged."""
    found: dict[tuple[int, str, int], dict[int, Result]] = {}
    for network in study.networks:
        if not (network.variant == LINEAR or network.treatment.target == "B"):
            continue
        try:
            result = read_result(folder.result(network.name))
        except Missing:
            continue
        if result.diverged_at is None:
            rule = "linear" if network.variant else "scratch" if result.kind == "base" else _OF_PLUS[result.plus]
            key = (network.images_per_class or 0, rule, result.n)
            found.setdefault(key, {})[network.seed] = result
    name = str(getattr(study.architecture, "network", study.architecture.name))
    depth = study.architecture.depth
    every: dict[int, list[Candidate]] = {}
    for (images, rule, n), results in found.items():
        inner = {seed: inner_accuracy(result) for seed, result in results.items()}
        every.setdefault(images, []).append(Candidate(study.name, name, depth, rule, n, inner, results))
    return every.pop(0, []), every


def inner_accuracy(result: Result) -> float:
    """The accuracy on inner pictures by which a network was chosen, or stopped: a part of the training pictures."""
    if "readout" in result.provenance:
        return float(max(result.provenance["readout"].get("inner", {}).values(), default=0.0))
    rows = zip(result.series["step"], result.series.get("inner_top1", ()), strict=False)
    return float(max((value for step, value in rows if step), default=0.0))


def best_layer(found: Iterable[Candidate]) -> int | None:
    """The layer whose classifier has the highest mean inner accuracy; None if there is none."""
    linear = [one for one in found if one.rule == "linear"]
    return max(linear, key=lambda one: statistics.fmean(one.inner.values())).n if linear else None


# ------------------------------------------------------------------------------------------ estimates


def estimate(values: Sequence[float], ratio: float, pictures: int) -> Estimate:
    """The mean with its interval; see the module. pictures: of one seed, that judge."""
    count, mean = len(values), statistics.fmean(values)
    if count < MIN_UNITS:
        return Estimate(mean, math.nan, count)
    spread = max(statistics.stdev(values), 1 / pictures)
    error = spread * math.sqrt(1 / count + ratio)
    p = 2 * float(stats.t.sf(abs(mean) / error, count - 1))
    return Estimate(mean, float(stats.t.ppf(1 - LEVEL / 2, count - 1)) * error, count, spread, p)


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted for several comparisons (Holm 1979)."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def answer_of(
    found: Sequence[Candidate], fewer: Mapping[str, Mapping[int, Sequence[Candidate]]], pool: bool
) -> Answer | None:
    """The answer from all candidates of all networks; None if there are none. fewer: by study, with k per class."""
    if not found:
        return None
    any_result = next(iter(found[0].results.values()))
    judging, trained = any_result.val_images, max(1, any_result.training_images or 1)
    ratio = judging / trained if pool else 0.0
    over_n = tuple((one, estimate(list(one.judged.values()), ratio, judging)) for one in found)
    rules = []
    for (_, _), members in itertools.groupby(sorted(found, key=_rule_key), key=_rule_key):
        rules.append(_rule(list(members), ratio, judging))
    # Those that have an interval first: without one, nothing can be told.
    rules.sort(key=lambda rule: (rule.estimate.seeds < MIN_UNITS, -rule.inner))
    best, others = rules[0], _compared(rules[0], rules[1:], ratio, judging)
    curve = learning_of(fewer.get(best.candidate.study, {}), found, best.candidate.study, ratio)
    chance = float(any_result.chance or 0.0)
    return Answer((best, *others), over_n, chance, ratio, judging, trained, curve)


def _rule_key(one: Candidate) -> tuple[str, str]:
    return one.study, one.rule


def _rule(members: Sequence[Candidate], ratio: float, judging: int) -> Rule:
    """Each seed takes the layer that its inner pictures say, among the layers that have as many seeds as any."""
    most = max(len(one.inner) for one in members)
    full = [one for one in members if len(one.inner) == most]
    taken: dict[int, Candidate] = {}
    for seed in full[0].inner:
        having = [one for one in full if seed in one.inner]
        taken[seed] = max(having, key=lambda one: one.inner[seed])
    counts = {one.n: sum(other is one for other in taken.values()) for one in full}
    liked = max(full, key=lambda one: (counts[one.n], statistics.fmean(one.inner.values())))
    values = {seed: one.judged[seed] for seed, one in taken.items()}
    inner = statistics.fmean(one.inner[seed] for seed, one in taken.items())
    return Rule(liked, inner, values, estimate(list(values.values()), ratio, judging))


def _compared(best: Rule, others: Sequence[Rule], ratio: float, judging: int) -> list[Rule]:
    """The other rules, each with its paired difference to the best and a verdict."""
    gaps: list[Estimate | None] = []
    for rule in others:
        shared = sorted(rule.values.keys() & best.values.keys())
        differences = [rule.values[seed] - best.values[seed] for seed in shared]
        gaps.append(estimate(differences, ratio, judging) if differences else None)
    known = [i for i, gap in enumerate(gaps) if gap is not None and not math.isnan(gap.p)]
    adjusted = dict(zip(known, holm([gaps[i].p for i in known]), strict=True))  # type: ignore[union-attr]
    judged = []
    for i, (rule, gap) in enumerate(zip(others, gaps, strict=True)):
        verdict = "cannot tell"
        if gap is not None and i in adjusted:
            if adjusted[i] < LEVEL:
                verdict = "worse" if gap.value < 0 else "better"
            elif abs(gap.value) + gap.half <= MARGIN:
                verdict = "as good"
        judged.append(Rule(rule.candidate, rule.inner, rule.values, rule.estimate, gap, verdict))
    return judged


# ------------------------------------------------------------------------------------------ what would tell


def seeds_needed(gap: Estimate, ratio: float) -> int | None:
    """How many seeds would tell a difference like this from 0; None if none of them would: only more pictures."""
    for seeds in range(MIN_UNITS, MOST_USEFUL):
        half = float(stats.t.ppf(1 - LEVEL / 2, seeds - 1)) * gap.spread * math.sqrt(1 / seeds + ratio)
        if half < abs(gap.value):
            return seeds
    return None


def pictures_factor(gap: Estimate, ratio: float, seeds: int = 10) -> float:
    """How many times as many pictures would tell it, with `seeds` seeds: the spread falls with their square root."""
    half = float(stats.t.ppf(1 - LEVEL / 2, seeds - 1)) * gap.spread * math.sqrt(1 / seeds + ratio)
    return (half / abs(gap.value)) ** 2 if gap.value else math.inf


# ------------------------------------------------------------------------------------------ more pictures


@dataclass(frozen=True)
class Learning:
    """The learning curve of the linear classifier. points: pictures per class → accuracy; ahead: at twice and four
    times as many, extrapolated; without interval where it cannot be told."""

    n: int
    points: Mapping[int, Estimate]
    ahead: Mapping[int, Estimate]


def learning_of(
    fewer: Mapping[int, Sequence[Candidate]], found: Sequence[Candidate], study: str, ratio: float
) -> Learning | None:
    """An inverse power law, error = a + b k^-c (Cortes et al. 1994), fitted to each seed's curve by itself."""
    layers = {one.n for members in fewer.values() for one in members}
    if not layers:
        return None
    n = max(layers)
    full = next((one for one in found if (one.study, one.rule, one.n) == (study, "linear", n)), None)
    if full is None:
        return None
    result = next(iter(full.results.values()))
    most = round((result.training_images or 0) / max(1, result.classes or 1))
    curves: dict[int, Mapping[int, float]] = {
        k: next(one.judged for one in members if one.n == n)
        for k, members in sorted(fewer.items())
        if any(one.n == n for one in members)
    }
    curves[most] = full.judged
    judging = result.val_images
    points = {k: estimate(list(values.values()), ratio, judging) for k, values in curves.items()}
    ahead: dict[int, Estimate] = {}
    seeds = set.intersection(*(set(values) for values in curves.values()))
    if len(curves) >= 4 and seeds:
        for k in (2 * most, 4 * most):
            values = [_extrapolated([(x, curves[x][seed]) for x in curves], k) for seed in sorted(seeds)]
            ahead[k] = estimate(values, ratio, judging)
    return Learning(n, points, ahead)


def _extrapolated(curve: Sequence[tuple[int, float]], k: int) -> float:
    """The accuracy at k pictures per class by an inverse power law through (k, accuracy)."""
    x, y = (np.array(column, float) for column in zip(*curve, strict=True))
    error = 1 - y

    def misfit(p: np.ndarray) -> np.ndarray:
        return p[0] + p[1] * x ** -p[2] - error

    start = (max(0.0, float(error.min()) / 2), float(error.max()), 0.5)
    bounds = ([0.0, 0.0, 0.05], [1.0, 10.0, 3.0])
    fitted = optimize.least_squares(misfit, np.clip(start, [1e-6, 1e-6, 0.06], [0.99, 9.9, 2.9]), bounds=bounds).x
    return float(np.clip(1 - (fitted[0] + fitted[1] * float(k) ** -fitted[2]), 0, 1))


def names_of(candidate: Candidate, seed: int) -> str:
    """Full name of a candidate's network."""
    return f"{SPLIT}/{next(iter(candidate.results.values())).network}/seed-{seed}"

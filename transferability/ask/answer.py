"""The answer: which rule and which layer serve the pictures best, how sure that is, and what would make it surer.

The unit is a seed: it draws which pictures judge, which choose and which train. Nothing is chosen on pictures that
judge: for each rule, each seed takes the layer whose accuracy on its own inner pictures (a part of its training
pictures) is highest, and that network is judged.

Draws of one pool overlap, so that their results are not independent. The variance of a mean over J seeds is therefore
taken as s² (1/J + judging/training pictures), not s²/J (Nadeau and Bengio 2003, Inference for the generalization error,
section 3), and s is at least one picture of one draw. Where a part of the pictures is there to judge, all seeds share
it: their variance is s²/J, and that of a share of its m pictures is added, p (1 - p)/m, for a difference that of both
(which is more than it is, since both are right on the same easy pictures). A linear classifier is then one number, and
has the second part alone. Differences between the rule that is recommended and each other
one are paired by seed, and their p values are adjusted by Holm's method.
"""

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

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
    """One way, in all seeds that are done. crop: side in pixels of what the network sees. inner, judged: accuracies by
    seed. results: by seed."""

    study: str
    network: str
    crop: int
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
    """A mean over seeds with its 95 % interval (NaN where nothing says how wide it is).

    spread: standard deviation of one seed. sampling: variance that no seed changes. p: that it is 0, two-sided.
    """

    value: float
    half: float
    seeds: int
    spread: float = math.nan
    sampling: float = 0.0
    p: float = math.nan

    @property
    def text(self) -> str:
        """In points."""
        return f"{100 * self.value:z.1f}{self._interval}"

    @property
    def signed(self) -> str:
        """In points, of a difference."""
        return f"{100 * self.value:+z.1f}{self._interval}"

    @property
    def _interval(self) -> str:
        return "" if math.isnan(self.half) else f" ± {100 * self.half:.1f}"


@dataclass(frozen=True)
class Rule:
    """What one rule is worth on one network, where each seed takes the layer that its own inner pictures say.

    candidate: the layer that most seeds take; of equal ones the one with the higher inner accuracy. gap: to the rule
    that is recommended, paired. p: that the gap is 0, adjusted for several comparisons.
    """

    candidate: Candidate
    inner: float
    values: Mapping[int, float]
    estimate: Estimate
    gap: Estimate | None = None
    verdict: str = ""
    p: float = math.nan


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
    crop, depth = study.architecture.crop, study.architecture.depth
    every: dict[int, list[Candidate]] = {}
    for (images, rule, n), results in found.items():
        inner = {seed: inner_accuracy(result) for seed, result in results.items()}
        every.setdefault(images, []).append(Candidate(study.name, name, crop, depth, rule, n, inner, results))
    return every.pop(0, []), every


def inner_accuracy(result: Result) -> float:
    """The accuracy on inner pictures by which a network was chosen, or stopped: a part of the training pictures."""
    if "readout" in result.provenance:
        return float(max(result.provenance["readout"].get("inner", {}).values(), default=0.0))
    rows = zip(result.series["step"], result.series.get("inner_top1", ()), strict=False)
    return float(max((value for step, value in rows if step), default=0.0))


def mean_inner(one: Candidate) -> float:
    """The accuracy on inner pictures, mean over seeds."""
    return statistics.fmean(one.inner.values())


def likeliest_layers(linear: Iterable[Candidate]) -> list[int]:
    """Layers by the mean inner accuracy of their classifiers, the highest first; those with most seeds before others.

    linear: of one network, not empty.
    """
    order = sorted(linear, key=lambda one: (len(one.inner), mean_inner(one)), reverse=True)
    return [one.n for one in order]


# ------------------------------------------------------------------------------------------ estimates


@dataclass(frozen=True)
class Judges:
    """The pictures that judge. ratio: how many, over those that train, where each seed draws them. fixed: whether they
    are the same for all seeds, and a linear classifier too."""

    pictures: int
    ratio: float
    fixed: bool

    def sampling(self, share: float) -> float:
        """The variance of a share of pictures that are the same for all seeds; of one picture at least."""
        least = 1 / self.pictures
        return max(share * (1 - share), least * (1 - least)) / self.pictures if self.fixed else 0.0


def estimate(values: Sequence[float], judges: Judges, sampling: float = 0.0, one_value: bool = False) -> Estimate:
    """The mean with its interval; see the module. one_value: every seed would give the same."""
    count, mean = len(values), statistics.fmean(values)
    if one_value and sampling:
        error = math.sqrt(sampling)
        p = 2 * float(stats.norm.sf(abs(mean) / error))
        return Estimate(mean, float(stats.norm.ppf(1 - LEVEL / 2)) * error, count, 0.0, sampling, p)
    if count < MIN_UNITS:
        return Estimate(mean, math.nan, count)
    spread = max(statistics.stdev(values), 1 / judges.pictures)
    error = _error(spread, count, judges.ratio, sampling)
    p = 2 * float(stats.t.sf(abs(mean) / error, count - 1))
    return Estimate(mean, float(stats.t.ppf(1 - LEVEL / 2, count - 1)) * error, count, spread, sampling, p)


def _error(spread: float, seeds: int, ratio: float, sampling: float) -> float:
    """Standard error of a mean over seeds."""
    return math.sqrt(spread**2 * (1 / seeds + ratio) + sampling)


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
    judges = Judges(judging, judging / trained if pool else 0.0, not pool)
    over_n = tuple((one, _judged(one.rule, one.judged, judges)) for one in found)
    rules = []
    for (_, _), members in itertools.groupby(sorted(found, key=_rule_key), key=_rule_key):
        rules.append(_rule(list(members), judges))
    # Those that have an interval first: without one, nothing can be told.
    rules.sort(key=lambda rule: (math.isnan(rule.estimate.half), -rule.inner))
    best, others = rules[0], compared(rules[0], rules[1:], judges)
    measured = [study for study, by_count in fewer.items() if by_count]
    study = best.candidate.study if best.candidate.study in measured else next(iter(measured), "")
    curve = learning_of(fewer.get(study, {}), found, study, judges)
    chance = float(any_result.chance or 0.0)
    return Answer((best, *others), over_n, chance, judges.ratio, judging, trained, curve)


def _judged(rule: str, values: Mapping[int, float], judges: Judges) -> Estimate:
    """The accuracy of a rule, or of one layer of it. values: by seed."""
    sampling = judges.sampling(statistics.fmean(values.values()))
    return estimate(list(values.values()), judges, sampling, judges.fixed and rule == "linear")


def _rule_key(one: Candidate) -> tuple[str, str]:
    return one.study, one.rule


def _rule(members: Sequence[Candidate], judges: Judges) -> Rule:
    """Each seed takes the layer that its inner pictures say, among the layers that have as many seeds as any."""
    most = max(len(one.inner) for one in members)
    full = [one for one in members if len(one.inner) == most]
    taken: dict[int, Candidate] = {}
    for seed in full[0].inner:
        having = [one for one in full if seed in one.inner]
        taken[seed] = max(having, key=lambda one: one.inner[seed])
    counts = {one.n: sum(other is one for other in taken.values()) for one in full}
    liked = max(full, key=lambda one: (counts[one.n], mean_inner(one)))
    values = {seed: one.judged[seed] for seed, one in taken.items()}
    inner = statistics.fmean(one.inner[seed] for seed, one in taken.items())
    return Rule(liked, inner, values, _judged(liked.rule, values, judges))


def _gap(rule: Rule, best: Rule, judges: Judges) -> Estimate | None:
    """The difference of a rule to the best, paired by seed; what is one number for all seeds is paired with each."""
    fixed = [judges.fixed and each.candidate.rule == "linear" for each in (rule, best)]
    ours, theirs = rule.values, best.values
    if fixed[0]:
        ours = dict.fromkeys(theirs, next(iter(ours.values())))
    if fixed[1]:
        theirs = dict.fromkeys(ours, next(iter(theirs.values())))
    differences = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    sampling = judges.sampling(rule.estimate.value) + judges.sampling(best.estimate.value)
    return estimate(differences, judges, sampling, all(fixed)) if differences else None


def compared(best: Rule, others: Sequence[Rule], judges: Judges) -> list[Rule]:
    """The other rules, each with its difference to the best, a verdict and the p value adjusted for all of them."""
    gaps = [_gap(rule, best, judges) for rule in others]
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
        judged.append(replace(rule, gap=gap, verdict=verdict, p=adjusted.get(i, math.nan)))
    return judged


# ------------------------------------------------------------------------------------------ what would tell


def seeds_needed(gap: Estimate, ratio: float) -> int | None:
    """How many seeds would tell a difference like this from 0; None if none of them would: only more pictures."""
    for seeds in range(MIN_UNITS, MOST_USEFUL):
        half = float(stats.t.ppf(1 - LEVEL / 2, seeds - 1)) * _error(gap.spread, seeds, ratio, gap.sampling)
        if half < abs(gap.value):
            return seeds
    return None


def pictures_factor(gap: Estimate, ratio: float, seeds: int = 10) -> float:
    """How many times as many pictures would tell it, with `seeds` seeds: the spread falls with their square root."""
    half = float(stats.t.ppf(1 - LEVEL / 2, seeds - 1)) * _error(gap.spread, seeds, ratio, gap.sampling)
    return (half / abs(gap.value)) ** 2 if gap.value else math.inf


# ------------------------------------------------------------------------------------------ more pictures


@dataclass(frozen=True)
class Learning:
    """The learning curve of a linear classifier, `of` on all pictures. points: pictures per class → accuracy; ahead: at
    twice and four times as many, extrapolated; without interval where it cannot be told."""

    of: Candidate
    points: Mapping[int, Estimate]
    ahead: Mapping[int, Estimate]


def learning_of(
    fewer: Mapping[int, Sequence[Candidate]], found: Sequence[Candidate], study: str, judges: Judges
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
    points = {k: _judged("linear", values, judges) for k, values in curves.items()}
    ahead: dict[int, Estimate] = {}
    seeds = set.intersection(*(set(values) for values in curves.values()))
    if len(curves) >= 4 and seeds:
        for k in (2 * most, 4 * most):
            values = [_extrapolated([(x, curves[x][seed]) for x in curves], k) for seed in sorted(seeds)]
            ahead[k] = estimate(values, judges)
    return Learning(full, points, ahead)


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


def name_of(candidate: Candidate) -> str:
    """Full name of a candidate's network of the first seed, whose weights are kept."""
    return f"{SPLIT}/{next(iter(candidate.results.values())).network}/seed-{min(candidate.results)}"

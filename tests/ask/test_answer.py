"""The statistics of `ask`, on results that nobody has trained."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from outcomes import result_of
from project import PROJECT
from tiny import tiny_study

from transferability.ask.answer import Candidate, Judges, answer_of, estimate, holm, learning_of, seeds_needed
from transferability.ask.words import learning_lines, sentence, what_would_tell
from transferability.files import Refused
from transferability.results.statistics import MIN_UNITS

STUDY = tiny_study([f"random-0/{name}/seed-{seed}" for name in ("baseA", "A1B") for seed in range(10)])
JUDGING, TRAINING = 100, 300
DRAWN = Judges(JUDGING, JUDGING / TRAINING, False)


def candidate(rule: str, n: int, inner: Mapping[int, float], judged: Mapping[int, float], each: int = 0) -> Candidate:
    """Accuracies by seed. each: training pictures per class, where they are fewer."""
    changes = {"val_images": JUDGING, "chance": 0.1, "classes": 10, "training_images": 10 * each or TRAINING}
    results = {
        seed: result_of(STUDY, f"random-0/A1B/seed-{seed}", val_top1=value, **changes) for seed, value in judged.items()
    }
    return Candidate("asked", "torchvision:alexnet", 224, 8, rule, n, inner, results)


def seeds(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def test_each_seed_takes_the_layer_that_its_own_inner_pictures_say() -> None:
    low = candidate("linear", 1, seeds(0.5, 0.9, 0.5), seeds(0.1, 0.2, 0.3))
    high = candidate("linear", 2, seeds(0.6, 0.8, 0.6), seeds(0.4, 0.9, 0.6))
    answer = answer_of([low, high], {}, True)
    assert answer is not None and answer.best.values == seeds(0.4, 0.2, 0.6)
    assert answer.best.candidate is high


def test_the_same_network_on_larger_pictures_is_told_apart() -> None:
    small = candidate("linear", 2, seeds(0.6, 0.6, 0.6), seeds(0.60, 0.61, 0.62))
    large = replace(candidate("linear", 3, seeds(0.9, 0.9, 0.9), seeds(0.90, 0.91, 0.92)), study="large", crop=448)
    fewer = {k: [replace(candidate("linear", 3, {0: 0.5}, {0: 0.5}, k), study="large", crop=448)] for k in (5, 8)}
    answer = answer_of([small, large], {"asked": {}, "large": fewer}, True)
    assert answer is not None and answer.learning is not None
    assert sentence(answer) == (
        "Put a linear classifier on layer 3 of 8 (448 pixels): 91.0 ± 3.5 %; put a linear classifier on layer 2 of 8 "
        "(224 pixels): 61.0 ± 3.5."
    )
    assert learning_lines(answer)[0].startswith("a linear classifier on layer 3 (448 pixels), by pictures per class")


def test_intervals_allow_for_draws_that_overlap_and_need_three_seeds() -> None:
    values = [0.5, 0.52, 0.54]
    apart_judges = Judges(JUDGING, 0.0, False)
    drawn, apart = estimate(values, DRAWN), estimate(values, apart_judges)
    assert apart.half == pytest.approx(4.3027 * 0.02 / math.sqrt(3), rel=1e-3)
    assert drawn.half == pytest.approx(apart.half * math.sqrt((1 / 3 + 1 / 3) / (1 / 3)), rel=1e-6)
    assert math.isnan(estimate(values[: MIN_UNITS - 1], apart_judges).half)
    same = estimate([0.5, 0.5, 0.5], Judges(2, 0.0, False))  # of two pictures: no certainty
    assert same.half > 0.5


def test_several_comparisons_are_allowed_for() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    best = candidate("linear", 3, seeds(*[0.9] * 5), seeds(0.90, 0.91, 0.92, 0.90, 0.91))
    near = candidate("tenth", 7, seeds(*[0.8] * 5), seeds(0.90, 0.90, 0.92, 0.91, 0.90))
    far = candidate("scratch", 0, seeds(*[0.4] * 5), seeds(0.40, 0.42, 0.41, 0.40, 0.39))
    answer = answer_of([far, near, best], {}, True)
    assert answer is not None
    assert [(rule.candidate.rule, rule.verdict) for rule in answer.rules] == [
        ("linear", ""),
        ("tenth", "cannot tell"),
        ("scratch", "worse"),
    ]
    assert sentence(answer).startswith("Put a linear classifier on layer 3 of 8: 90.8 ± ")
    assert "not distinguishable" in sentence(answer)
    assert len(what_would_tell(answer, 60)) == 1
    assert "40.4" in sentence(answer)


def test_what_would_tell_is_seeds_only_where_seeds_can() -> None:
    small = estimate([0.001, 0.03, -0.02], DRAWN)
    assert seeds_needed(small, JUDGING / TRAINING) is None  # draws of one pool will not tell
    large = estimate([0.05, 0.09, 0.03], DRAWN)
    needed = seeds_needed(large, JUDGING / TRAINING)
    assert needed is not None and 3 < needed < 20


def test_pictures_that_judge_all_seeds_are_a_sample_too() -> None:
    """Where a part of the pictures judges, a linear classifier is one number, and can win all the same."""
    linear = candidate("linear", 3, seeds(0.95), seeds(0.95))
    tuned = candidate("tuned", 7, seeds(0.8, 0.8, 0.8), seeds(0.80, 0.81, 0.79))
    near = candidate("tenth", 7, seeds(0.9, 0.9, 0.9), seeds(0.94, 0.93, 0.92))
    answer = answer_of([tuned, linear, near], {}, False)
    assert answer is not None and [rule.candidate.rule for rule in answer.rules] == ["linear", "tenth", "tuned"]
    half = answer.best.estimate.half
    assert half == pytest.approx(1.96 * math.sqrt(0.95 * 0.05 / JUDGING), rel=1e-3)
    assert [rule.verdict for rule in answer.rules[1:]] == ["cannot tell", "cannot tell"]  # 15 points, 100 pictures
    gap = answer.rules[2].gap
    assert gap is not None and gap.seeds == 3 and gap.value == pytest.approx(-0.15)
    drawn = answer_of([tuned, linear, near], {}, True)  # one seed of a pool says nothing
    assert drawn is not None and drawn.rules[-1].candidate.rule == "linear"


def test_what_would_tell_says_of_what_and_what_ask_does_not_do() -> None:
    """Of one seed there is no interval; `ask` trains ten seeds, and the rest is done by hand."""
    large = replace(candidate("linear", 3, seeds(0.9, 0.9, 0.9), seeds(0.5, 0.5, 0.5)), study="large", crop=448)
    close = candidate("linear", 3, seeds(0.8, 0.8, 0.8), seeds(0.455, 0.46, 0.465))
    once = candidate("scratch", 0, seeds(0.2), seeds(0.2))
    answer = answer_of([large, close, once], {}, True)
    assert answer is not None and sentence(answer).endswith("train from scratch (224 pixels): 20.0 (1 seed only).")
    *_, of_scratch = what_would_tell(answer, 60)
    assert of_scratch == "scratch (224 pixels): 2 more seeds, for an interval: --minutes MORE"
    far = replace(close, results=candidate("linear", 3, close.inner, seeds(0.46, 0.56, 0.42)).results)
    pictures = answer_of([large, replace(far, crop=448)], {}, True)
    assert pictures is not None and "seeds will not tell" in what_would_tell(pictures, 60)[0]
    drawn = replace(pictures, ratio=0.0)
    assert "more seeds" in (line := what_would_tell(drawn, 60)[0]) and "write the numbers into" in line


def test_without_three_seeds_it_cannot_tell() -> None:
    answer = answer_of([candidate("linear", 3, seeds(0.9), seeds(0.9))], {}, True)
    assert answer is not None and sentence(answer).startswith("Cannot tell") and "no interval" in sentence(answer)


def test_of_random_labels_it_reports_chance_and_cannot_tell() -> None:
    """Eight layers whose predictions are guesses, in 60 pools: the layer that is taken is at chance, too."""
    draw, told, values = np.random.default_rng(0), 0, []
    for _ in range(60):
        right = draw.random((8, JUDGING + TRAINING)) < 0.1
        parts = [draw.permutation(JUDGING + TRAINING) for _ in range(3)]
        found = [
            candidate(
                "linear",
                n + 1,
                seeds(*(float(right[n, part[JUDGING:]].mean()) for part in parts)),
                seeds(*(float(right[n, part[:JUDGING]].mean()) for part in parts)),
            )
            for n in range(8)
        ]
        answer = answer_of(found, {}, True)
        assert answer is not None
        told += answer.beats_chance
        values.append(answer.best.estimate.value)
        assert answer.beats_chance or sentence(answer).startswith("Cannot tell")
    assert abs(np.mean(values) - 0.1) < 4 * 0.03 / math.sqrt(60)
    assert told <= 0.07 * 60


def test_the_learning_curve_is_extrapolated_by_a_power_law() -> None:
    def accuracy(k: int) -> float:
        return 1 - (0.05 + 0.8 * k**-0.7)

    def at(k: int) -> Candidate:
        return candidate("linear", 3, seeds(*[0.5] * 3), seeds(*(accuracy(k) + e for e in (-0.002, 0, 0.002))), k)

    fewer = {k: [at(k)] for k in (2, 4, 8, 16)}
    curve = learning_of(fewer, [at(30)], "asked", DRAWN)
    assert curve is not None and list(curve.ahead) == [60, 120]
    for k, ahead in curve.ahead.items():
        assert ahead.value == pytest.approx(accuracy(k), abs=0.005) and ahead.half > 0
    few = learning_of({8: [at(8)]}, [at(30)], "asked", DRAWN)
    assert few is not None and not few.ahead
    answer = answer_of([at(30)], {"asked": fewer}, True)
    assert answer is not None and "60: " in learning_lines(answer)[1]


def test_an_answer_is_held_against_all_that_a_longer_study_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PROJECT / "benchmarks")
    from ask_again import beside, report

    def later(*values: float) -> dict[int, float]:
        return dict(enumerate(values, 5))  # of the seeds that are not the answer's

    tried = [
        candidate("linear", 3, later(*[0.9] * 5), later(0.90, 0.91, 0.92, 0.90, 0.91)),
        candidate("linear", 2, later(*[0.8] * 5), later(0.90, 0.90, 0.92, 0.91, 0.90)),
        candidate("scratch", 0, later(*[0.4] * 5), later(0.40, 0.42, 0.41, 0.40, 0.39)),
        candidate("tuned", 7, later(*[0.9] * 2), later(0.90, 0.91)),  # two seeds say nothing
    ]
    longer = answer_of(tried, {}, True)
    assert longer is not None
    gaps = {(rule.candidate.rule, rule.candidate.n): (rule.gap, rule.p) for rule in beside(longer)}
    assert set(gaps) == {("linear", 3), ("linear", 2), ("scratch", 0)}
    assert math.isnan(gaps["linear", 3][1])  # it is what is recommended, and no comparison
    assert gaps["linear", 2][0].value == pytest.approx(-0.002) and gaps["linear", 2][1] == gaps["linear", 2][0].p
    assert gaps["scratch", 0][1] == pytest.approx(2 * gaps["scratch", 0][0].p) and gaps["scratch", 0][1] < 0.001
    for rule, n, where in (
        ("linear", 2, "recommends is among these"),
        ("scratch", 0, "recommends is not among these"),
        ("tuned", 7, "was not tried with enough seeds"),
    ):
        short = answer_of([candidate(rule, n, seeds(0.9, 0.9, 0.9), seeds(0.8, 0.9, 0.9))], {}, True)
        assert short is not None
        said = " ".join(report(short, longer).split())
        assert "3 ways; 2 are the recommended one or not distinguishable from it" in said and said.endswith(where)
        assert said.count("the answer") == 1 + (n != 7)  # in its row, and in the last line
    with pytest.raises(Refused, match="seed 5 is in both"):
        report(longer, longer)

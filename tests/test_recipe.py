"""Recipes: the paper's numbers, the schedules, what is refused."""

import dataclasses
import math

import pytest

from transferability.files import Refused
from transferability.recipe import PAPER, PAPER_REDUCED, Recipe, long

SMALL = Recipe("small", steps=100, batch=8, rate=0.2, crop=28, validate_every=30)
POSITIVE = ("batch", "rate", "crop", "validate_every", "shrink", "scale")


def test_the_paper() -> None:
    later = ("optimiser", "beta2", "crops", "least_area", "colour", "label_smoothing", "class_weights", "clip", "stop")
    later += (
        "patience",
        "held_out",
        "frozen_norms",
        "frozen_dropout",
        "pull",
        "probe",
        "chain",
        "chain_new",
        "chain_rate",
        "gradual",
        "fall",
        "loss",
        "validate_start",
        "auc",
        "random_layers",
    )
    fields = {name: value for name, value in dataclasses.asdict(PAPER).items() if name not in later}
    assert all(
        getattr(PAPER, field.name) == field.default for field in dataclasses.fields(Recipe) if field.name in later
    )
    assert fields == {
        "name": "paper",
        "steps": 450_000,
        "batch": 256,
        "rate": 0.01,
        "crop": 227,
        "validate_every": 1_000,
        "schedule": "step",
        "drop_every": 100_000,
        "warmup": 0,
        "momentum": 0.9,
        "decay": 5e-4,
        "bias_rate": 2.0,
        "shrink": 1,
        "mirror": True,
        "scale": 1.0,
        "initialisation": "paper",
        "precision": "float32",
    }
    assert PAPER.validations == 450
    steps = (0, 99_999, 100_000, 199_999, 200_000, 300_000, 400_000, 449_999)
    expected = (1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-5, 1e-6, 1e-6)
    assert [PAPER.rate_at(step) for step in steps] == pytest.approx(expected, rel=1e-12, abs=0)


def test_the_reduced_data_networks() -> None:
    reduced = dataclasses.asdict(PAPER_REDUCED)
    changed = {key: value for key, value in reduced.items() if value != dataclasses.asdict(PAPER)[key]}
    assert changed == {"name": "paper-reduced", "steps": 200_000, "rate": 0.0125, "drop_every": 64_000}
    rates = [PAPER_REDUCED.rate_at(step) for step in (63_999, 64_000, 128_000, 192_000)]
    assert rates == pytest.approx([1.25e-2, 1.25e-3, 1.25e-4, 1.25e-5], rel=1e-12, abs=0)


def test_long_has_twice_the_steps_and_the_same_rates_at_half_the_pace() -> None:
    twice = long(PAPER)
    assert (twice.name, twice.steps, twice.drop_every) == ("paper-long", 900_000, 200_000)
    assert [twice.rate_at(2 * step) for step in range(0, 450_000, 997)] == [
        PAPER.rate_at(step) for step in range(0, 450_000, 997)
    ]
    cosine = dataclasses.replace(SMALL, warmup=10)
    assert [long(cosine).rate_at(2 * step) for step in range(10, 100)] == pytest.approx(
        [cosine.rate_at(step) for step in range(10, 100)]
    )


def test_cosine_after_a_linear_warm_up() -> None:
    recipe = dataclasses.replace(SMALL, warmup=10)
    assert [recipe.rate_at(step) for step in range(10)] == pytest.approx([0.02 * (step + 1) for step in range(10)])
    for step in range(10, 100):
        assert recipe.rate_at(step) == pytest.approx(0.1 * (1 + math.cos(math.pi * (step - 10) / 90)), abs=1e-15)
    assert recipe.rate_at(55) == pytest.approx(0.1)
    assert 0 < recipe.rate_at(99) < 1e-4
    assert SMALL.rate_at(0) == 0.2


def test_the_last_validation_comes_after_the_last_step() -> None:
    counts = [dataclasses.replace(SMALL, steps=steps).validations for steps in (1, 29, 30, 31, 60, 100)]
    assert counts == [1, 1, 1, 2, 2, 4]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        *[({field: 0}, f"{field} is 0") for field in POSITIVE],
        ({"steps": -5}, "steps is -5"),
        ({"schedule": "steps"}, "schedule is 'steps', not step or cosine"),
        ({"schedule": "step"}, "needs drop_every"),
        ({"initialisation": "xavier"}, "initialisation is 'xavier'"),
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"optimiser": "adam"}, "optimiser is 'adam', not sgd or adamw"),
        ({"optimiser": "adamw", "momentum": 1.0}, "momentum is 1.0; with adamw it has to be below 1"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0; write 0 or more, below 1"),
        ({"class_weights": "inverse"}, "class_weights is 'inverse', not equal or balanced"),
        ({"crops": "random"}, "crops is 'random', not square or resized"),
        ({"least_area": 0.0}, "least_area is 0.0; write a share below 1"),
        ({"held_out": 1.0}, "held_out is 1.0; write a share below 1"),
        ({"probe": 1.0}, "probe is 1.0; write a share below 1"),
        ({"gradual": 0.0}, "gradual is 0.0; write a share below 1"),
        ({"chain": 1.0}, "chain is 1.0; write 0 or more, below 1"),
        ({"fall": 0.5}, "fall is 0.5; write a number from 1 up"),
        ({"clip": -1.0}, "clip is -1.0; write a number from 0 up"),
        ({"stop": "early"}, "stop is 'early', not '' or inner"),
        ({"patience": 0}, "patience is 0"),
        ({"frozen_norms": "both"}, "frozen_norms is 'both', not source or target"),
    ],
)
def test_impossible_recipes_are_refused_by_name(change: dict[str, object], why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]
    assert "'small'" in str(refused.value)

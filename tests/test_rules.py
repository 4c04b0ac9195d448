"""Rules for copied layers: each schedule against a table written by hand."""

import itertools
from dataclasses import replace

import pytest

from transferability.recipe import Recipe
from transferability.rules import WORDS, multiples, phases

RECIPE = Recipe("small", steps=100, batch=8, rate=0.2, crop=28, validate_every=30)
OTHER = replace(RECIPE, probe=0.1, chain=0.5, gradual=0.2, fall=2.0)
DEPTH, N = 4, 2
TABLES = {
    # share of the course → multiples of layers 1 to 4, of which the first two are copied
    "probe": {0.0: (0, 0, 1, 1), 0.49: (0, 0, 1, 1), 0.5: (1, 1, 1, 1), 0.99: (1, 1, 1, 1)},
    "chain": {
        0.0: (0, 0, 1, 1),
        1 / 6: (1, 0, 0, 0),
        2 / 6: (0, 1, 0, 0),
        3 / 6: (0, 0, 1, 0),
        4 / 6: (0, 0, 0, 1),
        5 / 6: (1, 1, 1, 1),
        0.99: (1, 1, 1, 1),
    },
    "gradual": {0.0: (0, 0, 1, 1), 0.24: (0, 0, 1, 1), 0.25: (0, 1, 1, 1), 0.5: (1, 1, 1, 1)},
    "fall": {0.0: (2.6**-2, 2.6**-1, 1, 1), 0.9: (2.6**-2, 2.6**-1, 1, 1)},
    "sp": {0.0: (1, 1, 1, 1), 0.9: (1, 1, 1, 1)},
}

OTHER_TABLES = {
    "probe": {0.0: (0, 0, 1, 1), 0.09: (0, 0, 1, 1), 0.1: (1, 1, 1, 1)},
    "chain": {
        0.09: (0, 0, 1, 1),
        0.1: (1, 0, 0, 0),
        0.2: (0, 1, 0, 0),
        0.3: (0, 0, 1, 0),
        0.4: (0, 0, 0, 1),
        0.5: (1, 1, 1, 1),
    },
    "gradual": {0.09: (0, 0, 1, 1), 0.1: (0, 1, 1, 1), 0.19: (0, 1, 1, 1), 0.2: (1, 1, 1, 1)},
    "fall": {0.0: (0.25, 0.5, 1, 1), 0.9: (0.25, 0.5, 1, 1)},
    "sp": {0.0: (1, 1, 1, 1)},
}


@pytest.mark.parametrize("word", WORDS)
def test_multiples_are_those_of_the_table(word: str) -> None:
    for share, expected in TABLES[word].items():
        assert multiples(word, DEPTH, N, share, RECIPE) == pytest.approx(expected), share


@pytest.mark.parametrize("word", WORDS)
def test_the_recipe_sets_lengths_of_phases_and_the_fall(word: str) -> None:
    for share, expected in OTHER_TABLES[word].items():
        assert multiples(word, DEPTH, N, share + 1e-9, OTHER) == pytest.approx(expected), share


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("depth", [2, 8, 60])
@pytest.mark.parametrize("recipe", [RECIPE, OTHER, replace(RECIPE, chain_new=0.5, chain_rate=0.1)])
def test_all_that_is_copied_learns_in_the_end_and_phases_are_where_multiples_change(
    word: str, depth: int, recipe: Recipe
) -> None:
    for n in range(1, depth):
        assert min(multiples(word, depth, n, 0.999, recipe)) > 0
        edges = phases(word, depth, n, recipe)
        assert list(edges) == sorted(edges) and all(0 < edge < 1 for edge in edges)
        for edge in edges:
            assert multiples(word, depth, n, edge, recipe) != multiples(word, depth, n, edge - 1e-6, recipe)
        for before, after in zip((0.0, *edges), (*edges, 1.0), strict=True):
            assert multiples(word, depth, n, before, recipe) == multiples(word, depth, n, after - 1e-6, recipe)


def test_chain_thaw_begins_long_and_goes_on_slowly_if_the_recipe_says_so() -> None:
    """The new layers for the first half of the course; then a tenth of the rate, in phases of a tenth of the course."""
    patient = replace(RECIPE, chain_new=0.5, chain_rate=0.1)
    assert phases("chain", DEPTH, N, patient) == pytest.approx((0.5, 0.6, 0.7, 0.8, 0.9))
    for share, expected in {0.49: (0, 0, 1, 1), 0.55: (0.1, 0, 0, 0), 0.85: (0, 0, 0, 0.1), 0.95: (0.1,) * 4}.items():
        assert multiples("chain", DEPTH, N, share, patient) == pytest.approx(expected), share
    assert phases("chain", DEPTH, N, replace(patient, chain=0.9)) == pytest.approx((0.5, 0.6, 0.7, 0.8, 0.9))


def test_layers_fall_geometrically() -> None:
    falling = multiples("fall", 8, 5, 0.0, RECIPE)
    assert [b / a for a, b in itertools.pairwise(falling[:6])] == pytest.approx([2.6] * 5)

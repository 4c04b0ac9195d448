"""Rules for copied layers: each schedule against a table written by hand."""

import itertools

import pytest

from transferability.rules import FALL, WORDS, multiples, phases

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
    "fall": {0.0: (FALL**-2, FALL**-1, 1, 1), 0.9: (FALL**-2, FALL**-1, 1, 1)},
    "sp": {0.0: (1, 1, 1, 1), 0.9: (1, 1, 1, 1)},
}


@pytest.mark.parametrize("word", WORDS)
def test_multiples_are_those_of_the_table(word: str) -> None:
    for share, expected in TABLES[word].items():
        assert multiples(word, DEPTH, N, share) == pytest.approx(expected), share


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("depth", [2, 8, 60])
def test_all_that_is_copied_learns_in_the_end_and_phases_are_where_multiples_change(word: str, depth: int) -> None:
    for n in range(1, depth):
        assert min(multiples(word, depth, n, 0.999)) > 0
        edges = phases(word, depth, n)
        assert list(edges) == sorted(edges) and all(0 < edge < 1 for edge in edges)
        for edge in edges:
            assert multiples(word, depth, n, edge) != multiples(word, depth, n, edge - 1e-6)
        for before, after in zip((0.0, *edges), (*edges, 1.0), strict=True):
            assert multiples(word, depth, n, before) == multiples(word, depth, n, after - 1e-6)


def test_layers_fall_geometrically() -> None:
    falling = multiples("fall", 8, 5, 0.0)
    assert [b / a for a, b in itertools.pairwise(falling[:6])] == pytest.approx([2.6] * 5)

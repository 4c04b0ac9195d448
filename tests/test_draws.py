"""Draws are functions of their address; dropout masks have the right rate and are independent."""

import math

import numpy as np
import pytest
import torch

from transferability import draws
from transferability.draws import dropout, key, mask_key, normal, numpy_generator

torch.set_num_threads(1)

PINNED = [
    -0.11220531165599823,
    -0.4129951596260071,
    0.5408216714859009,
    -0.37594395875930786,
    0.3424035310745239,
    -0.634882926940918,
]


def kept(p: float, rows: int, columns: int, *address: str | int) -> np.ndarray:
    """(rows, columns) bool: the mask."""
    mask = dropout(torch.ones(rows, columns), p, torch.arange(rows), mask_key(*address))
    return mask.numpy() > 0


def test_keys_are_pinned_and_differ() -> None:
    """Pinned: other keys would be other draws, and a resumed run would not equal an undisturbed one."""
    assert key("weights", "random-0/baseA/seed-0", "conv1") == 15247583252366612571
    assert key("a", 1) == key("a", "1")
    addresses = [("a", "b", i) for i in range(20_000)] + [("a", i, "b") for i in range(20_000)]
    addresses += [("ab",), ("a", "b"), ("a", "", "b"), ("", "a", "b"), ("a", "b", "")]
    assert len({key(*address) for address in addresses}) == len(addresses)


def test_generators_are_functions_of_their_address() -> None:
    for _ in range(2):  # whatever was drawn before
        assert numpy_generator("order", "x", 3).permutation(8).tolist() == [6, 4, 7, 3, 2, 0, 5, 1]
        first = normal((1000,), 1.0, "weights", "x")
        np.random.default_rng().random(7), torch.rand(7)
    assert torch.equal(first, normal((1000,), 1.0, "weights", "x"))
    other = normal((1000,), 1.0, "weights", "y")
    assert abs(np.corrcoef(first, other)[0, 1]) < 4 / math.sqrt(1000)
    a, b = numpy_generator("order", "x", 3).random(1000), numpy_generator("order", "x", 4).random(1000)
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / math.sqrt(1000)


def test_weights_are_pinned_and_take_all_bits_of_their_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinned: other bits would be other networks under the same name."""
    drawn = normal((2, 3), 0.5, "weights", "random-0/baseA/seed-0", "conv1")
    assert drawn.dtype == torch.float32 and drawn.shape == (2, 3)
    assert drawn.flatten().tolist() == PINNED
    for bit in range(64):  # torch.Generator's CPU engine looks at the lowest 32 of its seed
        monkeypatch.setattr(draws, "key", lambda *address, bit=bit: 1 << bit)
        drawn = torch.cat([drawn.flatten(), normal((6,), 0.5, "whatever")])
    assert len(set(drawn.tolist())) == len(drawn)


def test_a_rows_mask_does_not_depend_on_its_batch_or_process() -> None:
    x = torch.randn(64, 6, 6, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(64)
    whole = dropout(x, 0.5, rows, mask_key("dropout", "owner", "fc6", 17))
    for part in (slice(0, 32), slice(32, 64), slice(5, 6), slice(0, 64, 3)):
        assert torch.equal(dropout(x[part], 0.5, rows[part], mask_key("dropout", "owner", "fc6", 17)), whole[part])
    shuffled = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(
        dropout(x[shuffled], 0.5, rows[shuffled], mask_key("dropout", "owner", "fc6", 17)), whole[shuffled]
    )
    torch.rand(5)  # no generator is consumed
    assert torch.equal(dropout(x, 0.5, rows, mask_key("dropout", "owner", "fc6", 17)), whole)
    # and the values do not matter to the mask, nor does the precision
    assert torch.equal(dropout(x.bfloat16(), 0.5, rows, mask_key("dropout", "owner", "fc6", 17)) != 0, whole != 0)


def test_arrays_and_tensors_give_the_same_mask() -> None:
    """A CPU computes masks with NumPy, a GPU with PyTorch: rows beyond 2^31 / width wrap around in both."""
    rows, columns = np.array([0, 1, 63, 2**20, 2**31 - 1], np.int32), np.arange(4096, dtype=np.int32)
    for p in (0.1, 0.5, 0.999):
        for bits in (0, 2**31, 2**32 - 1, 2**63, key("dropout", "owner", "fc6", 17)):
            halves = draws._signed(bits), draws._signed(bits >> 32)
            mask = draws.kept_units(torch.from_numpy(rows), torch.from_numpy(columns), p, *halves)
            np.testing.assert_array_equal(draws.kept_units(rows, columns, p, *halves), mask.numpy())


def test_a_key_in_a_tensor_is_the_same_key() -> None:
    """A CUDA graph reads the key from a tensor, which each step fills anew."""
    x, rows, buffer = torch.ones(64, 300), torch.arange(64), torch.zeros(2, dtype=torch.int32)
    for step in range(20):
        halves = mask_key("dropout", "owner", "fc6", step)
        buffer.copy_(torch.tensor(halves))
        assert torch.equal(dropout(x, 0.5, rows, buffer), dropout(x, 0.5, rows, halves))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_keep_rate_overall_and_in_each_row_and_column(p: float) -> None:
    """Counts are binomial: the whole within 4 standard errors, and rows and columns scatter as they should.

    The spread of 512 row means is a chi-squared with 511 degrees of freedom: its mean is 1 ± 0.0626.
    """
    mask = kept(p, 512, 4096, "dropout", "owner", "fc6", 0)
    sigma = math.sqrt(p * (1 - p))
    assert abs(mask.mean() - (1 - p)) < 4 * sigma / math.sqrt(mask.size)
    for axis in (0, 1):
        z = (mask.mean(axis) - (1 - p)) / (sigma / math.sqrt(mask.shape[axis]))
        assert abs((z**2).mean() - 1) < 5 * math.sqrt(2 / len(z))
        assert abs(z).max() < 5.5


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_masks_are_independent(p: float) -> None:
    """Correlation with the neighbouring row and column, at all lags 1 … 64, and with the masks of other steps,
    owners and layers: within 5 standard errors of 0 in 256 x 2,048 units (one in a million for each)."""
    mask = (kept(p, 256, 2048, "dropout", "owner", "fc6", 5) - (1 - p)) / math.sqrt(p * (1 - p))
    bound = 5 / math.sqrt(mask.size)
    for lag in [*range(1, 17), 32, 64]:
        assert abs((mask[lag:] * mask[:-lag]).mean()) < bound * 1.2, f"rows {lag} apart"
        assert abs((mask[:, lag:] * mask[:, :-lag]).mean()) < bound * 1.2, f"columns {lag} apart"
    others = [("owner", "fc6", step) for step in [*range(5), *range(6, 30)]]
    others += [("owner", "fc7", 5), ("owned", "fc6", 5), ("random-0/A/seed-0", "fc6", 5)]
    for address in others:
        other = (kept(p, 256, 2048, "dropout", *address) - (1 - p)) / math.sqrt(p * (1 - p))
        assert abs((mask * other).mean()) < bound, address
        # nor is it the same mask with its rows or columns moved
        assert abs((mask[1:] * other[:-1]).mean()) < bound * 1.1, address
        assert abs((mask[:, 1:] * other[:, :-1]).mean()) < bound * 1.1, address


def test_pairs_of_rows_agree_as_often_as_chance() -> None:
    """No two rows of a batch, and no two steps of a row, share their mask: the largest of 130,000 correlations."""
    mask = kept(0.5, 256, 1024, "dropout", "owner", "fc6", 5) * 2.0 - 1
    steps = np.stack([kept(0.5, 1, 1024, "dropout", "owner", "fc6", s)[0] for s in range(256)]) * 2.0 - 1
    for rows in (mask, steps):
        correlation = rows @ rows.T / 1024
        np.fill_diagonal(correlation, 0)
        assert abs(correlation).max() < 6 / math.sqrt(1024)


def test_scaling_is_unbiased_and_gradients_go_through_the_same_mask() -> None:
    x = torch.randn(64, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    total = torch.zeros_like(x)
    for step in range(100):
        y = dropout(x, 0.1, torch.arange(64), mask_key("dropout", "owner", "fc6", step))
        total += y.detach()
        zero = y == 0
        assert torch.equal(y[~zero], (x / 0.9)[~zero]) or torch.allclose(y[~zero], (x / 0.9)[~zero], rtol=1e-15)
    error = (total / 100 - x).detach() / x.detach().abs()  # standard error: sqrt(0.1 / 0.9 / 100) = 1/30
    assert abs(error.mean()) < 5 / 30 / math.sqrt(64_000) and abs(error).max() < 6 / 30
    y.sum().backward()
    assert torch.equal(x.grad == 0, zero) and torch.allclose(x.grad[~zero], torch.tensor(1 / 0.9, dtype=torch.float64))


def test_a_nan_is_not_hidden() -> None:
    x = torch.full((4, 100), math.nan)
    assert dropout(x, 0.5, torch.arange(4), mask_key("a")).isnan().all()
    x = torch.ones(4, 100)
    x[2, 3:9] = math.nan
    assert torch.equal(dropout(x, 0.5, torch.arange(4), mask_key("a")).isnan(), x.isnan())


def test_masks_are_pinned() -> None:
    """Both halves of the key count; other masks would be other results under the same name."""
    mask = kept(0.5, 2, 24, "dropout", "random-0/baseA/seed-0", "fc6", 7)
    assert ["".join("01"[unit] for unit in row) for row in mask.astype(int)] == [
        "101010101100110000100011",
        "010110001010011000101111",
    ]

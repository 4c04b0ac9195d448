"""Resized crops and changes of colour: against torchvision, and drawn by address."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as reference
from tiny import RECIPE

from transferability.data.augment import draw_changes, recoloured, resized
from transferability.data.stream import TaskImages, TrainingBatches, held_out
from transferability.files import Refused

BOTH = replace(RECIPE, crops="resized", colour=0.4)


def images(count: int = 40, size: int = 16) -> TaskImages:
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return TaskImages(pixels, np.arange(count), np.arange(count) * 4 // count)


def test_colours_are_torchvisions() -> None:
    pixels = torch.randint(0, 256, (3, 3, 9, 7), generator=torch.Generator().manual_seed(0)).float()
    factors = torch.tensor([[0.6, 1.4, 0.7], [1.3, 0.6, 1.4], [1.0, 1.0, 1.0]])
    for image, row, changed in zip(pixels, factors.tolist(), recoloured(pixels, factors), strict=True):
        expected = reference.adjust_brightness(image / 255, row[0])
        expected = reference.adjust_saturation(reference.adjust_contrast(expected, row[1]), row[2])
        # torchvision's weights of the colours are rounded to four digits.
        torch.testing.assert_close(changed / 255, expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_resized_box_is_torchvisions(mirror: bool) -> None:
    """Inside: at the box's edge torchvision repeats the last pixel, and here the image goes on."""
    x = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[2.0, 5.0, 10.0, 14.0], [0.0, 0.0, 24.0, 24.0]])
    got = resized(x, boxes, torch.tensor([mirror, mirror]), 28)
    for image, box, output in zip(x, boxes.int().tolist(), got, strict=True):
        expected = reference.resized_crop(image, *box, [28, 28], antialias=False)
        expected = expected.flip(2) if mirror else expected
        torch.testing.assert_close(output[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-4, rtol=0)


def test_changes_are_drawn_by_address_and_within_bounds() -> None:
    changes = draw_changes(replace(BOTH, batch=4000), 16, "owner", 3)
    top, left, height, width, *factors = changes.T
    assert changes.shape == (4000, 7) and changes.dtype == np.float32
    assert (top >= 0).all() and (top + height <= 16.001).all() and (left + width <= 16.001).all()
    area = height * width / 256
    assert 0.08 * 0.99 <= area.min() < 0.1 and 0.9 < area.max() <= 1
    assert all(0.6 <= column.min() < 0.62 and 1.38 < column.max() <= 1.4 for column in factors)
    whole = TrainingBatches(images(), BOTH, "owner", 0, 9)
    parts = [TrainingBatches(images(), BOTH, "owner", 0, 9, rank, 2).batch(5) for rank in (0, 1)]
    assert torch.equal(torch.cat([part.changes for part in parts]), whole.batch(5).changes)
    assert torch.equal(torch.cat([part.pixels for part in parts]), whole.batch(5).pixels)
    assert whole.batch(5).pixels.shape == (8, 3, 16, 16)
    assert not torch.equal(whole.batch(4).changes, whole.batch(5).changes)


def test_what_is_not_asked_for_changes_no_draw() -> None:
    plain = TrainingBatches(images(), RECIPE, "owner", 0, 9).batch(2)
    coloured = TrainingBatches(images(), replace(RECIPE, colour=0.1), "owner", 0, 9).batch(2)
    assert plain.changes.shape == (8, 0)
    for part in ("pixels", "labels", "rows", "ys", "xs", "mirror"):
        assert torch.equal(getattr(plain, part), getattr(coloured, part))


def test_held_out_images_are_of_each_class_and_the_owners() -> None:
    training, inner = held_out(images(), "owner", 0.2)
    assert sorted([*training.rows, *inner.rows]) == list(range(40))
    assert np.bincount(inner.labels).tolist() == [2, 2, 2, 2]
    again, other = held_out(images(), "owner", 0.2), held_out(images(), "other", 0.2)
    assert np.array_equal(again[1].rows, inner.rows) and not np.array_equal(other[1].rows, inner.rows)
    assert np.bincount(held_out(images(8), "owner", 0.01)[1].labels).tolist() == [1, 1, 1, 1]
    with pytest.raises(Refused, match="a class has one training image"):
        held_out(images(4), "owner", 0.2)

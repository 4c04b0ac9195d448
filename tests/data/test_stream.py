"""The stream: every image once per epoch, the same from any start and in any number of processes."""

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import RECIPE, task_of, write_tiny

from transferability.classes import ImageClass
from transferability.data.loader import Prefetched, resident
from transferability.data.packed import ImageSet, PackedImages
from transferability.data.stream import (
    VALIDATION_BATCH,
    Batch,
    TaskImages,
    TrainingBatches,
    ValidationBatches,
    copy_windows,
    mean_image,
    task_images,
    task_sets,
    windows,
)
from transferability.data.tasks import Task
from transferability.files import Refused
from transferability.splits import task_classes
from transferability.study import network

torch.set_num_threads(1)


def numbered(count: int, size: int = 16) -> TaskImages:
    """Images whose every pixel says which image it is (two channels) and its column (the third)."""
    images = np.empty((count, size, size, 3), np.uint8)
    images[..., 0], images[..., 1] = np.arange(count)[:, None, None] % 256, np.arange(count)[:, None, None] // 256
    images[..., 2] = np.arange(size) * 16 + np.arange(size)[:, None]
    return TaskImages(images, np.arange(count), np.arange(count) // 10)


def which(batch: Batch) -> list[int]:
    """The numbers of a batch's images."""
    return (batch.pixels[:, 0, 0, 0].long() + 256 * batch.pixels[:, 1, 0, 0].long()).tolist()


def equal(a: Batch, b: Batch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# ---------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize(("count", "batch"), [(40, 8), (37, 8), (5, 8), (8, 8), (6, 10)])
def test_every_image_once_per_epoch(count: int, batch: int) -> None:
    """Also where an epoch ends inside a batch, and where a batch is larger than the set."""
    stream = TrainingBatches(numbered(count), replace(RECIPE, batch=batch), "owner", 0, 4 * count)
    seen = [image for batch in stream for image in which(batch)]
    assert len(seen) == 4 * count * batch
    epochs = [seen[start : start + count] for start in range(0, len(seen), count)]
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > len(epochs) / 2  # in another order each time


def test_labels_rows_and_windows_belong_together() -> None:
    images = numbered(40)
    for batch in TrainingBatches(images, RECIPE, "owner", 0, 20):
        assert batch.labels.tolist() == [image // 10 for image in which(batch)]
        assert batch.rows.tolist() == list(range(8))
        assert batch.pixels.dtype == torch.uint8 and batch.pixels.shape == (8, 3, 14, 14)
        assert batch.pixels.is_contiguous(memory_format=torch.channels_last)
        for image, pixels, y, x in zip(which(batch), batch.pixels, batch.ys.tolist(), batch.xs.tolist(), strict=True):
            window = images.images[image, y : y + 14, x : x + 14]
            np.testing.assert_array_equal(pixels.permute(1, 2, 0).numpy(), window)


def test_a_batch_is_a_function_of_owner_and_step() -> None:
    def stream(owner: str, start: int, stop: int) -> list[Batch]:
        return list(TrainingBatches(numbered(37), RECIPE, owner, start, stop))

    whole = stream("owner", 0, 30)
    for start, stop in ((0, 30), (1, 2), (4, 30), (5, 12), (29, 30)):
        part = stream("owner", start, stop)
        assert len(part) == stop - start
        assert all(equal(a, b) for a, b in zip(part, whole[start:stop], strict=True))
    other = stream("other", 0, 30)
    assert sum(equal(a, b) for a, b in zip(whole, other, strict=True)) == 0
    assert [which(a) for a in whole] != [which(a) for a in other]


@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_the_batch(world: int) -> None:
    """What the processes take, put together, is what one process takes."""
    alone = TrainingBatches(numbered(37), RECIPE, "owner", 3, 15)
    shares = [TrainingBatches(numbered(37), RECIPE, "owner", 3, 15, rank, world) for rank in range(world)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert [len(part.rows) for part in parts] == [8 // world] * world
        assert equal(Batch(*(torch.cat(tensors) for tensors in zip(*parts, strict=True))), whole)


def test_crops_and_mirrors_are_uniform_and_independent() -> None:
    """9 places of the crop and half mirrored, in 16,000 draws: each within 4.5 standard errors."""
    recipe = replace(RECIPE, batch=64)
    batches = list(TrainingBatches(numbered(300), recipe, "owner", 0, 250))
    ys, xs, mirror = (torch.cat([getattr(b, name) for b in batches]).numpy() for name in ("ys", "xs", "mirror"))
    n = len(ys)
    counts = Counter(zip(ys.tolist(), xs.tolist(), mirror.tolist(), strict=True))
    assert set(counts) == {(y, x, m) for y in range(3) for x in range(3) for m in (False, True)}
    assert all(abs(count - n / 18) < 4.5 * np.sqrt(n / 18) for count in counts.values())
    # the same image is not cropped alike in every epoch, nor is a row of every batch
    first = [b.ys[0].item() * 6 + b.xs[0].item() * 2 + b.mirror[0].item() for b in batches]
    assert len(set(first)) == 18
    assert not any(b.mirror.any() for b in TrainingBatches(numbered(30), replace(recipe, mirror=False), "owner", 0, 20))


def test_without_mirror_the_crops_are_the_same() -> None:
    on, off = (TrainingBatches(numbered(30), replace(RECIPE, mirror=m), "owner", 0, 9) for m in (True, False))
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(on, off, strict=True))


# ---------------------------------------------------------------------------------------------- validation


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [8, 9, 15, 499, 500, 501, 1000, 1203, 4000])
def test_every_validation_image_once_in_any_number_of_processes(count: int, world: int) -> None:
    images = numbered(count)
    seen: list[int] = []
    for rank in range(world):
        batches = ValidationBatches(images, 14, rank, world)
        made = list(batches)
        assert len(batches) == len(made) >= 1  # Lightning does not validate in a process without batches
        seen += [image for batch in made for image in which(batch)]
        for batch in made:
            assert 1 <= len(batch.labels) <= VALIDATION_BATCH
            assert batch.labels.tolist() == [image // 10 for image in which(batch)]
            assert batch.rows.tolist() == which(batch)  # an image's place is its number
            assert not batch.mirror.any()
            assert {*batch.ys.tolist(), *batch.xs.tolist()} == {1}  # centre of 16 for 14
    assert sorted(seen) == list(range(count))


def test_centre_crop_of_the_paper() -> None:
    """256 to 227: Caffe's offset is (256 - 227) / 2 = 14, rounded down."""
    images = TaskImages(np.zeros((2, 256, 256, 3), np.uint8), np.arange(2), np.zeros(2, np.int64))
    (batch,) = ValidationBatches(images, 227)
    assert {*batch.ys.tolist(), *batch.xs.tolist()} == {14} and batch.pixels.shape == (2, 3, 227, 227)


# ---------------------------------------------------------------------------------------------- images of a task


def image_set(classes: int = 6, per_class: int = 5, size: int = 8) -> ImageSet:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), per_class)
    return ImageSet(rng.integers(0, 256, (len(labels), size, size, 3), dtype=np.uint8), labels)


def some_classes(images: ImageSet, *classes: int) -> Task:
    """A task of these classes of the images."""
    names = [ImageClass(i, f"c{i}", f"class {i}", "") for i in range(int(images.labels.max()) + 1)]
    packed = PackedImages(Path("set"), "set", "checksum", images.images.shape[1], tuple(names), images, images)
    return Task("whole", "W", packed, np.array(classes))


def test_labels_are_renumbered_in_the_order_of_the_classes() -> None:
    images = image_set()
    task = task_images(some_classes(images, 1, 2, 5).training(), 1)
    assert task.rows.tolist() == [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 25, 26, 27, 28, 29]
    assert task.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert task.images is images.images  # nothing is copied


def test_images_per_class_are_the_first() -> None:
    task = task_images(some_classes(image_set(), 1, 2, 5).training(2), 1)
    assert task.rows.tolist() == [5, 6, 10, 11, 25, 26]
    assert task.labels.tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(Refused, match="no class has 6 training images, the largest has 5"):
        some_classes(image_set(), 1, 2, 5).training(6)


@pytest.mark.parametrize("shrink", [2, 4])
def test_shrinking_is_a_box_average_rounded(shrink: int) -> None:
    images = image_set(classes=300, per_class=5)  # more than the block of 1,024
    task = task_images(some_classes(images, *range(1, 300)).training(), shrink)
    side = 8 // shrink
    expected = images.images[5:].astype(np.float64).reshape(-1, side, shrink, side, shrink, 3).mean((2, 4))
    assert task.images.shape == (1495, side, side, 3) and task.images.dtype == np.uint8
    np.testing.assert_array_equal(task.images, np.floor(expected + 0.5))
    assert task.rows.tolist() == list(range(1495)) and task.labels.tolist() == np.repeat(np.arange(299), 5).tolist()
    bright = ImageSet(np.full((1, 8, 8, 3), 255, np.uint8), np.zeros(1, np.int64))
    assert (task_images(some_classes(bright, 0).training(), shrink).images == 255).all()


def test_images_that_do_not_shrink_or_are_too_small_are_refused(tmp_path: Path) -> None:
    packed = write_tiny(tmp_path / "tiny")
    for changes, why in (
        ({"shrink": 3}, "tiny: images of 16 pixels do not shrink by 3; pack them with --size 48"),
        ({"shrink": 2}, "tiny: images of 8 pixels cannot be cropped to 14; pack them with --size 32"),
        ({"crop": 17}, "tiny: images of 16 pixels cannot be cropped to 17; pack them with --size 19"),
    ):
        with pytest.raises(Refused, match=why):
            task_sets(task_of(packed, "random-0", "A"), network("random-0/baseA", replace(RECIPE, **changes)))


@pytest.mark.parametrize("shrink", [1, 2])
def test_mean_image(tmp_path: Path, shrink: int) -> None:
    """Of the task's training images, all of them, exactly; computed once and then read."""
    packed = write_tiny(tmp_path / "tiny")
    for split, task in (("random-0", "A"), ("random-0", "B"), ("whole", "W"), ("manmade-natural", "B")):
        path = tmp_path / f"{split}-{task}.npz"
        mean = mean_image(task_of(packed, split, task), shrink, path)
        chosen = np.isin(packed.train.labels, task_classes(packed.classes, split, task))
        pictures = packed.train.images[chosen].astype(np.float64)
        side = 16 // shrink
        if shrink > 1:
            pictures = np.floor(pictures.reshape(-1, side, shrink, side, shrink, 3).mean((2, 4)) + 0.5)
        assert mean.dtype == np.float32 and mean.shape == (side, side, 3)
        np.testing.assert_allclose(mean, pictures.mean(0), rtol=1e-6)
        np.savez(path, mean=mean + 1, data=packed.checksum)
        np.testing.assert_array_equal(mean_image(task_of(packed, split, task), shrink, path), mean + 1)
        # Not that of another set which had the same name, nor what is left of a damaged file.
        np.savez(path, mean=mean + 1, data="another")
        np.testing.assert_array_equal(mean_image(task_of(packed, split, task), shrink, path), mean)
        path.write_bytes(path.read_bytes()[:100])
        np.testing.assert_array_equal(mean_image(task_of(packed, split, task), shrink, path), mean)


def test_the_sets_of_a_task(packed: PackedImages) -> None:
    """`images_per_class` limits the training images only."""
    training, validation = task_sets(task_of(packed, "random-0", "A"), network("random-0/baseA@2", RECIPE))
    classes = task_classes(packed.classes, "random-0", "A")
    assert training.labels.tolist() == np.repeat(np.arange(len(classes)), 2).tolist()
    assert validation.rows.tolist() == np.flatnonzero(np.isin(packed.val.labels, classes)).tolist()
    few = validation.first(3)
    assert few.rows.tolist() == validation.rows[:3].tolist() and few.labels.tolist() == validation.labels[:3].tolist()
    assert validation.first(None).rows.tolist() == validation.rows.tolist()


def test_images_smaller_than_the_crop_are_refused(packed: PackedImages) -> None:
    with pytest.raises(Refused, match="16 pixels cannot be cropped to 20"):
        task_sets(task_of(packed, "random-0", "A"), network("random-0/baseA", replace(RECIPE, crop=20)))


# ---------------------------------------------------------------------------------------------- prefetching


CPU = torch.device("cpu")


@pytest.mark.parametrize("threads", [1, 3])
def test_prefetched_batches_are_the_same(threads: int) -> None:
    for batches in (
        TrainingBatches(numbered(37), RECIPE, "owner", 2, 30),
        ValidationBatches(numbered(1203), 14, 1, 2),
        TrainingBatches(numbered(5), RECIPE, "owner", 0, 2),  # fewer than are made ahead
    ):
        made = Prefetched(batches, CPU, threads)
        assert len(made) == len(batches)
        assert all(equal(a, b) for a, b in zip(made, batches, strict=True))
        assert all(equal(a, b) for a, b in zip(made, batches, strict=True))  # and again


@pytest.mark.parametrize("threads", [1, 3])
def test_prefetching_stops_with_its_reader_and_passes_errors_on(threads: int) -> None:
    threads_at_start = threading.active_count()
    reader = iter(Prefetched(TrainingBatches(numbered(37), RECIPE, "owner", 0, 10_000), CPU, threads))
    next(reader)
    reader.close()  # type: ignore[attr-defined]
    broken = TaskImages(numbered(37).images[:5], np.arange(37), np.zeros(37, np.int64))
    with pytest.raises(IndexError):
        list(Prefetched(TrainingBatches(broken, RECIPE, "owner", 0, 10), CPU, threads))
    assert threading.active_count() == threads_at_start


def test_what_is_copied_into_a_buffer_is_what_the_window_gather_takes() -> None:
    """The form for page-locked memory."""
    images = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)
    rows, ys, xs = np.array([8, 0, 3, 3]), np.array([0, 2, 1, 2]), np.array([2, 0, 1, 1])
    buffer = np.full((4, 14, 14, 3), 7, np.uint8)
    copy_windows(images, rows, ys, xs, buffer)
    np.testing.assert_array_equal(buffer.transpose(0, 3, 1, 2), windows(images, rows, ys, xs, 14))


# ---------------------------------------------------------------------------------------------- held on the device


def test_pictures_in_the_devices_memory_give_the_same_batches() -> None:
    """Of more images than a block, of images scattered over the packed set, and of shrunk ones."""
    packed = np.random.default_rng(0).integers(0, 256, (2600, 16, 16, 3), dtype=np.uint8)
    labels = np.repeat(np.arange(26), 100)
    scattered = task_images(some_classes(ImageSet(packed, labels), 1, 2, 5, *range(7, 26, 2)).training(), 1)
    shrunk = task_images(some_classes(ImageSet(packed, labels), 1, 4).training(90), 2)
    for images, crop in ((scattered, 14), (scattered, 16), (shrunk, 7)):
        held = resident(images, CPU)
        assert held.images.shape == (len(images.rows), images.size, images.size, 3)
        assert held.images.numel() == images.bytes
        recipe = replace(RECIPE, crop=crop)
        for rank, world in ((0, 1), (1, 2)):
            plain = [*TrainingBatches(images, recipe, "owner", 3, 9, rank, world)]
            fast = [*TrainingBatches(held, recipe, "owner", 3, 9, rank, world)]
            plain += [*ValidationBatches(images, crop, rank, world)]
            fast += [*ValidationBatches(held, crop, rank, world)]
            assert all(equal(a, b) for a, b in zip(fast, plain, strict=True))
            assert all(batch.pixels.is_contiguous(memory_format=torch.channels_last) for batch in fast)

"""Demo pictures: the same on every machine, and nothing but shape and texture tells their classes apart."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transferability.data import demo
from transferability.data.pack import load
from transferability.data.readers import list_images
from transferability.files import Refused

DRAWN = "8e575c4d9a622f052147548c6a5332ee24c25fad17ce41195c11e069651a009e"
PINNED = "4cbd0f2e70cb788110b3df7000537fe5c304ef3037720b4649ccdc8c538b03c5"


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """30 pictures of each class: (1200, 32, 32, 3) uint8 and their labels, (1200,)."""
    images = np.concatenate([demo.paint_many(k, demo.TRAIN_NUMBERS[:30]) for k in range(40)])
    return images, np.repeat(np.arange(40), 30)


def held_out_accuracy(features: np.ndarray, labels: np.ndarray, ridge: float = 1.0) -> float:
    """Top-1 accuracy of ridge regression on every third sample, trained on the others."""
    features = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9)
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    test = np.arange(len(labels)) % 3 == 0
    x, y = features[~test], np.eye(labels.max() + 1)[labels[~test]]
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    return float(np.mean((features[test] @ weights).argmax(axis=1) == labels[test]))


def nearest_mean_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 accuracy of the nearest class mean on every third sample, means from the others."""
    test = np.arange(len(labels)) % 3 == 0
    means = np.stack([features[~test & (labels == k)].mean(axis=0) for k in range(labels.max() + 1)])
    distance = ((features[test][:, None] - means[None]) ** 2).sum(axis=2)
    return float(np.mean(distance.argmin(axis=1) == labels[test]))


def test_forty_classes_in_two_groups_with_ids_in_text_order() -> None:
    ids = [c.id for c in demo.CLASSES]
    assert len(set(ids)) == 40 and ids == sorted(ids)
    assert len({c.name for c in demo.CLASSES}) == 40
    assert [c.group for c in demo.CLASSES].count("man-made") == 20
    assert [c.group for c in demo.CLASSES].count("natural") == 20
    assert demo.VAL_PER_CLASS * 20 >= 4000
    assert not set(demo.TRAIN_NUMBERS) & set(demo.VAL_NUMBERS)
    assert len(demo.CLASSES) * (len(demo.TRAIN_NUMBERS) + len(demo.VAL_NUMBERS)) == 18_000


def test_the_same_bytes_on_every_machine() -> None:
    digest = hashlib.sha256()
    for k in range(40):
        digest.update(demo.paint_many(k, [0, 1, 249, 1_000_000]).tobytes())
    assert digest.hexdigest() == PINNED, "the demo pictures have changed: results of older runs no longer compare"


def test_a_picture_depends_on_its_class_and_number_alone() -> None:
    batch = demo.paint_many(7, [3, 11, 5])
    assert batch.shape == (3, 32, 32, 3) and batch.dtype == np.uint8
    assert np.array_equal(demo.paint_many(7, [5, 3]), batch[[2, 0]])
    assert np.array_equal(demo.paint(7, 11), batch[1])
    assert not np.array_equal(demo.paint(8, 11), batch[1])
    assert demo.paint_many(0, []).shape == (0, 32, 32, 3)
    with pytest.raises(IndexError, match="no class 40"):
        demo.paint(40, 0)


def test_no_two_pictures_are_alike(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = pictures
    assert len({image.tobytes() for image in images}) == len(images)
    assert images.std(axis=(1, 2)).max(axis=1).min() > 4  # none is blank


def test_colour_gives_neither_class_nor_group_away(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = pictures
    colour = images.mean(axis=(1, 2))
    group = labels % 2
    assert nearest_mean_accuracy(colour, labels) < 0.06  # chance is 0.025, standard deviation 0.008
    assert held_out_accuracy(colour, labels) < 0.06
    assert held_out_accuracy(colour, group) < 0.58  # chance is 0.5, standard deviation 0.025


@pytest.mark.parametrize("place", [(0, 0), (3, 20), (16, 16), (28, 9)])
def test_no_single_pixel_gives_a_class_away(pictures: tuple[np.ndarray, np.ndarray], place: tuple[int, int]) -> None:
    images, labels = pictures
    pixel = images[:, place[0], place[1]].astype(np.float64)
    assert nearest_mean_accuracy(pixel, labels) < 0.06
    assert held_out_accuracy(pixel, labels) < 0.06
    assert held_out_accuracy(pixel, labels % 2) < 0.60


def test_raw_pixels_are_not_enough_but_the_spectrum_of_edges_says_something(
    pictures: tuple[np.ndarray, np.ndarray],
) -> None:
    """A linear classifier on pixels stays near chance; simple texture statistics already do better by far."""
    images, labels = pictures
    grey = images.mean(axis=3)
    spectrum = np.log1p(np.abs(np.fft.rfft2(grey - grey.mean(axis=(1, 2), keepdims=True)))[:, :12, :12])
    on_pixels = held_out_accuracy(grey.reshape(len(grey), -1), labels, ridge=300.0)
    on_spectrum = held_out_accuracy(spectrum.reshape(len(grey), -1), labels, ridge=100.0)
    assert on_pixels < 0.15
    assert on_spectrum > 0.08 and on_spectrum > 1.5 * on_pixels  # chance is 0.025


def test_hardness_adds_noise() -> None:
    clean, hard = demo.paint(4, 0, hardness=0.0), demo.paint(4, 0, hardness=3.0)
    roughness = [np.abs(np.diff(p.astype(np.float64), axis=0)).mean() for p in (clean, hard)]
    assert roughness[1] > roughness[0]


def test_contact_sheet_shows_every_class(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    demo.contact_sheet(path, images_per_class=2)
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert list(tmp_path.iterdir()) == [path]
    for k in (0, 1, 38, 39):  # top and bottom row of both columns
        picture = demo.paint(k, 0).repeat(2, axis=0).repeat(2, axis=1)
        corners = np.argwhere((pixels[:-63, :-63] == picture[0, 0]).all(axis=2))
        assert any(np.array_equal(pixels[y : y + 64, x : x + 64], picture) for y, x in corners)


def test_drawings_are_the_same_bytes_on_every_machine() -> None:
    digest = hashlib.sha256()
    for k in range(40):
        digest.update(demo.paint_many(k, [0, 100_000], 1.0).tobytes() + demo.paint(k, 1, distance=0.5).tobytes())
    assert digest.hexdigest() == DRAWN, "the demo's drawings have changed: results of older runs no longer compare"


def test_the_demos_domains_are_as_far_apart_as_is_asked() -> None:
    """At 0 drawings are painted images, with numbers of their own; further away a domain is told from its image."""
    train, val = demo.DOMAINS["drawn"]
    assert not ({*train} | {*val}) & {*demo.DOMAINS["painted"][0], *demo.DOMAINS["painted"][1]}
    assert np.array_equal(demo.paint_many(3, train[:4], 0.0), demo.paint_many(3, train[:4]))
    painted = np.concatenate([demo.paint_many(k, range(5)) for k in range(40)])
    found = []
    for distance in (0.0, 0.5, 1.0):
        drawn = np.concatenate([demo.paint_many(k, train[:5], distance) for k in range(40)])
        images = np.concatenate([painted, drawn]) / 255.0
        colourful = np.abs(images - images.mean(axis=3, keepdims=True)).mean(axis=(1, 2, 3))
        rough = np.abs(np.diff(images, axis=1)).mean(axis=(1, 2, 3))
        features = np.stack([colourful, rough, images.std(axis=(1, 2, 3))], axis=1)
        found.append(held_out_accuracy(features, np.repeat([0, 1], len(painted))))
    assert 0.4 < found[0] < 0.6 < found[1] < found[2] and found[2] > 0.75, found


@pytest.mark.parametrize("source", ["demo-domains", "demo-domains:0.25"])
def test_two_domains_of_the_same_classes_are_listed(source: str) -> None:
    lists = list_images(source)
    assert set(lists.domains.values()) == {"drawn", "painted"}
    counts = {part: sum(map(len, images.values())) for part, images in lists.sets.items()}
    assert counts == {"train": 40 * 250, "val": 40 * 200} and len(lists.domains) == sum(counts.values())
    distance = 1.0 if source == "demo-domains" else 0.25
    for domain, away in (("drawn", distance), ("painted", 0.0)):
        image = next(image for image in lists.train[demo.CLASSES[7].id] if lists.domains[image] == domain)
        assert np.array_equal(np.asarray(load(image)), demo.paint(7, image.offset, distance=away))


@pytest.mark.parametrize("text", ["2", "-0.1", "far", "nan"])
def test_a_distance_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="from 0 to 1"):
        list_images(f"demo-domains:{text}")

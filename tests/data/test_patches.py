"""Images laid over patches of photographs: MNIST-M from MNIST."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transferability.data.listing import ImageRef
from transferability.data.pack import Options, pack
from transferability.files import Refused


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    labels = np.arange(20) % 2
    arrays = {"x": draw.integers(0, 256, (20, 8, 8), np.uint8), "y": labels}
    np.savez(
        tmp_path / "digits.npz",
        **{f"{part}_{name}": value for part in ("train", "test") for name, value in arrays.items()},
    )
    return tmp_path / "digits.npz"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs" / "inside"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(1)
    for i, shape in enumerate([(9, 14, 3), (8, 8, 3), (20, 11, 3)]):
        Image.fromarray(draw.integers(0, 256, shape, np.uint8)).save(folder / f"{i}.png")
    (folder / "list.txt").write_text("no photograph")
    return folder.parent


def test_each_image_is_its_difference_from_a_patch(digits: Path, photographs: Path, tmp_path: Path) -> None:
    plain = pack(str(digits), tmp_path / "plain")
    over = pack(str(digits), tmp_path / "over", Options(over=photographs))
    pictures = [np.asarray(Image.open(file)).astype(int) for file in sorted(photographs.glob("*/*.png"))]
    used = set()
    for own, laid in zip(plain.train.images.astype(int), over.train.images, strict=True):
        places = [
            (i, y, x)
            for i, picture in enumerate(pictures)
            for y in range(picture.shape[0] - 7)
            for x in range(picture.shape[1] - 7)
            if np.array_equal(np.abs(own - picture[y : y + 8, x : x + 8]), laid)
        ]
        assert len(places) == 1
        used.add(places[0])
    assert len(used) > 10 and {i for i, _, _ in used} == {0, 1, 2}
    assert np.array_equal(plain.train.labels, over.train.labels)
    assert pack(str(digits), tmp_path / "over", Options(over=photographs)).checksum == over.checksum  # it is there
    assert pack(str(digits), tmp_path / "again", Options(over=photographs)).checksum == over.checksum
    with pytest.raises(Refused, match="another"):
        pack(str(digits), tmp_path / "over")


def test_small_photographs_are_enlarged_and_none_refused(digits: Path, photographs: Path, tmp_path: Path) -> None:
    large = pack(str(digits), tmp_path / "large", Options(size=24, over=photographs))
    assert large.train.images.shape[1:] == (24, 24, 3) and large.train.images.std() > 20
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="no photographs"):
        pack(str(digits), tmp_path / "none", Options(over=tmp_path / "empty"))
    with pytest.raises(Refused, match="--over"):
        pack(str(digits), tmp_path / "none", Options(over=tmp_path / "nowhere"))


def test_what_lies_over_nothing_is_known_as_before() -> None:
    assert ImageRef("file", "/x", "a.png", 0, 3, 5).key == ("file", "a.png", 0, 3, 5)

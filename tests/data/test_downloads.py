"""Flowers-17 and -102, PASCAL VOC, MNIST, USPS and SVHN as they are downloaded, in small."""

import bz2
import gzip
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from pictures import picture, pixels, put, zipped
from scipy.io import savemat

from transferability.data.pack import Options, pack
from transferability.data.packed import PackedImages, verify
from transferability.files import Refused


def packed_set(source: Path) -> PackedImages:
    packed = pack(str(source), source.parent / "packed", Options(workers=1))
    assert verify(packed)
    return packed


def refusal(source: Path) -> str:
    with pytest.raises(Refused) as refused:
        packed_set(source)
    assert not (source.parent / "packed").exists() and "\n" not in str(refused.value)
    return str(refused.value)


def mat(**variables: object) -> bytes:
    handle = io.BytesIO()
    savemat(handle, variables)
    return handle.getvalue()


# ------------------------------------------------------------------------------------------------ Flowers


def flowers17(root: Path) -> Path:
    """Two or three pictures of the first three classes, of which each should have 80."""
    for number in (1, 2, 80, 81, 160, 161, 162):
        put(root / "jpg" / f"image_{number:04}.jpg", picture(number))
    put(root / "jpg" / "files.txt", b"image_0001.jpg\n")
    return root


@pytest.mark.parametrize("inside", ["", "17flowers"])
def test_flowers_17_is_a_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str], inside: str) -> None:
    flowers17(tmp_path / "source" / inside)
    packed = packed_set(zipped(tmp_path / "source", tmp_path / "17flowers.zip"))
    assert packed.pool and [(c.id, c.name) for c in packed.classes] == [
        ("01", "daffodil"),
        ("02", "snowdrop"),
        ("03", "lily of the valley"),
    ]
    assert packed.train.labels.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert np.array_equal(packed.train.images, [pixels(i) for i in (1, 2, 80, 81, 160, 161, 162)])
    assert capsys.readouterr().err.splitlines()[0] == "1,353 of the 1,360 pictures of Flowers-17 are missing"


def test_flowers_17_with_its_first_split(tmp_path: Path) -> None:
    source = flowers17(tmp_path / "source")
    splits = {"trn1": [[81, 1]], "val1": [[161]], "tst1": [[2, 162, 160]], "trn2": [[2]]}
    put(source / "datasplits.mat", mat(**splits))
    packed = packed_set(source)
    assert not packed.pool and packed.train.labels.tolist() == packed.val.labels.tolist() == [0, 1, 2]
    assert np.array_equal(packed.train.images, [pixels(i) for i in (1, 81, 161)])
    assert np.array_equal(packed.val.images, [pixels(i) for i in (2, 160, 162)])
    put(source / "datasplits.mat", mat(**splits | {"tst1": [[2, 162, 159]]}))
    assert "has no picture number 159 of Flowers" in refusal_elsewhere(source)


def refusal_elsewhere(source: Path) -> str:
    with pytest.raises(Refused) as refused:
        pack(str(source), source.parent / "elsewhere", Options(workers=1))
    assert not (source.parent / "elsewhere").exists() and "\n" not in str(refused.value)
    return str(refused.value)


def test_a_picture_that_flowers_17_does_not_have_is_refused(tmp_path: Path) -> None:
    source = flowers17(tmp_path / "source")
    put(source / "jpg" / "image_1361.jpg", picture(0))
    assert "image_1361.jpg is no picture of Flowers-17, which has 1,360" in refusal(source)


def flowers102(root: Path) -> Path:
    for number in range(1, 7):
        put(root / "jpg" / f"image_{number:05}.jpg", picture(number))
    put(root / "imagelabels.mat", mat(labels=np.array([[77, 2, 77, 2, 77, 2]], np.uint8)))
    put(root / "setid.mat", mat(trnid=[[5]], valid=[[4]], tstid=np.array([[6, 1, 2, 3]], np.uint16)))
    return root


@pytest.mark.parametrize("inside", ["", "flowers-102"])
def test_flowers_102_trains_on_the_training_and_validation_pictures(tmp_path: Path, inside: str) -> None:
    flowers102(tmp_path / "source" / inside)
    packed = packed_set(tmp_path / "source")
    assert [c.id for c in packed.classes] == ["002", "077"] and not packed.pool
    assert np.array_equal(packed.train.images, [pixels(i) for i in (4, 5)])
    assert np.array_equal(packed.val.images, [pixels(i) for i in (2, 6, 1, 3)])


def test_flowers_102_with_lists_that_are_missing_or_damaged(tmp_path: Path) -> None:
    source = flowers102(tmp_path / "source")
    whole = (source / "setid.mat").read_bytes()
    put(source / "setid.mat", whole[:150])
    assert "setid.mat is damaged (" in refusal(source) and refusal(source).endswith("): download it again")
    put(source / "setid.mat", mat(trnid=[[5]], valid=[[4]]))
    assert "setid.mat is damaged (KeyError: 'tstid')" in refusal(source)
    (source / "setid.mat").unlink()
    assert "/setid.mat is missing: Flowers-102 needs imagelabels.mat and setid.mat beside jpg/" in refusal(source)


# ---------------------------------------------------------------------------------------------------- VOC

# By part and image: 1 present, 0 difficult, -1 absent, for aeroplane, cat, person.
VOC = {
    "train": {"000005": (1, 0, -1), "000007": (-1, 1, 1)},
    "val": {"000009": (-1, -1, 1), "000012": (0, 0, -1)},
    "test": {"000001": (1, 1, 1), "000002": (-1, -1, 0), "000003": (0, 1, -1)},
}


def voc(root: Path, parts: tuple[str, ...] = ("train", "val", "test")) -> Path:
    lists = {part: VOC[part] for part in parts} | {"trainval": VOC["train"] | VOC["val"]}
    for part, marks in lists.items():
        for number in marks:
            put(root / "JPEGImages" / f"{number}.jpg", picture(int(number)))
        put(root / "ImageSets" / "Main" / f"{part}.txt", "".join(f"{number}\n" for number in marks).encode())
        for i, name in enumerate(("aeroplane", "cat", "person")):
            text = "".join(f"{number} {row[i]:2}\n" for number, row in marks.items())
            put(root / "ImageSets" / "Main" / f"{name}_{part}.txt", text.encode())
    put(root / "ImageSets" / "Layout" / "train.txt", b"000005\n")
    put(root / "Annotations" / "000005.xml", b"<annotation/>")
    return root


@pytest.mark.parametrize("inside", ["", "VOC2007", "VOCdevkit/VOC2007"])
def test_voc_2007(tmp_path: Path, capsys: pytest.CaptureFixture[str], inside: str) -> None:
    root = voc(tmp_path / "source" / inside)
    packed = packed_set(tmp_path / "source" if inside else root)
    assert [c.id for c in packed.classes] == ["aeroplane", "cat", "person"] and not packed.pool
    assert packed.train.several is not None and packed.val.several is not None
    assert packed.train.several.tolist() == [[1, -1, 0], [0, 1, 1], [0, 0, 1]]
    assert np.array_equal(packed.train.images, [pixels(i) for i in (5, 7, 9)])
    assert packed.val.several.tolist() == [[1, 1, 1], [-1, 1, 0]] and packed.val.labels.tolist() == [0, 1]
    assert np.array_equal(packed.val.images, [pixels(i) for i in (1, 3)])
    first, second = capsys.readouterr().err.splitlines()[:2]
    assert first.endswith("JPEGImages/000012.jpg (and 1 more), in which no class is present")
    assert second.startswith("PASCAL VOC2007: 3 training and 2" if inside else "PASCAL VOC: 3 training and 2")


def test_voc_without_its_test_part_and_without_another_part(tmp_path: Path) -> None:
    source = voc(tmp_path / "source" / "VOC2012", ("train", "val"))
    packed = packed_set(tmp_path / "source")
    assert (len(packed.train.labels), len(packed.val.labels)) == (2, 1)
    for list_file in (source / "ImageSets" / "Main").glob("*_val.txt"):
        list_file.unlink()
    assert "no lists such as ImageSets/Main/aeroplane_val.txt: unpack val too" in refusal_elsewhere(tmp_path / "source")


def test_voc_of_two_years_or_damaged(tmp_path: Path) -> None:
    source = voc(tmp_path / "source" / "VOC2007").parent
    put(source / "VOC2007" / "ImageSets" / "Main" / "cat_test.txt", b"000001  1\n000004 -1\n")
    assert "ImageSets/Main/cat_test.txt: has no picture 000004.jpg" in refusal(source)
    put(source / "VOC2007" / "ImageSets" / "Main" / "cat_test.txt", b"000001  2\n")
    assert "cat_test.txt: is marked '2' for 000001" in refusal(source)
    voc(source / "VOC2012")
    assert "holds VOC2007 and VOC2012: give one of them" in refusal(source)


# ------------------------------------------------------------------------------------------------- arrays

DIGITS = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
LABELS = [3, 0, 3, 0, 3, 0]  # of the training images; then of the others
TEST_LABELS = [0, 3, 3, 0]


def colour(images: np.ndarray) -> np.ndarray:
    return np.repeat(images[..., None], 3, axis=3)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def mnist(raw: Path, zip_: bool = False, between: str = "-") -> Path:
    arrays = {
        f"train-images{between}idx3-ubyte": DIGITS[:6],
        f"train-labels{between}idx1-ubyte": np.array(LABELS),
        f"t10k-images{between}idx3-ubyte": DIGITS[6:],
        f"t10k-labels{between}idx1-ubyte": np.array(TEST_LABELS),
    }
    for name, array in arrays.items():
        put(raw / (name + ".gz" * zip_), gzip.compress(idx(array)) if zip_ else idx(array))
    return raw


def check_digits(packed: PackedImages) -> None:
    assert [c.id for c in packed.classes] == ["0", "3"]
    assert packed.train.labels.tolist() == [0, 0, 0, 1, 1, 1] and packed.val.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(packed.train.images, colour(DIGITS[[1, 3, 5, 0, 2, 4]]))
    assert np.array_equal(packed.val.images, colour(DIGITS[[6, 9, 7, 8]]))


@pytest.mark.parametrize("place", ["MNIST/raw", "raw", ""])
@pytest.mark.parametrize("form", ["idx", "gz", "both", "dots"])
def test_mnist(tmp_path: Path, place: str, form: str) -> None:
    for zip_ in {"gz": [True], "both": [True, False]}.get(form, [False]):
        mnist(tmp_path / "source" / place, zip_, "." if form == "dots" else "-")
    check_digits(packed_set(tmp_path / "source"))


def test_mnist_that_is_damaged_or_not_alone(tmp_path: Path) -> None:
    source = mnist(tmp_path / "source" / "MNIST" / "raw", zip_=True)
    images = source / "t10k-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    for damaged in (whole[:50], gzip.compress(gzip.decompress(whole)[:-1]), gzip.compress(b"no idx file"), whole[::-1]):
        images.write_bytes(damaged)
        os.utime(images, ns=(1, len(damaged) + damaged[0]))
        assert "t10k-images-idx3-ubyte.gz is damaged (" in refusal(tmp_path / "source")
    images.write_bytes(gzip.compress(idx(DIGITS[:3])))
    assert "holds images (3, 28, 28) and 4 labels, which do not fit together" in refusal(tmp_path / "source")
    images.unlink()
    assert "t10k-images-idx3-ubyte (or .gz) is missing: download it again" in refusal(tmp_path / "source")
    mnist(tmp_path / "source" / "FashionMNIST" / "raw")
    assert "FashionMNIST/raw and " in refusal(tmp_path / "source") and "give one of them" in refusal(
        tmp_path / "source"
    )


def usps(path: Path, images: np.ndarray, labels: list[int]) -> None:
    """In the format of LIBSVM: labels from 1, pixels from -1 to 1."""
    rows = (images.reshape(len(images), -1) / 127.5 - 1).round(6)
    lines = (
        " ".join([str(label + 1), *(f"{i}:{value:.6f}" for i, value in enumerate(row, 1))])
        for row, label in zip(rows, labels, strict=True)
    )
    put(path, bz2.compress("\n".join([*lines, ""]).encode()))


def test_usps(tmp_path: Path) -> None:
    small = DIGITS[:, :16, :16]
    usps(tmp_path / "source" / "usps.bz2", small[:6], LABELS)
    assert "usps.t.bz2 is missing: download it again" in refusal(tmp_path / "source")
    usps(tmp_path / "source" / "usps.t.bz2", small[6:], TEST_LABELS)
    packed = packed_set(tmp_path / "source")
    assert [c.id for c in packed.classes] == ["0", "3"] and packed.size == 16
    expected = colour(small[[1, 3, 5, 0, 2, 4]]).astype(int)
    assert np.abs(packed.train.images - expected).max() <= 1  # six decimals, and torchvision's way of rounding
    assert packed.val.labels.tolist() == [0, 0, 1, 1]
    put(tmp_path / "source" / "usps.bz2", bz2.compress(b"1 1:0.5 2:0.5\n"))
    assert "usps.bz2 is damaged (cannot reshape" in refusal_elsewhere(tmp_path / "source")


def svhn(path: Path, images: np.ndarray, labels: list[int]) -> None:
    """32x32 colours, the digit 0 with label 10."""
    put(path, mat(X=images.transpose(1, 2, 3, 0), y=np.array([[label or 10] for label in labels], np.uint8)))


def test_svhn(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    svhn(tmp_path / "source" / "train_32x32.mat", images[:6], LABELS)
    svhn(tmp_path / "source" / "test_32x32.mat", images[6:], TEST_LABELS)
    put(tmp_path / "source" / "extra_32x32.mat", b"left out")
    packed = packed_set(tmp_path / "source")
    assert [c.id for c in packed.classes] == ["0", "3"]
    assert np.array_equal(packed.train.images, images[[1, 3, 5, 0, 2, 4]])
    assert np.array_equal(packed.val.images, images[[6, 9, 7, 8]])
    whole = (tmp_path / "source" / "test_32x32.mat").read_bytes()
    put(tmp_path / "source" / "test_32x32.mat", whole[:-100])
    assert "test_32x32.mat is damaged (" in refusal_elsewhere(tmp_path / "source")
    svhn(tmp_path / "source" / "test_32x32.mat", images[6:], TEST_LABELS[:3])
    assert "holds images (4, 32, 32, 3) and 3 labels" in refusal_elsewhere(tmp_path / "source")


@pytest.mark.parametrize("names", [("train_{}", "test_{}"), ("{}_train", "{}_test")])
def test_arrays_of_numpy(tmp_path: Path, names: tuple[str, str]) -> None:
    train = {names[0].format("x"): DIGITS[:6], names[0].format("y"): np.array(LABELS)}
    test = {names[1].format("x"): DIGITS[6:], names[1].format("y"): np.array(TEST_LABELS)}
    np.savez(tmp_path / "digits.npz", **train, **test)
    check_digits(packed_set(tmp_path / "digits.npz"))
    np.savez_compressed(tmp_path / "pool.npz", **train)
    pool = pack(str(tmp_path / "pool.npz"), tmp_path / "pool")
    assert pool.pool and np.array_equal(pool.train.images, colour(DIGITS[[1, 3, 5, 0, 2, 4]]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_y": np.array(LABELS[:5])}, "holds images (6, 28, 28) and 5 labels"),
        ({"train_x": DIGITS[:6] / 255}, "needs an array train_x of uint8"),
        ({"train_x": DIGITS[:6].astype(np.uint16)}, "needs an array train_x of uint8"),
        ({"train_x": DIGITS[:6, None]}, "holds images (6, 1, 28, 28) and 6 labels"),
        ({"train_y": np.array(LABELS) / 2}, "needs an array train_y of whole numbers"),
        ({"train_y": np.array(LABELS) - 1}, "holds the label -1: labels must not be negative"),
        ({"train_x": np.array([{"code": 1}])}, "is damaged (Object arrays cannot be loaded"),
        ({"test_x": DIGITS[6:]}, "needs an array test_y of whole numbers"),
    ],
)
def test_what_is_wrong_with_arrays_is_named(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "digits.npz", **{"train_x": DIGITS[:6], "train_y": np.array(LABELS)} | changes)
    assert message in refusal(tmp_path / "digits.npz")


def test_arrays_that_are_packed_by_several_workers_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transferability.data.pack.FEW_IMAGES", 0)
    monkeypatch.setattr("transferability.data.packed.BLOCK_BYTES", 2 * 28 * 28 * 3)
    source = mnist(tmp_path / "source", zip_=True)
    checksums = {
        pack(str(source), tmp_path / f"packed {workers}", Options(workers=workers)).checksum for workers in (1, 2)
    }
    assert len(checksums) == 1

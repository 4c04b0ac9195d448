"""Class folders without train/ and val/, and domains of class folders: read as what they are, or refused."""

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from ilsvrc import tar_of
from pictures import picture, pixels, put, zipped
from typer.testing import CliRunner

from transferability.cli import app
from transferability.data import pack as module
from transferability.data.pack import Options, pack
from transferability.data.packed import PackedImages, describe, open_packed, verify
from transferability.files import Refused


def files(root: Path, *names: str) -> Path:
    """16x16 PNGs of these names, number i with `pixels(i)`."""
    for i, name in enumerate(names):
        put(root / name, picture(i))
    return root


def packed_set(source: Path, layout: str | None = None) -> PackedImages:
    return pack(str(source), source.parent / "packed", Options(workers=1, layout=layout))


def refusal(source: Path, layout: str | None = None) -> str:
    with pytest.raises(Refused) as refused:
        packed_set(source, layout)
    assert not (source.parent / "packed").exists() and "\n" not in str(refused.value)
    return str(refused.value)


def contents(packed: PackedImages) -> tuple[list[str], list[str], list[str]]:
    """For each training image: its number in `files`, its class, its domain (or '')."""
    numbers = {pixels(i).tobytes(): i for i in range(40)}
    domains = packed.train.domains
    return (
        [numbers[np.asarray(image).tobytes()] for image in packed.train.images],
        [packed.classes[label].id for label in packed.train.labels],
        [] if domains is None else [packed.domains[index] for index in domains],
    )


POOL = ("bus/1.png", "ant/1.png", "ant/0.png", "bus/more/0.png")


@pytest.mark.parametrize("inside", ["", "set/", "data/set/images/"])
@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_class_folders_alone_are_a_pool(tmp_path: Path, kind: str, inside: str) -> None:
    source = files(tmp_path / "source", *(inside + name for name in POOL))
    put(source / inside / "README.txt", b"no picture")
    put(source / "LICENCE", b"no picture")
    if kind == "zip":
        source = zipped(source, tmp_path / "source.zip")
    elif kind == "tar":
        members = {str(file.relative_to(source)): file.read_bytes() for file in source.rglob("*") if file.is_file()}
        source = put(tmp_path / "source.tar", tar_of(members))
    packed = packed_set(source)
    assert packed.pool and packed.domains == () and len(packed.val.labels) == 0
    assert contents(packed) == ([2, 1, 0, 3], ["ant", "ant", "bus", "bus"], [])
    assert verify(packed) and "4 images in one pool" in describe(packed)
    assert open_packed(packed.folder).checksum == packed.checksum
    assert packed_set(source, "classes").checksum == packed.checksum  # the same: nothing to do


def test_a_pool_is_not_the_same_set_as_its_pictures_with_validation(tmp_path: Path) -> None:
    source = files(tmp_path / "source", *POOL)
    pool = packed_set(source)
    shutil.move(source, tmp_path / "train")
    files(tmp_path / "source" / "val", "ant/0.png", "bus/0.png")
    shutil.move(tmp_path / "train", source / "train")
    with pytest.raises(Refused, match="holds another data set"):
        packed_set(source)
    assert pool.pool


DOMAINS = tuple(f"{domain}/{name}" for domain in ("web", "dslr") for name in ("mug/1.png", "bag/1.png", "bag/2.png"))


@pytest.mark.parametrize("inside", ["", "set/"])
@pytest.mark.parametrize("office31", [False, True])
def test_folders_of_the_same_class_folders_are_domains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], office31: bool, inside: str
) -> None:
    """Office-Caltech, PACS; Office-31 has one folder more: amazon/images/mug/frame_0001.jpg."""
    names = [name.replace("/", "/images/", 1) if office31 else name for name in DOMAINS]
    source = files(tmp_path / "source", *(inside + name for name in names))
    packed = packed_set(zipped(source, tmp_path / "office.zip"))
    expected = ([4, 5, 1, 2, 3, 0], ["bag"] * 4 + ["mug"] * 2, ["dslr", "dslr", "web", "web", "dslr", "web"])
    assert packed.pool and packed.domains == ("dslr", "web") and contents(packed) == expected
    assert "2 domains (with their images): dslr 3, web 3" in describe(packed)
    assert "has no pictures" not in capsys.readouterr().err


def test_lists_beside_the_folder_of_domains_are_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """PACS has kfold/ and splits/."""
    source = files(tmp_path / "source", *(f"kfold/{name}" for name in DOMAINS))
    put(source / "splits" / "web_train_kfold.txt", b"web/mug/1.png 1\n")
    assert packed_set(source).domains == ("dslr", "web")
    assert capsys.readouterr().err.splitlines()[0] == "not read: splits/, without pictures"


def test_a_domain_that_lacks_a_class_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = files(tmp_path / "source", *DOMAINS, "art/mug/0.png", "art/cup/0.png", "web/cup/0.png")
    packed = packed_set(source)
    assert packed.domains == ("art", "dslr", "web") and [c.id for c in packed.classes] == ["bag", "cup", "mug"]
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("domain")]
    assert lines == ["domain art has no pictures of class bag", "domain dslr has no pictures of class cup"]


def test_domains_are_part_of_what_is_packed(tmp_path: Path) -> None:
    source = files(tmp_path / "source", *DOMAINS)
    packed_set(source)
    shutil.rmtree(tmp_path / "source")
    files(tmp_path / "source", *(name.replace("web", "cam") for name in DOMAINS))
    with pytest.raises(Refused, match="holds another data set"):
        packed_set(source)


def test_what_may_be_domains_or_classes_is_refused_until_the_layout_is_given(tmp_path: Path) -> None:
    source = files(tmp_path / "source", "cat/siamese/0.png", "cat/tabby/0.png", "dog/pug/0.png", "dog/pug/1.png")
    message = refusal(source)
    assert "is cat/siamese a class of a domain, or are its pictures of class cat?" in message
    assert message.endswith("Give --layout domains or --layout classes")
    classes = packed_set(source, "classes")
    assert contents(classes) == ([0, 1, 2, 3], ["cat", "cat", "dog", "dog"], [])
    shutil.rmtree(classes.folder)
    files(source, "cat/siamese/0.png", "cat/tabby/0.png", "dog/pug/0.png", "dog/pug/1.png", "dog/tabby/0.png")
    put(source / "cat" / "siamese" / "1.png", picture(9))
    assert contents(packed_set(source, "domains")) == (
        [2, 3, 0, 9, 1, 4],
        ["pug", "pug", "siamese", "siamese", "tabby", "tabby"],
        ["dog", "dog", "cat", "cat", "cat", "dog"],
    )


@pytest.mark.parametrize("name", ["images", "jpg"])  # Flowers have jpg/, but not in class folders
def test_one_folder_in_every_class_folder_makes_no_domains(tmp_path: Path, name: str) -> None:
    source = files(tmp_path / "source", *(f"{c}/{name}/image_000{i}.jpg" for c in ("ant", "bus") for i in range(2)))
    assert contents(packed_set(source)) == ([0, 1, 2, 3], ["ant", "ant", "bus", "bus"], [])


@pytest.mark.parametrize("deep", ["dslr/mug/old/0.png", "dslr/0.png"])
def test_domains_with_more_than_class_folders_are_refused_until_the_layout_is_given(tmp_path: Path, deep: str) -> None:
    source = files(tmp_path / "source", *DOMAINS, deep)
    assert "--layout domains" in refusal(source)
    if "old" in deep:
        assert packed_set(source, "domains").domains == ("dslr", "web")
    else:
        assert "dslr/0.png lies beside the class folders" in refusal(source, "domains")


@pytest.mark.parametrize("order", ["{part}/{domain}", "{domain}/{part}"])
def test_domains_with_train_and_val(tmp_path: Path, order: str) -> None:
    names = [
        f"{order.format(part=part, domain=domain)}/{c}/{i}.png"
        for part, count in (("train", 2), ("val", 1))
        for domain in ("web", "dslr")
        for c in ("mug", "bag")
        for i in range(count)
    ]
    packed = packed_set(files(tmp_path / "source", *names), "domains")
    assert not packed.pool and packed.domains == ("dslr", "web")
    numbers = [names.index(f"{order.format(part='train', domain=d)}/{c}/{i}.png") for c in ("bag", "mug")
               for d in ("dslr", "web") for i in range(2)]  # fmt: skip
    assert contents(packed) == (numbers, ["bag"] * 4 + ["mug"] * 4, ["dslr", "dslr", "web", "web"] * 2)
    assert packed.val.domains is not None and packed.val.domains.tolist() == [0, 1, 0, 1]
    assert packed.val.labels.tolist() == [0, 0, 1, 1]


def test_a_domain_without_validation_is_refused(tmp_path: Path) -> None:
    names = ("train/web/mug/0.png", "train/web/bag/0.png", "val/web/mug/0.png", "val/web/bag/0.png")
    source = files(tmp_path / "source", *names, "train/dslr/mug/0.png")
    assert "domain dslr has training pictures only" in refusal(source, "domains")


def test_classes_of_domains_may_be_composed_differently(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    names = (f"mac/{apart}/0.png", "mac/bag/0.png", f"web/{composed}/0.png", "web/bag/0.png")
    packed = packed_set(zipped(files(tmp_path / "source", *names), tmp_path / "set.zip"))
    assert len(packed.classes) == 2 and packed.domains == ("mac", "web")


def test_a_class_may_be_called_train_where_the_layout_is_given(tmp_path: Path) -> None:
    source = files(tmp_path / "source", "train/0.png", "train/1.png", "bus/0.png", "bus/1.png")
    assert "has no folder val/" in refusal(source) and "--layout classes, if a class has such a name" in refusal(source)
    assert contents(packed_set(source, "classes"))[1] == ["bus", "bus", "train", "train"]
    shutil.rmtree(tmp_path / "packed")
    shutil.rmtree(source)
    files(source, *(f"{domain}/{c}/0.png" for domain in ("web", "dslr") for c in ("train", "bus")))
    assert "--layout domains" in refusal(source)
    assert contents(packed_set(source, "domains"))[1] == ["bus", "bus", "train", "train"]


def test_with_train_and_val_the_layout_of_classes_changes_nothing(tmp_path: Path) -> None:
    source = files(tmp_path / "source", *(f"{part}/{c}/0.png" for part in ("train", "val") for c in ("ant", "bus")))
    packed = packed_set(source)
    assert not packed.pool and packed_set(source, "classes").checksum == packed.checksum


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("val/ant/0.png", "val/bus/0.png", "drain/ant/0.png"), "has no folder train/"),
        (("train/ant/0.png", "train/bus/0.png"), "has no folder val/"),
        (("0.png", "1.png", "2.png"), "holds pictures, such as 0.png, but no folders of classes: sort them into one"),
        (("ant/0.png", "ant/1.png", "ant/2.png"), "one class only, ant: a network needs two or more"),
        (("ant/0.png", "bus/0.png", "cat/0.png"), "class ant (and 2 more) has one picture only: without a validation"),
        (("ant/0.png", "ant/1.png", "bus/0.png"), "class bus has one picture only"),
        (("ant/0.png", "ant/1.png", "bus/0.png", "bus/1.png", "0.png"), "/0.png lies beside the class folders"),
        (("ant/0.png", "ant/1.png", "bus/0.png", "lists/all.txt"), "there are no pictures in lists/: move it away"),
    ],
)
def test_what_is_no_pool_is_refused_by_name(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    assert message in refusal(files(tmp_path / "source", *names))


def test_empty_folders_folders_of_lists_and_of_archives_are_refused(tmp_path: Path) -> None:
    source = files(tmp_path / "source", "ant/0.png", "ant/1.png", "lists/a.txt")
    put(source / "labels.csv", b"path,label\n")
    assert refusal(source).endswith(
        "move it away, or give labels.csv, if that is a table of pictures and their classes"
    )
    shutil.rmtree(source / "lists")
    (source / "bus").mkdir()
    assert "class bus has no pictures: add some or delete the folder" in refusal(source)
    shutil.rmtree(source)
    source.mkdir()
    for layout in (None, "classes", "domains"):
        assert "has no folder train/: it needs train/ and val/" in refusal(source, layout)
    assert "--layout both: it must be classes or domains" in refusal(source, "both")
    put(source / "caltech" / "101_ObjectCategories.tar.gz", b"archive")
    archive = zipped(source, tmp_path / "caltech-101.zip")
    hint = "101_ObjectCategories.tar.gz: unpack that and give the folder"
    assert refusal(archive).endswith(f"; it holds caltech/{hint}")
    assert refusal(source / "caltech").endswith(f"; it holds {hint}")
    shutil.rmtree(source / "caltech")
    os.rename(archive, source / "photos.zip")
    assert refusal(source).endswith("; it holds photos.zip: give that")


def test_unreadable_pictures_may_leave_too_few_of_a_class(tmp_path: Path) -> None:
    source = files(tmp_path / "source", *POOL)
    put(source / "bus" / "2.png", b"no picture")
    packed = pack(str(source), tmp_path / "packed", Options(skip_unreadable=True))
    assert len(packed.train.labels) == 4
    os.remove(source / "bus" / "1.png")
    with pytest.raises(Refused, match=r"0.png is the only picture of class bus that can be read: without a validation"):
        pack(str(source), tmp_path / "again", Options(skip_unreadable=True))


@pytest.mark.parametrize("place", ["caltech101/101_ObjectCategories", "101_ObjectCategories", ""])
def test_caltech_101_without_its_clutter(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    root = tmp_path / "101_ObjectCategories" if not place else tmp_path / "source" / place
    files(root, *(f"{c}/image_000{i}.jpg" for c in ("ant", "Faces", "BACKGROUND_Google") for i in (1, 2)))
    if place:
        files(root.parent, "Annotations/ant/annotation_0001.mat", "Annotations/Faces/annotation_0001.mat")
    packed = packed_set(tmp_path / "source" if place else root)
    assert packed.pool and contents(packed)[1] == ["Faces", "Faces", "ant", "ant"]
    errors = capsys.readouterr().err.splitlines()
    annotations = f"{place}/".replace("101_ObjectCategories", "Annotations")
    assert errors[:-2] == ([f"not read: {annotations}, without pictures"] if place else [])
    assert errors[-2] == "left out: 2 pictures of BACKGROUND_Google, which is no class"
    assert errors[-1].startswith("Caltech-101: 4 pictures of 2 classes")


def test_interrupted_it_goes_on_and_ends_with_the_same_bytes_with_any_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transferability.data.pack.FEW_IMAGES", 0)
    monkeypatch.setattr("transferability.data.packed.BLOCK_BYTES", 2 * 16 * 16 * 3)  # three blocks of two images
    source = files(tmp_path / "source", *DOMAINS)
    expected = pack(str(source), tmp_path / "expected", Options(workers=2))
    packing, packed_blocks = module.pack_block, []

    def interrupt(block: module.Block) -> module.PackedBlock:
        if len(packed_blocks) == 1:
            raise KeyboardInterrupt
        packed_blocks.append(block.number)
        return packing(block)

    with monkeypatch.context() as patch:
        patch.setattr(module, "pack_block", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pack(str(source), tmp_path / "packed", Options(workers=1))
    assert packed_blocks == [0] and not (tmp_path / "packed").exists()
    packed = pack(str(source), tmp_path / "packed", Options(workers=1))
    assert packed.checksum == expected.checksum
    names = {path.name for path in expected.folder.iterdir()}
    assert names == {path.name for path in packed.folder.iterdir()} and {"train-domains.npy", "val-domains.npy"} < names
    assert all(
        (packed.folder / name).read_bytes() == (expected.folder / name).read_bytes()
        for name in names - {"manifest.json"}
    )


def test_the_command_takes_the_layout_and_says_what_it_packed(tmp_path: Path) -> None:
    source = files(tmp_path / "source", *(f"{animal}/{i}/0.png" for animal in ("cat", "dog") for i in range(2)))
    arguments = ["pack", str(source), str(tmp_path / "packed"), "--layout", "classes", "--workers", "1"]
    outcome = CliRunner().invoke(app, arguments)
    assert outcome.exit_code == 0 and "4 images in one pool" in outcome.output
    assert "2 classes" in outcome.output and "domains" not in outcome.output
    outcome = CliRunner().invoke(app, ["verify", str(tmp_path / "packed")])
    assert outcome.exit_code == 0 and outcome.output.endswith("every checksum is right\n")

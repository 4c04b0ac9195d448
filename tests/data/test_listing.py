"""Clutter of systems, NAS boxes, synchronisers and editors is left out; zips and tars of any maker are read."""

import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ilsvrc import tar_of
from pictures import folder, picture, pixels, put, zipped

from transferability.data.listing import is_clutter
from transferability.data.pack import Options, pack
from transferability.data.packed import PackedImages
from transferability.data.readers import list_images
from transferability.files import Refused

# Each as it may lie in any folder, with one file in it if it is a folder.
CLUTTER_FOLDERS = (
    "@eaDir", "@EADIR", "#recycle", "#snapshot", "@tmp", "@sharebin",  # Synology
    "@Recycle", "@Recently-Snapshot", ".@__thumb", "@__thumb",  # QNAP
    "$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information", "SYSTEM VOLUME INFORMATION", "RECYCLER", "found.000",
    "__MACOSX", ".Trashes", ".fseventsd", ".Spotlight-V100", ".AppleDouble", ".TemporaryItems", "Network Trash Folder",
    "lost+found", "LOST.DIR", ".Trash-1000", ".snapshot", "~snapshot", "@GMT-2024.01.31-10.00.00",
    ".dropbox.cache", ".stversions", ".stfolder", ".sync", "_gsdata_", ".git", ".ipynb_checkpoints", "__pycache__",
    "CVS",
)  # fmt: skip
CLUTTER_FILES = (
    ".DS_Store", ".ds_store", "._0.png", ".localized", "Icon\r", ".apdisk",
    "Thumbs.db", "THUMBS.DB", "ehthumbs.db", "Desktop.ini", "DESKTOP.INI", "0.png:Zone.Identifier", "photos.lnk",
    "apple@SynoEAStream", "SYNOPHOTO_THUMB_M.jpg", ".directory", ".nfs000000000123", ".fuse_hidden0001",
    ".dropbox", ".dropbox.attr", ".849C9593-D756-4E56-8D6E-42412F2A707B", ".sync_1a2b.db", ".owncloudsync.log",
    "0 (Jane's conflicted copy 2024-01-31).png", "0.sync-conflict-20240131-101010-ABCDEFG.png", "~syncthing~0.png.tmp",
    "0.png~", "#0.png#", ".0.png.swp", "0.png.bak", "0.PNG.BAK", "0.png.orig", "0.png_original", "~$0.png", "0.png.tmp",
    "0.png.part", "0.png.partial", "0.png.crdownload", "0.png.!ut", "0.png.ffs_tmp", "AlbumArtSmall.jpg",
    "0.xmp", "IMG_0.AAE", "Picasa.ini", ".picasa.ini", ".gitkeep",
)  # fmt: skip
NO_CLUTTER = (
    ("icon", True), ("images", True), ("recycler", True), ("recycled", True), ("#cat", True), ("@home", True),
    ("cvs", True), ("a.bak", True), ("temp", True), ("tmp", True), ("found", True), ("core", True), ("database", True),
    ("0.png", False), ("0", False), ("picture.txt", False), ("bak", False), ("original.png", False), ("0.part", False),
    ("albumart.jpg", False), (".0.png.icloud", False), ("0.png.nextcloud", False),
)  # fmt: skip


def test_names_that_are_clutter_and_names_that_are_not() -> None:
    assert [name for name in CLUTTER_FOLDERS if not is_clutter(name, folder=True)] == []
    assert [name for name in CLUTTER_FILES if not is_clutter(name, folder=False)] == []
    assert [name for name, is_folder in NO_CLUTTER if is_clutter(name, is_folder)] == []


def litter(root: Path) -> None:
    """Leaves every kind of clutter at the top, beside the class folders, in them, and in a folder in them."""
    put(root / "train" / "ant" / "more" / "9.png", picture(9))
    for place in (root, root / "train", root / "val", root / "train" / "ant", root / "train" / "ant" / "more"):
        for name in CLUTTER_FILES:
            put(place / name, picture(77))
        for name in CLUTTER_FOLDERS:
            put(place / name / "0.jpg" / "preview.jpg", picture(77))


def check(packed: PackedImages) -> None:
    assert [c.id for c in packed.classes] == ["ant", "bus", "cat"]
    assert packed.train.labels.tolist() == [0] * 5 + [1] * 4 + [2] * 4 and packed.val.labels.tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]
    assert np.array_equal(packed.train.images[4], pixels(9))


@pytest.mark.parametrize("container", ["folder", "zip", "zip in a folder", "tar"])
def test_clutter_is_left_out_wherever_it_lies(tmp_path: Path, container: str) -> None:
    source = folder(tmp_path / "set")
    litter(source)
    if container.startswith("zip"):
        source = zipped(source, tmp_path / "set.zip", "set/" if "in" in container else "")
    elif container == "tar":
        with tarfile.open(tmp_path / "set.tar", "w") as archive:
            archive.add(source, ".")  # so that all names begin with ./
        source = tmp_path / "set.tar"
    check(pack(str(source), tmp_path / "packed", Options(workers=1)))


def test_what_is_still_in_the_cloud_is_not_left_out_in_silence(tmp_path: Path) -> None:
    source = folder(tmp_path / "set")
    for name in (".4.png.icloud", "4.png.nextcloud"):
        file = put(source / "train" / "ant" / name, b"bplist00")
        with pytest.raises(
            Refused, match=rf"ant/{name} cannot be read as a picture: it is a placeholder: .* download it"
        ):
            pack(str(source), tmp_path / "packed")
        file.unlink()


# --------------------------------------------------------------------------------------------------- zips


def written(path: Path, names: dict[str, bytes]) -> Path:
    """A zip whose members have exactly these names."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in names.items():
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, data)
    return path


def members(train: str = "train", val: str = "val", classes: tuple[str, ...] = ("ant", "bus")) -> dict[str, bytes]:
    return {
        f"{which}/{c}/{i}.png": picture(100 * k + 10 * s + i)
        for k, c in enumerate(classes)
        for s, which in enumerate((train, val))
        for i in range(2)
    }


@pytest.mark.parametrize("top", ["", "set\\", ".\\set\\"])
def test_a_zip_with_backslashes(tmp_path: Path, top: str) -> None:
    names = {top + name.replace("/", "\\"): data for name, data in members().items()}
    if top:
        names = {top: b"", f"{top}train\\": b"", **names}  # entries of the folders
    packed = pack(str(written(tmp_path / "set.zip", names)), tmp_path / "packed", Options(workers=1))
    assert [c.id for c in packed.classes] == ["ant", "bus"] and len(packed.val.labels) == 4
    assert np.array_equal(packed.train.images, [pixels(seed) for seed in (0, 1, 100, 101)])


def test_a_backslash_in_a_name_of_a_zip_with_slashes_stays(tmp_path: Path) -> None:
    lists = list_images(str(written(tmp_path / "set.zip", members(classes=("a\\b", "c")))))
    assert sorted(lists.train) == ["a\\b", "c"]


def test_names_in_utf_8_without_the_flag_for_it(tmp_path: Path) -> None:
    """As macOS's Archive Utility writes them."""
    path = written(tmp_path / "set.zip", members(classes=("café", "猫")))
    data = path.read_bytes()
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        parts = data.split(header)
        data = header.join([parts[0], *(part[: flags - 4] + b"\0\0" + part[flags - 2 :] for part in parts[1:])])
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive:
        assert not any("é" in name for name in archive.namelist())
    packed = pack(str(path), tmp_path / "packed", Options(workers=1))
    assert [c.id for c in packed.classes] == ["café", "猫"]
    assert np.array_equal(packed.train.images, [pixels(seed) for seed in (0, 1, 100, 101)])


def test_names_in_a_code_page_with_the_unicode_name_beside_it(tmp_path: Path) -> None:
    """As 7-Zip and WinRAR write them: the name in the code page of Windows, and Info-ZIP's extra field in UTF-8."""
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members(classes=("café", "猫")).items():
            info = zipfile.ZipInfo("x")
            info.filename = name.encode("ascii", "replace").decode()
            field = b"\x01\0\0\0\0" + name.encode()
            info.extra = struct.pack("<HH", 0x5455, 1) + b"\0" + struct.pack("<HH", 0x7075, len(field)) + field
            archive.writestr(info, data)
    assert sorted(list_images(str(path)).train) == ["café", "猫"]
    packed = pack(str(path), tmp_path / "packed", Options(workers=1))
    assert np.array_equal(packed.train.images, [pixels(seed) for seed in (0, 1, 100, 101)])


def test_names_in_another_code_page_are_kept_apart(tmp_path: Path) -> None:
    """As Windows writes them in Japan: which code page it was, nothing says."""
    path = written(tmp_path / "set.zip", members(classes=("d1", "d2")))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"/d1/", "/犬/".encode("cp932")).replace(b"/d2/", "/猫/".encode("cp932")))
    packed = pack(str(path), tmp_path / "packed", Options(workers=1))
    assert len(packed.classes) == 2 and packed.train.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [(8, 1, "is encrypted: unpack it"), (10, 9, r"cannot read \(method 9, such as Windows' Deflate64\): unpack it")],
)
def test_zips_that_python_cannot_read(tmp_path: Path, offset: int, value: int, message: str) -> None:
    path = written(tmp_path / "set.zip", members())
    data = bytearray(path.read_bytes())
    start = data.find(b"PK\x01\x02")  # the first entry of the directory: general purpose flag, method
    data[start + offset] |= value
    path.write_bytes(data)
    with pytest.raises(Refused, match=message):
        list_images(str(path))


def test_a_zip_that_was_packed_again_is_read_anew(tmp_path: Path) -> None:
    path = written(tmp_path / "set.zip", members())
    first = pack(str(path), tmp_path / "first", Options(workers=1))
    written(path, {name: picture(500 + i) for i, name in enumerate(members())})
    os.utime(path, ns=(1, 1))
    second = pack(str(path), tmp_path / "second", Options(workers=1))
    assert first.checksum != second.checksum and np.array_equal(second.train.images[0], pixels(500))


# --------------------------------------------------------------------------------------------------- tars


def test_a_tar_is_read_where_it_lies(tmp_path: Path) -> None:
    path = put(tmp_path / "set.tar", tar_of({f"set/{name}": data for name, data in members().items()}))
    packed = pack(str(path), tmp_path / "packed", Options(workers=1))
    assert [c.id for c in packed.classes] == ["ant", "bus"]
    assert np.array_equal(packed.train.images, [pixels(seed) for seed in (0, 1, 100, 101)])
    assert list_images(str(path)).arrangement == "tar of class folders"


def test_a_compressed_tar_has_to_be_unpacked(tmp_path: Path) -> None:
    path = put(tmp_path / "set.tar.gz", tar_of(members(), "w:gz"))
    with pytest.raises(Refused, match=r"set.tar.gz is a compressed tar: unpack it"):
        list_images(str(path))

"""What lies in a folder, a zip or a tar: every file as an `ImageRef`, listed without unpacking or copying anything.

Left out everywhere are hidden files and what operating systems, NAS boxes, synchronisers and editors leave behind
(`is_clutter`). A listing is {relative path: ImageRef, or None for a folder}; the paths have slashes, whatever wrote
them. Everything that comes after is the same for all three.
"""

import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from transferability.data.decode import Unreadable, is_mistake
from transferability.files import Refused, shown

DEPTH = 3  # of Kaggle's folder ILSVRC/Data/CLS-LOC: so deep folders are searched
MAX_FILE_BYTES = 2**28  # of one encoded image; nothing larger is an image of a data set

# Names of files and folders, in lower case, that no class could have. Names that begin with a dot are left out anyway.
CLUTTER = {
    *("$recycle.bin", "system volume information", "dfsrprivate"),  # Windows
    *("__macosx", "icon\r", "icon\uf00d", "network trash folder", "temporary items", "desktop db", "desktop df"),
    *("thevolumesettingsfolder", "thefindbycontentfolder"),  # macOS
    *("lost+found", "lost.dir", "__pycache__"),  # Linux, Android, Python
    *("@eadir", "@tmp", "#recycle", "#snapshot", "@synoresource", "@sharesnap", "@sharebin"),  # Synology
    *("@recycle", "@recently-snapshot", "@transcode", "@__thumb", "@upload_cache"),  # QNAP
    *("~snapshot", "_nas_recycle_", "_gsdata_"),  # NetApp, Thecus, GoodSync
}
CLUTTER_FOLDER = re.compile(r"found\.\d{3}|@gmt-[\d.-]+")  # chkdsk, Windows' shadow copies
CLUTTER_FILE = re.compile(
    r".*~|~\$.*|#.*#|~syncthing~.*|:2e.*"  # editors, Office, Syncthing, netatalk
    r"|.*\.(bak|orig|save|swp|swo|tmp|temp|lnk|url|webloc|desktop|ini|db|db-shm|db-wal|xmp|aae|dvc)"
    r"|zbthumbnail\.info|descript\.ion"  # image viewers; Thumbs.db, desktop.ini and Picasa.ini are in the line above
    r"|.*_original|.*conflicted copy.*|.*\.sync-conflict-.*"  # exiftool, Dropbox and Nextcloud, Syncthing
    r"|.*\.(crdownload|filepart|opdownload|aria2|ffs_tmp|ffs_lock|!ut|!qb)|.+\.[^.]+\.(part|partial)"  # half downloads
    r"|albumart(small|_\{.*)\.jpg"  # Windows Media Player
    r"|.*[:\uf03a]?zone\.identifier(:\$data)?|.*:encryptable|.*:\$data|.*[:\uf03a]afp_afpinfo"  # streams of NTFS
    r"|.*@synoeastream|.*@synoresource|synophoto_.*"
)
PLACEHOLDERS = (".icloud", ".nextcloud", ".owncloud", ".cloud", ".cloudf", ".rsls", ".rslsf")


class ImageRef(NamedTuple):
    """Where one image is: a file, a zip's member, a tar's slice, a row of CIFAR, a number of the demo."""

    storage: str  # 'file', 'zip', 'slice', 'cifar', 'demo'
    container: str  # folder, archive or pickle; for the demo, the class index, and a distance
    name: str
    offset: int = 0  # slice: first byte; cifar: row; demo: number
    length: int = 0  # bytes of the encoded image (negative: no regular file); cifar: of the pickle
    changed: int = 0  # time of the file in ns, or CRC in the zip: tells an image from its later version
    over: "ImageRef | None" = None  # the photograph that it is laid over (`patches.py`)

    @property
    def key(self) -> tuple[object, ...]:
        """What is packed, wherever the data set lies. Written into journals and manifests: must not change."""
        own = (self.storage, self.name, self.offset, self.length, self.changed)
        return own if self.over is None else (*own, self.over.key)

    @property
    def place(self) -> str:
        """For people: the path, in one printable line."""
        return shown(self.name if self.storage == "demo" else f"{self.container}/{self.name}")


Entries = dict[str, ImageRef | None]


@dataclass(frozen=True)
class ImageLists:
    """The images of a data set by class id, each class in the order of the file list; names and groups of classes.

    Where an image may have several classes, it stands under the first that is present (ascending id), and a class may
    have no images of its own. A pool has images for training only.
    """

    arrangement: str
    train: dict[str, list[ImageRef]]
    val: dict[str, list[ImageRef]]
    names: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    default_size: int | None = None  # None: the images' own common size
    stamp: str = ""  # the version of the demo's painters, which the images' keys do not tell
    pool: bool = False
    domains: dict[ImageRef, str] = field(default_factory=dict)  # of every image, or empty
    several: dict[ImageRef, dict[str, int]] = field(
        default_factory=dict
    )  # of every image, or empty: 1, or -1, by class
    notes: tuple[str, ...] = ()  # for people: what was left out by a rule

    @property
    def sets(self) -> dict[str, dict[str, list[ImageRef]]]:
        """The training and the validation images, by the names of the sets."""
        return {"train": self.train, "val": self.val}


def is_clutter(name: str, folder: bool) -> bool:
    """Whether a file or folder of this name belongs to no data set. Case does not count."""
    lower = name.lower()
    if lower.startswith("."):
        return not lower.endswith(PLACEHOLDERS)  # iCloud's .NAME.icloud stands for an image that has to be fetched
    pattern = CLUTTER_FOLDER if folder else CLUTTER_FILE
    # Windows XP's RECYCLER and version control's CVS are no classes, unlike the same words in other letters.
    return lower in CLUTTER or name in ("RECYCLER", "CVS") or bool(pattern.fullmatch(lower))


def read_encoded(image: ImageRef) -> bytes:
    """The encoded file. Raises Unreadable, OSError, or what the reader of a damaged archive raises."""
    if image.name.lower().endswith(PLACEHOLDERS):
        raise Unreadable("is a placeholder: the image itself is still in the cloud; download it")
    if image.length < 0:
        raise Unreadable("is a broken link or no regular file")
    if image.length > MAX_FILE_BYTES:
        raise Unreadable(f"has {image.length:,} bytes, more than any picture")
    if image.storage == "zip":
        archive, members = _open_zip(image.container, os.stat(image.container).st_mtime_ns)
        with archive.open(members[image.name]) as handle:
            return handle.read(image.length)  # no more: a member may unpack to more than the zip says
    if image.storage == "slice":
        with open(image.container, "rb") as handle:
            handle.seek(image.offset)
            data = handle.read(image.length)
        if len(data) != image.length:
            raise Unreadable("is cut off: the tar file is truncated")
        return data
    with open(os.path.join(image.container, image.name), "rb") as handle:
        return handle.read(MAX_FILE_BYTES)


# -------------------------------------------------------------------------------------- folders and archives


@dataclass(frozen=True)
class Tree:
    """A folder, zip or tar, of which only the part that is asked for is listed. '' is its top folder.

    `folders`: the names of the folders in a folder. `below`: everything in a folder.
    """

    path: Path
    folders: Callable[[str], list[str]]
    below: Callable[[str], Entries]

    @property
    def container(self) -> str:
        """What it is, for people."""
        return "folder" if self.path.is_dir() else "zip" if zipfile.is_zipfile(self.path) else "tar"


def folder_tree(path: Path) -> Tree:
    """A folder, in which folders are looked for `DEPTH` deep."""

    def folders(folder: str) -> list[str]:
        return subfolders(path, folder) if folder.count("/") < DEPTH else []

    return Tree(path, folders, lambda folder: dict(_walk(str(path), folder, set(), top=True)))


def listed_tree(path: Path, entries: Entries) -> Tree:
    """A folder or archive of which all that matters is listed."""
    children: dict[str, list[str]] = {}
    for name in (name for name, image in entries.items() if image is None):
        children.setdefault(name.rpartition("/")[0], []).append(name.rpartition("/")[2])

    def below(folder: str) -> Entries:
        start = f"{folder}/" if folder else ""
        return {name: image for name, image in entries.items() if name.startswith(start)}

    return Tree(path, lambda folder: sorted(children.get(folder, [])), below)


def find_folders(tree: Tree, names: set[str]) -> list[str]:
    """The folders that hold folders of all these `names`, those least deep, in order."""
    level = [""]
    while level:
        children = {folder: tree.folders(folder) for folder in level}
        if places := sorted(folder for folder in level if names <= {*children[folder]}):
            return places
        level = [join(folder, child) for folder in level for child in children[folder]]
    return []


# ------------------------------------------------------------------------------------------------ folders


def folder_entries(root: Path, inner: str, wanted: Iterable[str]) -> Entries:
    """Lists the files and folders at the top of `root` and in its folder `inner`.

    Of the folders there, those whose names (in lower case) are `wanted` are listed whole. Links are followed, but into
    no folder twice, so that loops end.
    """
    entries: Entries = {}
    for folder in dict.fromkeys(("", inner)):
        for entry in _scan(root / folder):
            name = join(folder, entry.name)
            if not _is_folder(entry):
                entries[name] = _file_ref(str(root), name, entry)
                continue
            entries[name] = None
            if entry.name.lower() in wanted:
                entries.update(_walk(str(root), name, set(), top=True))
    return entries


def subfolders(root: Path, folder: str) -> list[str]:
    """Names of the folders in a folder below `root`; none where it may not be read."""
    try:
        return [entry.name for entry in _scan(root / folder) if _is_folder(entry)]
    except OSError:
        if not folder:
            raise
        return []


def _scan(folder: str | Path) -> list[os.DirEntry[str]]:
    """What is in a folder, without clutter, in the order of the names."""
    with os.scandir(folder) as listing:
        entries = [entry for entry in listing if not is_clutter(entry.name, _is_folder(entry))]
    return sorted(entries, key=lambda entry: entry.name)


def _walk(
    root: str, folder: str, seen: set[tuple[int, int]], top: bool = False
) -> Iterator[tuple[str, ImageRef | None]]:
    """Everything below a folder. Each real folder is entered once for each folder of the `top` level (a class)."""
    stat = os.stat(os.path.join(root, folder))
    if (stat.st_dev, stat.st_ino) in seen:
        return
    seen.add((stat.st_dev, stat.st_ino))
    for entry in _scan(os.path.join(root, folder)):
        name = join(folder, entry.name)
        if _is_folder(entry):
            yield name, None
            yield from _walk(root, name, set(seen) if top else seen)
        else:
            yield name, _file_ref(root, name, entry)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself


def _file_ref(root: str, name: str, entry: os.DirEntry[str]) -> ImageRef:
    try:
        if entry.is_file():
            return ImageRef("file", root, name, 0, entry.stat().st_size, entry.stat().st_mtime_ns)
    except OSError:
        pass  # a link that leads nowhere, or to itself: reading it says so
    return ImageRef("file", root, name, 0, -1, 0)


def join(folder: str, name: str) -> str:
    """The path of `name` in a folder; '' is the top."""
    return f"{folder}/{name}" if folder else name


# ------------------------------------------------------------------------------------------- zips and tars


def zip_entries(path: Path) -> Entries:
    """Lists a zip. Raises Refused where it is damaged, encrypted, or compressed in a way that Python cannot read."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = _zip_members(archive)
    except (zipfile.BadZipFile, NotImplementedError) as error:  # NotImplementedError: a newer version of the format
        todo = "download it again, or unpack it and give the folder"
        raise Refused(f"{shown(path)} is damaged or incomplete ({error}): {todo}") from None
    readable = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    files: Entries = {}
    for name, info in members.items():
        if info.flag_bits & 1:
            raise Refused(f"{shown(path)} is encrypted: unpack it and give the folder")
        if info.compress_type not in readable:
            raise Refused(
                f"{shown(path)} is compressed in a way that Python cannot read (method {info.compress_type}, such as"
                " Windows' Deflate64): unpack it and give the folder"
            )
        folder = name.endswith("/")
        files[name.rstrip("/")] = None if folder else ImageRef("zip", str(path), name, 0, info.file_size, info.CRC)
    return _archive_entries(files)


def tar_entries(path: Path) -> Entries:
    """Lists an uncompressed tar. Its files are slices of it."""
    files: Entries = {_without_dots(member.name): tar_slice(path, member) for member in tar_members(path)}
    return _archive_entries(files)


def _archive_entries(files: Entries) -> Entries:
    """The files of an archive and the folders that their paths imply, without clutter."""
    entries: Entries = {}
    wanted: dict[str, bool] = {"": True}  # by folder: whether none of its parts is clutter

    def is_wanted(folder: str) -> bool:
        if folder not in wanted:
            parent, _, name = folder.rpartition("/")
            wanted[folder] = is_wanted(parent) and not is_clutter(name, folder=True)
            if wanted[folder]:
                entries[folder] = None
        return wanted[folder]

    for path, image in files.items():
        folder, _, name = path.rpartition("/")
        if image is None:
            is_wanted(path)
        elif is_wanted(folder) and not is_clutter(name, folder=False):
            entries[path] = image
    return entries


@lru_cache(maxsize=2)
def _open_zip(path: str, changed: int) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """A zip and its members. `changed`, the time of the file, tells it from a later one of the same name."""
    archive = zipfile.ZipFile(path)
    return archive, _zip_members(archive)


def _zip_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members of a zip by their paths: with slashes (folders end with one), in Unicode, without leading ./"""
    names = [_zip_name(info) for info in archive.infolist()]
    if not any("/" in name.rstrip("/") for name in names):  # Windows' own separator, against the standard
        names = [name.replace("\\", "/") for name in names]
    return {_without_dots(name): info for name, info in zip(names, archive.infolist(), strict=True)}


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The path of a member. Python reads names without the flag for UTF-8 as IBM's code page 437, as the standard has
    it; but macOS and others write UTF-8 without the flag, and many programs add the name in UTF-8 as an extra field.
    """
    extra = info.extra
    if info.flag_bits & 0x800 or (info.filename.isascii() and b"up" not in extra):
        return info.filename
    while len(extra) >= 4:
        kind, length = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        if kind == 0x7075 and length > 5:  # "up", Info-ZIP's Unicode path: version, CRC of the other name, name
            return extra[9 : 4 + length].decode("utf-8", "replace")
        extra = extra[4 + length :]
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _without_dots(name: str) -> str:
    """`./a//b` as `a/b`. Parts `..` stay, and are clutter: nothing outside of the archive is meant."""
    if "//" not in name and "./" not in name and not name.startswith("/"):
        return name
    folder = "/" if name.endswith("/") else ""
    return "/".join(part for part in name.split("/") if part not in ("", ".")) + folder


def tar_members(path: Path, start: int = 0, stop: int | None = None) -> list[tarfile.TarInfo]:
    """The regular files, without clutter, of an uncompressed tar, or of the tar in bytes [start, stop) of a file.

    Offsets in them count from the start of the file. Raises Refused where the tar is damaged or truncated.
    """
    stop = path.stat().st_size if stop is None else stop
    with open(path, "rb") as handle:
        handle.seek(start)
        try:
            # `errors` keeps names that are not UTF-8
            with tarfile.TarFile(fileobj=handle, errors="surrogateescape") as archive:
                members = [member for member in archive if member.isreg()]
        except tarfile.TarError as error:
            raise Refused(f"{shown(path)} is damaged ({error}): download it again") from None
    if any(member.offset_data + member.size > stop for member in members):
        raise Refused(f"{shown(path)} is truncated: download it again")
    return [member for member in members if not is_clutter(member.name.rpartition("/")[2], folder=False)]


def tar_slice(path: Path, member: tarfile.TarInfo, inside: str = "") -> ImageRef:
    """A member of an uncompressed tar as a slice of the file. `inside`: the tar in the tar that holds it, if any."""
    return ImageRef("slice", str(path), inside + member.name, member.offset_data, member.size, int(member.mtime))


# -------------------------------------------------------------------------------------------- small texts


def text_of(entries: Entries, name: str) -> str:
    """A text file among the entries."""
    return bytes_of(entries, name).decode("utf-8-sig", "surrogateescape")


def bytes_of(entries: Entries, name: str) -> bytes:
    """A small file among the entries. Raises Refused, naming it, where it cannot be read."""
    file = entries[name]
    assert file is not None
    try:
        return read_encoded(file)
    except Exception as error:  # damaged archives raise many types
        if is_mistake(error):
            raise
        raise Refused(f"{file.place} cannot be read: {error}") from None

"""Packing: from the images of a data set to a packed set (`packed.py`), on all cores, whole or not at all.

Images are laid out in blocks of about 4 MiB. A worker decodes one block, writes it at its place in the image file under
DEST.partial and returns its SHA-256, which goes into a journal. A run that is started again, after any kill, reads the
journal, checks the blocks on the disk and does the rest; a block whose images have changed is done again. At the end
everything is synced and DEST.partial is renamed to DEST. The bytes depend neither on the number of workers nor on
interruptions.
"""

import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import PIL
from PIL import Image

from transferability import available_cores
from transferability.classes import ImageClass
from transferability.data.contents import (
    check_classes,
    class_table,
    domain_names,
    domains_without_classes,
    optional_arrays,
    refuse_too_few,
)
from transferability.data.decode import Unreadable, decode, is_mistake, reason_of
from transferability.data.listing import ImageLists, ImageRef
from transferability.data.packed import (
    SETS,
    PackedImages,
    block_rows,
    human_bytes,
    npy_header,
    open_packed,
    optional_entries,
    read_manifest,
    write_manifest,
    write_small_files,
)
from transferability.data.patches import laid_over, over_patch
from transferability.data.pools import LAYOUTS
from transferability.data.readers import demo_distance, list_images, read
from transferability.data.several import first_of, without_rare
from transferability.files import MISSING_FEATURE, Refused, shown, sync_file, sync_folder
from transferability.interrupts import without_ctrl_c

# Raised whenever the same images would be packed as other bytes: blocks of an older version are not kept.
PACKING = 1
MAX_SIZE = 4096
FEW_IMAGES = 200  # not worth the start of worker processes
RESAMPLINGS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class Options:
    """How a data set is read and packed.

    size: S of the (N, S, S, 3) arrays; None takes 256 for ILSVRC 2012 and else the images' own common size.
    squash: each image is squeezed to S x S, whatever its shape (as for the paper's Caffe); False makes its shorter
        side S and cuts the middle out.
    skip_unreadable: unreadable images are left out instead of refused; the manifest lists them.
    workers: processes; None: one per core.
    groups: CSV file with the columns id, group and perhaps name, for classes that have no WordNet ids.
    layout: what the outer folders of nested folders are, 'classes' or 'domains' (`readers.list_images`).
    over: folder or zip of photographs; each image becomes its absolute difference from a patch of one (`patches.py`).
    resampling: the filter of Pillow with which images are resized: one of RESAMPLINGS.
    least: classes that fewer training images have (in a pool: images) are left out, with a note.
    """

    size: int | None = None
    squash: bool = True
    skip_unreadable: bool = False
    workers: int | None = None
    groups: Path | None = None
    layout: str | None = None
    over: Path | None = None
    resampling: str = "bicubic"
    least: int = 1


def pack(source: str, destination: Path, options: Options = Options()) -> PackedImages:
    """Packs `source` into the folder `destination` and opens it.

    source: what `readers.list_images` takes: a folder, a zip, a tar, a table, or the words demo or demo-domains.

    A destination that holds the same data set already is opened at once. Raises Refused where anything is wrong, and
    KeyboardInterrupt after a line that says how much is packed; neither leaves anything at the destination.
    """
    destination = Path(os.path.abspath(Path(destination).expanduser()))
    name = destination.name
    if destination.is_symlink():
        destination = destination.resolve()
    refuse_options(options)
    refuse_destination(destination)
    lists = list_images(source, options.layout)
    if options.over is not None:
        lists = laid_over(lists, options.over.expanduser())
    if options.least > 1:
        lists = without_rare(lists, options.least)
    check_classes(source, lists)
    for note in (*lists.notes, *domains_without_classes(lists)):
        say(note)
    classes = class_table(lists, options.groups)
    rule = rule_of(source, lists, options)
    identity = identity_of(lists, classes, rule)
    if destination.exists() and os.listdir(destination):
        return open_same(destination, identity)

    partial = destination.with_name(destination.name + ".partial")
    with lock(partial):
        check_room(partial, lists, len(classes), rule)
        try:
            images = write_images(partial, lists, classes, rule, options)
            write_small_files(partial, classes, images.arrays)
            if lists.arrangement.startswith("demo"):
                from transferability.data import demo

                demo.contact_sheet(partial / "contact-sheet.png", demo_distance(lists))
            about = {"source": lists.arrangement, "resize": rule.text, "skipped": images.skipped, "identity": identity}
            about |= optional_entries(domain_names(lists), lists.pool)
            counts = {subset: len(arrays["labels"]) for subset, arrays in images.arrays.items()}
            write_manifest(partial, name, rule.size, counts, images.digests, about)
            move_into_place(partial, destination)
        except OSError as error:
            raise Refused(
                f"{shown(partial)} cannot be written ({error.strerror or error}); what is packed is kept:"
                " run the same command again to go on"
            ) from None
        _remove_traces(destination)
    return open_packed(destination)


class Rule(NamedTuple):
    """How an image becomes S x S pixels. Its representation is part of the identity of packed sets: must not change."""

    size: int
    squash: bool
    exact: bool  # images of another size are refused instead of resized
    stamp: str  # the version of the demo's painters
    resampling: str = "bicubic"

    def __repr__(self) -> str:
        fields = self._asdict()
        if self.resampling == "bicubic":  # as before there was a choice
            del fields["resampling"]
        return f"Rule({', '.join(f'{name}={value!r}' for name, value in fields.items())})"

    @property
    def text(self) -> str:
        if self.exact:
            return "none: the pictures' own size"
        how = "squashed" if self.squash else "shorter side, then centre crop,"
        return f"{how} to {self.size}x{self.size} ({self.resampling}, antialiased)"


def resampling_of(text: str) -> str:
    """The filter that `Rule.text` names; bicubic where images kept their own size."""
    return next((name for name in RESAMPLINGS if f"({name}" in text), "bicubic")


def rule_of(source: str, lists: ImageLists, options: Options) -> Rule:
    """The rule for a data set: the size that was asked for, else that of ILSVRC 2012, else the images' own."""
    size = options.size or lists.default_size
    exact_size = size or common_size(source, lists, options.skip_unreadable)
    return Rule(exact_size, options.squash, not size, lists.stamp, options.resampling)


# ------------------------------------------------------------------------------------- before it starts


def refuse_options(options: Options) -> None:
    if options.size is not None and not 1 <= options.size <= MAX_SIZE:
        raise Refused(f"--size {options.size}: the size must be between 1 and {MAX_SIZE} pixels")
    if options.workers is not None and options.workers < 1:
        raise Refused(f"--workers {options.workers}: at least one is needed")
    if options.over is not None and not options.over.expanduser().exists():
        raise Refused(f"--over {shown(options.over)} does not exist: give a folder or a zip of photographs")
    if options.layout not in (None, *LAYOUTS):
        raise Refused(f"--layout {shown(options.layout)}: it must be {' or '.join(LAYOUTS)}")
    if options.resampling not in RESAMPLINGS:
        raise Refused(f"images cannot be resized by {options.resampling!r}, only by {', '.join(RESAMPLINGS)}")


def refuse_destination(destination: Path) -> None:
    """Refuses, before any work, a destination that could not be renamed onto."""
    if destination.exists() and not destination.is_dir():
        raise Refused(f"{shown(destination)} is a file: choose another destination")
    if destination.is_dir() and os.listdir(destination) and not (destination / "manifest.json").is_file():
        raise Refused(f"{shown(destination)} is not empty and no packed set: choose another")
    if os.path.ismount(destination) and not os.listdir(destination):
        raise Refused(f"{shown(destination)} is a mounted file system: choose a folder in it")


def open_same(destination: Path, identity: str) -> PackedImages:
    """Opens the packed set at `destination`. Raises Refused where it is not the one that was asked for."""
    if read_manifest(destination).get("identity") != identity:
        raise Refused(
            f"{shown(destination)} holds another data set, or its source or options have changed since:"
            " delete it or choose another destination"
        )
    packed = open_packed(destination)
    _remove_traces(destination)
    say(f"{shown(destination)} is packed already: nothing to do")
    return packed


def common_size(source: str, lists: ImageLists, skip_unreadable: bool) -> int:
    """The side of the first readable image. Whether all others agree is seen when they are decoded."""
    for class_id in sorted(lists.train):
        for image in lists.train[class_id]:
            try:
                width, height = load(image).size
            except Unreadable as error:
                if not skip_unreadable:
                    raise Refused(unreadable(image, str(error))) from None
                continue
            if width != height:
                raise Refused(f"{image.place} is {width}x{height} pixels, not square: give --size S")
            if width > MAX_SIZE:
                raise Refused(f"{image.place} is {width}x{height} pixels: give --size S, {MAX_SIZE} at most")
            return width
    raise Refused(f"{shown(source)}: not one training picture can be read")


def unreadable(image: ImageRef, reason: str) -> str:
    return (
        f"{image.place} cannot be read as a picture: it {shown(reason)}; replace it, or leave all such"
        " pictures out with --skip-unreadable"
    )


def identity_of(lists: ImageLists, classes: tuple[ImageClass, ...], rule: Rule) -> str:
    """One hex string for what is packed and how: tells whether the destination holds the same already."""
    digest = hashlib.sha256(repr((PACKING, rule, classes)).encode("utf-8", "surrogateescape"))

    def add(value: object) -> None:
        digest.update(repr(value).encode("utf-8", "surrogateescape"))

    for subset, by_class in lists.sets.items():
        for images in (by_class.get(c.id, []) for c in classes):
            add((subset, [image.key for image in images]))
            if lists.domains:
                add(("domains", [lists.domains[image] for image in images]))
            if lists.several:
                add(("several", [sorted(lists.several[image].items()) for image in images]))
    if lists.pool:
        add("pool")
    return digest.hexdigest()


def check_room(partial: Path, lists: ImageLists, classes: int, rule: Rule) -> None:
    """Says how much is going to be written. Raises Refused where it does not fit."""
    counts = {subset: sum(map(len, images.values())) for subset, images in lists.sets.items()}
    bytes_per_image = rule.size**2 * 3 + 8 + (8 if lists.domains else 0) + (classes if lists.several else 0)
    need = sum(counts.values()) * bytes_per_image + 2**20
    have = sum(_occupied(file) for file in partial.glob("*-images.npy"))
    usage = shutil.disk_usage(partial)
    earlier = f", {human_bytes(have)} of it from before" if have else ""
    parts = "" if lists.pool else f" training and {counts['val']:,} validation"
    say(
        f"{lists.arrangement}: {counts['train']:,}{parts} pictures of"
        f" {classes:,} classes, {rule.size}x{rule.size} pixels: {human_bytes(need)}{earlier}"
        f" ({human_bytes(usage.free)} free)"
    )
    if usage.total and need - have > usage.free:  # some network file systems give all sizes as 0
        raise Refused(
            f"no room: {shown(partial.parent)} has {human_bytes(usage.free)} free and {human_bytes(need - have)}"
            " are needed: make room, or choose another destination or a smaller --size"
        )


def _occupied(file: Path) -> int:
    """Bytes that an earlier run has written: they need no room again. A sparse file counts without its holes."""
    stat = file.stat()
    return min(stat.st_blocks * 512 or stat.st_size, stat.st_size)  # some file systems do not count blocks


@contextmanager
def lock(partial: Path) -> Iterator[None]:
    """Holds the unfinished folder for this process alone. The system releases it however the process ends."""
    try:
        if partial.is_dir() and os.listdir(partial) and not (partial / "journal.jsonl").exists():
            raise Refused(f"{shown(partial)} exists and is not of an unfinished packing: move it away")
        partial.mkdir(parents=True, exist_ok=True)
        (partial / "journal.jsonl").touch()
        handle = open(partial / "lock", "a")  # noqa: SIM115 (closed by the with below)
    except OSError as error:
        why = error.strerror or str(error)
        raise Refused(f"{shown(partial)} cannot be written ({why}): choose another destination") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"{shown(partial)} is being written by another process: let it finish") from None
        except OSError:
            pass  # a file system without locks
        if not (partial / "lock").exists():
            raise Refused(f"{shown(partial)} was finished by another process just now: run again")
        yield


def move_into_place(partial: Path, destination: Path) -> None:
    """Renames the finished folder. What is synced survives a power cut."""
    sync_folder(partial)
    if destination.exists():
        destination.rmdir()  # empty; not all file systems rename onto a folder
    os.rename(partial, destination)
    sync_folder(destination.parent)


def _remove_traces(folder: Path) -> None:
    """Removes the files that only an unfinished packing needs. Left behind by a kill, they do no harm."""
    for name in ("journal.jsonl", "lock"):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError:
            pass  # a folder that others own, or that has been made read-only


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------- the images


class Block(NamedTuple):
    """Work for one worker: some consecutive images and their place in the image file."""

    subset: str
    number: int
    file: str
    offset: int
    images: list[ImageRef]
    rule: Rule
    skip: bool
    expected: str  # SHA-256 of the bytes that an earlier run has written there, or ''
    key: str  # of images and rule


class PackedBlock(NamedTuple):
    """What a worker did with a block."""

    block: Block
    sha256: str  # '' if images are unreadable: then nothing was written
    unreadable: list[tuple[ImageRef, str]]


@dataclass
class Journal:
    """What has been done under DEST.partial, by this run and earlier ones. `journal.jsonl` there has it line by line.

    done: (key, SHA-256) of each block, by (set, number). unreadable: the reason, by (set, key of the image).
    """

    path: Path
    done: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    unreadable: dict[tuple[str, Any], str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, skip: bool) -> "Journal":
        """The journal of earlier runs. Lines that a kill cut short are left out. Without `skip`, unreadable images are
        tried again."""
        journal = cls(path)
        for line in path.read_text("utf-8", "replace").splitlines():
            try:
                entry = json.loads(line)
                if "reason" not in entry:
                    journal.done[entry["set"], entry["block"]] = (entry["key"], entry["sha256"])
                elif skip:
                    journal.unreadable[entry["set"], tuple(entry["picture"])] = entry["reason"]
            except (ValueError, KeyError, TypeError):
                continue
        return journal

    def note(self, outcome: PackedBlock, file: IO[str]) -> None:
        """Adds an outcome, here and to the open `file`. Raises Refused for an unreadable image that is not to be
        skipped."""
        block = outcome.block
        for image, reason in outcome.unreadable:
            if not block.skip:
                raise Refused(unreadable(image, reason))
            self.unreadable[block.subset, image.key] = reason
            file.write(json.dumps({"set": block.subset, "picture": image.key, "reason": reason}) + "\n")
            say(f"left out: {image.place} {shown(reason)}")
        result = (block.key, outcome.sha256)
        if not outcome.unreadable and self.done.get((block.subset, block.number)) != result:
            self.done[block.subset, block.number] = result
            entry = {"set": block.subset, "block": block.number, "key": block.key, "sha256": outcome.sha256}
            file.write(json.dumps(entry) + "\n")
        file.flush()


class Written(NamedTuple):
    """The image files of a packed set: block digests by file, arrays by set and kind, and the images left out."""

    digests: dict[str, list[str]]
    arrays: dict[str, dict[str, np.ndarray]]
    skipped: list[dict[str, str]]


def write_images(
    partial: Path, lists: ImageLists, classes: tuple[ImageClass, ...], rule: Rule, options: Options
) -> Written:
    """Writes both image files.

    Unreadable images leave no holes: once all are known, the blocks from the first of them on are laid out without
    them and done again.
    """
    skip = options.skip_unreadable
    journal = Journal.read(partial / "journal.jsonl", skip)
    while True:
        images, arrays, skipped = lay_out(lists, classes, journal)
        blocks = [block for subset in SETS for block in cut(partial, subset, images[subset], rule, skip, journal)]
        headers = {subset: npy_header((len(images[subset]), rule.size, rule.size, 3), "|u1") for subset in SETS}
        for subset, header in headers.items():
            allocate(partial / f"{subset}-images.npy", header, len(images[subset]) * rule.size**2 * 3)
        known = len(journal.unreadable)
        run_blocks(blocks, options.workers, journal)
        if len(journal.unreadable) == known:
            break
        say(f"{len(journal.unreadable) - known} unreadable pictures are left out; closing the gaps")

    digests = {}
    for subset, header in headers.items():
        path = partial / f"{subset}-images.npy"
        with open(path, "r+b") as handle:
            sync_file(handle.fileno(), path)
        digests[path.name] = [hashlib.sha256(header).hexdigest()] + [
            journal.done[subset, block.number][1] for block in blocks if block.subset == subset
        ]
    return Written(digests, arrays, skipped)


def allocate(path: Path, header: bytes, size: int) -> None:
    """Makes an image file of its final length, sparse where the file system can, with its header."""
    with open(path, "ab") as handle:
        try:
            handle.truncate(len(header) + size)
        except OSError as error:
            if error.errno not in MISSING_FEATURE:  # without it, the file grows with its blocks
                raise
    with open(path, "r+b") as handle:
        handle.write(header)


def lay_out(
    lists: ImageLists, classes: tuple[ImageClass, ...], journal: Journal
) -> tuple[dict[str, list[ImageRef]], dict[str, dict[str, np.ndarray]], list[dict[str, str]]]:
    """The readable images of each set in the order of the classes, their arrays, and the unreadable ones."""
    images: dict[str, list[ImageRef]] = {}
    arrays: dict[str, dict[str, np.ndarray]] = {}
    skipped = []
    for subset, by_class in lists.sets.items():
        images[subset], counts = [], []
        for c in classes:
            listed = by_class.get(c.id, [])
            kept = listed
            if journal.unreadable:
                kept = [image for image in listed if (subset, image.key) not in journal.unreadable]
                skipped += [
                    {"set": subset, "class": shown(c.id), "picture": shown(image.name), "reason": shown(reason)}
                    for image in listed
                    if (reason := journal.unreadable.get((subset, image.key))) is not None
                ]
            if len(kept) < len(listed) and not lists.several:
                refuse_too_few(c, subset, listed, kept, lists.pool)
            images[subset] += kept
            counts.append(len(kept))
        arrays[subset] = {"labels": np.repeat(np.arange(len(classes), dtype=np.int64), counts)}
        arrays[subset] |= optional_arrays(lists, classes, images[subset])
    if lists.several and (absent := np.flatnonzero(~(arrays["train"]["several"] == 1).any(axis=0)).tolist()):
        raise Refused(f"no picture of class {first_of([classes[index].id for index in absent])} in train can be read")
    return images, arrays, skipped


def cut(
    partial: Path, subset: str, images: list[ImageRef], rule: Rule, skip: bool, journal: Journal
) -> Iterator[Block]:
    """The blocks of one image file."""
    rows, image_bytes = block_rows(rule.size), rule.size**2 * 3
    header = len(npy_header((len(images), rule.size, rule.size, 3), "|u1"))
    file = str(partial / f"{subset}-images.npy")
    for number, start in enumerate(range(0, len(images), rows)):
        part = images[start : start + rows]
        text = repr((PACKING, PIL.__version__, rule, [image.key for image in part]))
        key = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        old_key, old_sha256 = journal.done.get((subset, number), ("", ""))
        expected = old_sha256 if old_key == key else ""
        yield Block(subset, number, file, header + start * image_bytes, part, rule, skip, expected, key)


def run_blocks(blocks: Sequence[Block], workers: int | None, journal: Journal) -> None:
    """Does the blocks, on as many processes as asked for, and writes each outcome to the journal."""
    total, packed = sum(len(block.images) for block in blocks), 0
    with open(journal.path, "a", encoding="utf-8") as file, progress(total) as advance:
        file.write("\n")  # ends a line that a kill cut short

        def note(outcome: PackedBlock) -> None:
            nonlocal packed
            journal.note(outcome, file)
            packed += len(outcome.block.images)
            advance(len(outcome.block.images))

        try:
            workers = min(workers or available_cores(), len(blocks))
            if workers <= 1 or total <= FEW_IMAGES:
                for block in blocks:
                    note(pack_block(block))
            else:
                run_parallel(blocks, workers, note)
        except KeyboardInterrupt:
            say(f"interrupted with {packed:,} of {total:,} pictures packed: run the same command again to go on")
            raise


def run_parallel(blocks: Sequence[Block], workers: int, note: Callable[[PackedBlock], None]) -> None:
    """Does the blocks in `workers` new processes, with only a few blocks submitted at any time."""
    # Spawned: a fork would copy locks that threads of this process (the progress bar's) may hold.
    resource_tracker.ensure_running()
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    pending: set[Future[PackedBlock]] = set()
    with _delayed_ctrl_c() as check:
        try:
            for block in blocks:
                with without_ctrl_c():
                    pending.add(pool.submit(pack_block, block))
                if len(pending) >= 3 * workers:
                    pending = _note_ready(pending, note)
                check()
            while pending:
                pending = _note_ready(pending, note)
                check()
        except BrokenProcessPool:
            raise Refused(
                "a packing process was killed (out of memory?): run the same command again to go on, perhaps with"
                " fewer --workers"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _note_ready(pending: set[Future[PackedBlock]], note: Callable[[PackedBlock], None]) -> set[Future[PackedBlock]]:
    """Waits for a block and notes those that are ready. Returns the others."""
    ready, running = wait(pending, return_when=FIRST_COMPLETED)
    for future in ready:
        note(future.result())
    return running


@contextmanager
def _delayed_ctrl_c() -> Iterator[Callable[[], None]]:
    """Inside, Ctrl-C takes effect when the function that is yielded is called: it raises KeyboardInterrupt.

    An exception at any other point could leave a lock of the pool held, and its shutdown would wait for ever.
    """
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        pressed = True

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield check  # a caller's own handling of Ctrl-C stays
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    check()  # pressed after the last one, while the pool shut down


def _start_worker() -> None:
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    # Otherwise a worker whose parent was killed would wait for work for ever.
    threading.Thread(target=end_with_parent, daemon=True).start()


def pack_block(block: Block) -> PackedBlock:
    """Decodes the images of a block and writes them, unless an earlier run did. Runs in a worker."""
    rule = block.rule
    if block.expected:
        with open(block.file, "rb") as handle:
            handle.seek(block.offset)
            written = handle.read(len(block.images) * rule.size**2 * 3)
        if hashlib.sha256(written).hexdigest() == block.expected:
            return PackedBlock(block, block.expected, [])
    pixels = np.empty((len(block.images), rule.size, rule.size, 3), np.uint8)
    unreadable_images = []
    for i, image in enumerate(block.images):
        try:
            pixels[i] = np.asarray(fit(load(image), rule, image))
            if image.over is not None:
                pixels[i] = over_patch(pixels[i], image)
        except Unreadable as error:
            unreadable_images.append((image, str(error)))
            if not block.skip:
                break
    if unreadable_images:
        return PackedBlock(block, "", unreadable_images)
    unwritten = pixels.data.cast("B")
    sha256 = hashlib.sha256(unwritten).hexdigest()
    # Written, not mapped: with a map, a full disk is a signal that kills instead of an error.
    with open(block.file, "r+b", buffering=0) as handle:
        handle.seek(block.offset)
        while unwritten:
            unwritten = unwritten[handle.write(unwritten) :]
    return PackedBlock(block, sha256, [])


# -------------------------------------------------------------------------------------------- one image


def load(image: ImageRef) -> Image.Image:
    """One image, of mode RGB. Raises Unreadable with the reason."""
    if image.storage == "demo":
        from transferability.data import demo

        index, _, distance = image.container.partition(" ")
        return Image.fromarray(demo.paint(int(index), image.offset, distance=float(distance or 0)))
    try:
        content = read(image)
    except (Unreadable, Refused, MemoryError):
        raise
    except Exception as error:  # damaged archives raise many types
        if is_mistake(error):
            raise
        raise Unreadable(f"cannot be opened ({reason_of(error)})") from None
    return Image.fromarray(content) if isinstance(content, np.ndarray) else decode(content)


def fit(image: Image.Image, rule: Rule, ref: ImageRef) -> Image.Image:
    """An RGB image of any size to S x S by the rule. Images that are S x S already keep their pixels."""
    width, height = image.size
    if rule.exact and (width, height) != (rule.size, rule.size):
        raise Refused(
            f"the pictures differ in size ({ref.place} is {width}x{height}, the first one"
            f" {rule.size}x{rule.size}): give --size S"
        )
    return resized(image, rule.size, rule.squash, rule.resampling)


def resized(image: Image.Image, side: int, squash: bool, resampling: str = "bicubic") -> Image.Image:
    """An image as a square of `side` pixels; one that is such a square already is returned itself.

    squash: whatever its shape; else its shorter side is resized and the centre cut out. The support of the filter
    grows with the reduction (Pillow's antialiasing).

    # Paper: Caffe's scripts squashed to 256x256 with ImageMagick or OpenCV, whose filters differ a little.
    """
    size, (width, height) = (side, side), image.size
    if (width, height) == size:
        return image
    short = min(height, width)
    left, top = (0.0, 0.0) if squash else ((width - short) / 2, (height - short) / 2)
    return image.resize(size, Image.Resampling[resampling.upper()], box=(left, top, width - left, height - top))


# --------------------------------------------------------------------------------------------- progress


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar with pictures/s and time left on a terminal, else a line every half minute. Yields `advance`."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("packing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} images/s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=total, rate="-")

            def advance(count: int) -> None:
                bar.update(task, advance=count)
                if speed := bar.tasks[0].speed:
                    bar.update(task, rate=f"{speed:,.0f}")

            yield advance
        return

    start = last = time.monotonic()
    packed = 0

    def tell(count: int) -> None:
        nonlocal packed, last
        packed += count
        now = time.monotonic()
        if now - last >= 30:
            last = now
            rate = packed / (now - start)
            say(
                f"packing: {packed:,} of {total:,} pictures, {rate:,.0f} images/s,"
                f" {(total - packed) / rate / 60:.1f} minutes left"
            )

    yield tell

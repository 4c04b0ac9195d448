"""Packing: from the pictures of a source to a packed set (`images.py`), on all cores, whole or not at all.

Pictures are laid out in blocks of about 4 MiB. A worker decodes one block, writes it at its place in the
image file under DEST.partial and returns its SHA-256, which goes into a journal. A run that is started again,
after any kill, reads the journal, checks the blocks on the disk and does the rest; a block whose pictures
have changed is done again. At the end everything is synced and DEST.partial is renamed to DEST. The bytes
depend neither on the number of workers nor on interruptions.
"""

import csv
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
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
from PIL import Image

from transferability import available_cores
from transferability.data.decode import Unreadable, decode, reason_of
from transferability.data.packed import (
    GROUPS,
    SETS,
    ImageClass,
    PackedImages,
    block_rows,
    human_bytes,
    npy_header,
    open_packed,
    read_manifest,
    write_manifest,
    write_small_files,
)
from transferability.data.readers import Picture, Source, open_source, read, shown
from transferability.files import Refused
from transferability.splits import known_groups

# Raised whenever the same pictures would be packed as other bytes: blocks of an older version are not kept.
PACKING = 1
MAX_SIZE = 4096
FEW_PICTURES = 200  # not worth the start of worker processes


def pack(
    source: str,
    destination: Path,
    size: int | None,
    skip_unreadable: bool = False,
    squash: bool = True,
    workers: int | None = None,
    groups: Path | None = None,
) -> PackedImages:
    """Packs `source` into the folder `destination` and opens it.

    source: what `sources.open_source` takes: a folder, a zip, or the word demo.
    size: S of the (N, S, S, 3) arrays; None takes 256 for ILSVRC 2012 and else the pictures' own common size.
    squash: each picture is squeezed to S x S, whatever its shape (as the paper's Caffe made ILSVRC); False
        makes its shorter side S and cuts the middle out.
    groups: CSV file with the columns id, group and perhaps name, for classes that have no WordNet ids.

    Done already: says so and returns at once. Raises Refused where anything is wrong, and KeyboardInterrupt
    after a line that says how far it came; neither leaves anything at the destination.
    """
    destination = Path(os.path.abspath(Path(destination).expanduser()))
    if size is not None and not 1 <= size <= MAX_SIZE:
        raise Refused(f"--size {size}: the size must be between 1 and {MAX_SIZE} pixels")
    if workers is not None and workers < 1:
        raise Refused(f"--workers {workers}: at least one is needed")
    refuse_destination(destination)
    found = open_source(source)
    check_classes(source, found)
    classes = class_table(found, groups)
    rule = Rule(
        size or found.default_size or common_size(source, found, skip_unreadable),
        squash,
        exact=not (size or found.default_size),
        stamp=found.stamp,
    )
    identity = identity_of(found, classes, rule)
    if destination.exists() and os.listdir(destination):
        if read_manifest(destination).get("identity") != identity:
            raise Refused(
                f"{shown(destination)} holds another data set, or its source or options have changed since:"
                " delete it or choose another destination"
            )
        packed = open_packed(destination)
        _remove_traces(destination)
        say(f"{shown(destination)} is packed already: nothing to do")
        return packed

    partial = destination.with_name(destination.name + ".partial")
    with lock(partial):
        check_room(partial, found, len(classes), rule)
        try:
            digests, labels, skipped = write_images(partial, found, classes, rule, skip_unreadable, workers)
            write_small_files(partial, classes, labels)
            if found.kind == "demo":
                from transferability.data import demo

                demo.contact_sheet(partial / "contact-sheet.png")
            about = {"source": found.kind, "resize": rule.text, "skipped": skipped, "identity": identity}
            write_manifest(partial, destination.name, rule.size, {w: len(labels[w]) for w in SETS}, digests, about)
            _sync_folder(partial)
            os.rename(partial, destination)
            _sync_folder(destination.parent)
        except OSError as error:
            raise Refused(
                f"{shown(partial)} cannot be written ({error.strerror or error}); what is packed is kept:"
                " run the same command again to go on"
            ) from None
        _remove_traces(destination)
    return open_packed(destination)


class Rule(NamedTuple):
    """How a picture becomes S x S pixels."""

    size: int
    squash: bool
    exact: bool  # pictures of another size are refused instead of resized
    stamp: str  # of the source

    @property
    def text(self) -> str:
        if self.exact:
            return "none: the pictures' own size"
        how = "squashed" if self.squash else "shorter side, then centre crop,"
        return f"{how} to {self.size}x{self.size} (bicubic, antialiased)"


# ------------------------------------------------------------------------------------- before it starts


def refuse_destination(destination: Path) -> None:
    """Refuses, before any work, a destination that could not be renamed onto."""
    if destination.exists() and not destination.is_dir():
        raise Refused(f"{shown(destination)} is a file: choose another destination")
    if destination.is_dir() and os.listdir(destination) and not (destination / "manifest.json").is_file():
        raise Refused(f"{shown(destination)} is not empty and no packed set: choose another")


def check_classes(source: str, found: Source) -> None:
    """Every class must have training and validation pictures."""
    place = shown(source)
    if not found.train:
        raise Refused(f"{place} has no classes: train/ is empty")
    for which, pictures in (("training", found.train), ("validation", found.val)):
        if empty := sorted(c for c, p in pictures.items() if not p):
            raise Refused(f"{place}: class {_some(empty)} has no {which} pictures: add some or delete the folder")
    if foreign := sorted(set(found.val) - set(found.train)):
        raise Refused(f"{place}: class {_some(foreign)} has validation but no training pictures")
    if lacking := sorted(set(found.train) - set(found.val)):
        raise Refused(f"{place}: class {_some(lacking)} has training but no validation pictures")


def _some(names: list[str]) -> str:
    return shown(names[0]) + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")


def class_table(found: Source, groups: Path | None) -> tuple[ImageClass, ...]:
    """Classes in ascending order of their ids, with names and groups.

    A group comes from the id where that tells it (ILSVRC, WordNet ids), else from the user's CSV file, else
    from the source.
    """
    ids = sorted(found.train)
    known = known_groups(ids)
    given, given_names = read_groups(groups, ids) if groups else ({}, {})
    for class_id, group in zip(ids, known, strict=True):
        if group and given.get(class_id, group) != group:
            raise Refused(
                f"--groups {shown(groups)}: class {shown(class_id)} is {group} by WordNet, not"
                f" {given[class_id]}: leave its group empty or correct it"
            )
    return tuple(
        ImageClass(
            index,
            class_id,
            given_names.get(class_id) or found.names.get(class_id) or class_id,
            group or given.get(class_id) or found.groups.get(class_id, ""),
        )
        for index, (class_id, group) in enumerate(zip(ids, known, strict=True))
    )


def read_groups(path: Path, ids: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The columns group (where not empty) and name of the user's CSV file, by class id."""
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as handle:
            rows = list(csv.DictReader(handle))
    except (OSError, csv.Error) as error:
        raise Refused(f"--groups {shown(path)} cannot be read: {error}") from None
    if not rows or not {"id", "group"} <= set(rows[0]):
        raise Refused(f"--groups {shown(path)} needs the columns id and group, perhaps name, and a row per class")
    listed = [row["id"] for row in rows]
    if twice := [class_id for class_id, count in Counter(listed).items() if count > 1]:
        raise Refused(f"--groups {shown(path)}: class {_some(twice)} stands there twice")
    if foreign := sorted(set(listed) - set(ids)):
        raise Refused(f"--groups {shown(path)}: class {_some(foreign)} is not in the data set")
    if missing := sorted(set(ids) - set(listed)):
        raise Refused(f"--groups {shown(path)}: class {_some(missing)} is missing")
    for row in rows:
        if row["group"] not in GROUPS:
            raise Refused(
                f"--groups {shown(path)}: the group of {shown(row['id'])} is {row['group']!r}: it must be"
                " man-made, natural or empty"
            )
    names = {row["id"]: row.get("name") or "" for row in rows}
    return {row["id"]: row["group"] for row in rows if row["group"]}, names


def common_size(source: str, found: Source, skip_unreadable: bool) -> int:
    """The side of the first readable picture; whether all others agree is seen when they are decoded."""
    for class_id in sorted(found.train):
        for picture in found.train[class_id]:
            try:
                width, height = load(picture).size
            except Unreadable as error:
                if not skip_unreadable:
                    raise Refused(unreadable(picture, str(error))) from None
                continue
            if width != height:
                raise Refused(f"{picture.where} is {width}x{height} pixels, not square: give --size S")
            if width > MAX_SIZE:
                raise Refused(f"{picture.where} is {width}x{height} pixels: give --size S, {MAX_SIZE} at most")
            return width
    raise Refused(f"{shown(source)}: not one training picture can be read")


def unreadable(picture: Picture, reason: str) -> str:
    return (
        f"{picture.where} cannot be read as a picture: it {shown(reason)}; replace it, or leave all such"
        " pictures out with --skip-unreadable"
    )


def identity_of(found: Source, classes: tuple[ImageClass, ...], rule: Rule) -> str:
    """One hex string for what is packed and how: tells whether the destination holds the same already."""
    digest = hashlib.sha256(repr((PACKING, rule, classes)).encode("utf-8", "surrogateescape"))
    for which, pictures in (("train", found.train), ("val", found.val)):
        for c in classes:
            digest.update(repr((which, [p.key for p in pictures[c.id]])).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def check_room(partial: Path, found: Source, classes: int, rule: Rule) -> None:
    """Says how much is going to be written, and refuses where it does not fit."""
    counts = {which: sum(map(len, p.values())) for which, p in (("train", found.train), ("val", found.val))}
    need = sum(counts.values()) * (rule.size**2 * 3 + 8) + 2**20
    # What an interrupted run has written needs no room again. A file with holes counts only what it fills.
    have = sum(min((s := p.stat()).st_blocks * 512, s.st_size) for p in partial.glob("*-images.npy"))
    free = shutil.disk_usage(partial).free
    before = f", {human_bytes(have)} of it from before" if have else ""
    say(
        f"{found.kind}: {counts['train']:,} training and {counts['val']:,} validation pictures of"
        f" {classes:,} classes, {rule.size}x{rule.size} pixels: {human_bytes(need)}{before}"
        f" ({human_bytes(free)} free)"
    )
    if need - have > free:
        raise Refused(
            f"no room: {shown(partial.parent)} has {human_bytes(free)} free and {human_bytes(need - have)}"
            " are needed: make room, or choose another destination or a smaller --size"
        )


@contextmanager
def lock(partial: Path) -> Iterator[None]:
    """The unfinished folder for this process alone. The system releases the lock however the process ends."""
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


def _remove_traces(folder: Path) -> None:
    """Removes what only an unfinished packing needs. Left over by a kill, it does no harm."""
    for name in ("journal.jsonl", "lock"):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError:
            pass  # a folder that others own, or that has been made read-only


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------- the images


class Block(NamedTuple):
    """Work for one worker: some consecutive pictures and their place in the image file."""

    which: str
    number: int
    file: str
    offset: int
    pictures: list[Picture]
    rule: Rule
    skip: bool
    expected: str  # SHA-256 of what an earlier run has written there, or ''
    key: str  # of what is packed here: pictures and rule


class Outcome(NamedTuple):
    which: str
    number: int
    images: int
    key: str
    sha256: str  # '' if pictures are unreadable: then nothing was written
    unreadable: list[tuple[Picture, str]]


Skipped = dict[tuple[str, Any], str]  # (set, key of the picture): reason


def write_images(
    partial: Path, found: Source, classes: tuple[ImageClass, ...], rule: Rule, skip: bool, workers: int | None
) -> tuple[dict[str, list[str]], dict[str, np.ndarray], list[dict[str, str]]]:
    """Writes both image files. Returns the block digests by file, the labels by set, the skipped pictures.

    Unreadable pictures leave no holes: once all are known, the blocks from the first of them on are laid out
    without them and done again.
    """
    done, bad = read_journal(partial, skip)
    while True:
        lists, labels, skipped = lay_out(found, classes, bad)
        blocks = [block for which in SETS for block in cut(partial, which, lists[which], rule, skip, done)]
        for which in SETS:
            header = npy_header((len(lists[which]), rule.size, rule.size, 3), "|u1")
            with open(partial / f"{which}-images.npy", "ab") as handle:
                handle.truncate(len(header) + len(lists[which]) * rule.size**2 * 3)
            with open(partial / f"{which}-images.npy", "r+b") as handle:
                handle.write(header)
        known = len(bad)
        run_blocks(partial, blocks, workers, done, bad)
        if len(bad) == known:
            break
        say(f"{len(bad) - known} unreadable pictures are left out; closing the gaps")

    digests = {}
    for which in SETS:
        path = partial / f"{which}-images.npy"
        with open(path, "rb") as handle:
            header = handle.read(len(npy_header((len(lists[which]), rule.size, rule.size, 3), "|u1")))
            os.fsync(handle.fileno())
        digests[path.name] = [hashlib.sha256(header).hexdigest()] + [
            done[b.which, b.number][1] for b in blocks if b.which == which
        ]
    return digests, labels, skipped


def lay_out(
    found: Source, classes: tuple[ImageClass, ...], bad: Skipped
) -> tuple[dict[str, list[Picture]], dict[str, np.ndarray], list[dict[str, str]]]:
    """The readable pictures of each set in the order of the classes, their labels, and the others."""
    lists: dict[str, list[Picture]] = {}
    labels, skipped = {}, []
    for which, pictures in (("train", found.train), ("val", found.val)):
        lists[which], counts = [], []
        for c in classes:
            kept = pictures[c.id]
            if bad:
                kept = [p for p in kept if (which, p.key) not in bad]
                skipped += [
                    {
                        "set": which,
                        "class": shown(c.id),
                        "picture": shown(p.name),
                        "reason": shown(bad[which, p.key]),
                    }
                    for p in pictures[c.id]
                    if (which, p.key) in bad
                ]
            if not kept:
                raise Refused(
                    f"{pictures[c.id][0].where}: neither this nor any other picture of class {shown(c.id)} in"
                    f" {which} can be read"
                )
            lists[which] += kept
            counts.append(len(kept))
        labels[which] = np.repeat(np.arange(len(classes), dtype=np.int64), counts)
    return lists, labels, skipped


def cut(
    partial: Path,
    which: str,
    pictures: list[Picture],
    rule: Rule,
    skip: bool,
    done: dict[tuple[str, int], tuple[str, str]],
) -> Iterator[Block]:
    """The blocks of one image file."""
    rows, image = block_rows(rule.size), rule.size**2 * 3
    header = len(npy_header((len(pictures), rule.size, rule.size, 3), "|u1"))
    file = str(partial / f"{which}-images.npy")
    for number, start in enumerate(range(0, len(pictures), rows)):
        part = pictures[start : start + rows]
        text = repr((PACKING, PIL.__version__, rule, [p.key for p in part]))
        key = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        old_key, old_sha256 = done.get((which, number), ("", ""))
        yield Block(
            which,
            number,
            file,
            header + start * image,
            part,
            rule,
            skip,
            old_sha256 if old_key == key else "",
            key,
        )


def read_journal(partial: Path, skip: bool) -> tuple[dict[tuple[str, int], tuple[str, str]], Skipped]:
    """What earlier runs did: (key, SHA-256) by block, and the pictures that they could not read.

    Lines that a kill cut short are left out. Without `skip`, unreadable pictures are tried again.
    """
    done: dict[tuple[str, int], tuple[str, str]] = {}
    bad: Skipped = {}
    for line in (partial / "journal.jsonl").read_text("utf-8", "replace").splitlines():
        try:
            entry = json.loads(line)
            if "reason" in entry:
                bad[entry["set"], tuple(entry["picture"])] = entry["reason"]
            else:
                done[entry["set"], entry["block"]] = (entry["key"], entry["sha256"])
        except (ValueError, KeyError, TypeError):
            continue
    return done, bad if skip else {}


def run_blocks(
    partial: Path,
    blocks: list[Block],
    workers: int | None,
    done: dict[tuple[str, int], tuple[str, str]],
    bad: Skipped,
) -> None:
    """Does the blocks, on as many processes as asked for, and writes each outcome to the journal."""
    total = sum(len(block.pictures) for block in blocks)
    packed = 0
    with open(partial / "journal.jsonl", "a", encoding="utf-8") as journal, progress(total) as advance:
        journal.write("\n")  # ends a line that a kill cut short

        def note(outcome: Outcome) -> None:
            nonlocal packed
            for picture, reason in outcome.unreadable:
                if not blocks[0].skip:
                    raise Refused(unreadable(picture, reason))
                bad[outcome.which, picture.key] = reason
                journal.write(json.dumps({"set": outcome.which, "picture": picture.key, "reason": reason}) + "\n")
                say(f"left out: {picture.where} {shown(reason)}")
            if not outcome.unreadable and done.get((outcome.which, outcome.number)) != (
                outcome.key,
                outcome.sha256,
            ):
                done[outcome.which, outcome.number] = (outcome.key, outcome.sha256)
                journal.write(
                    json.dumps(
                        {
                            "set": outcome.which,
                            "block": outcome.number,
                            "key": outcome.key,
                            "sha256": outcome.sha256,
                        }
                    )
                    + "\n"
                )
            journal.flush()
            packed += outcome.images
            advance(outcome.images)

        try:
            workers = min(workers or available_cores(), len(blocks))
            if workers <= 1 or total <= FEW_PICTURES:
                for block in blocks:
                    note(pack_block(block))
            else:
                run_parallel(blocks, workers, note)
        except KeyboardInterrupt:
            say(f"interrupted with {packed:,} of {total:,} pictures packed: run the same command again to go on")
            raise


def run_parallel(blocks: list[Block], workers: int, note: Callable[[Outcome], None]) -> None:
    """Does the blocks in `workers` fresh processes; only a few blocks are under way at any time."""
    # Spawned, because a fork copies locks that threads of this process (the progress bar's) may hold.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        pending: set[Future[Outcome]] = set()
        for block in blocks:
            with _without_ctrl_c():
                pending.add(pool.submit(pack_block, block))
            if len(pending) >= 3 * workers:
                ready, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in ready:
                    note(future.result())
        while pending:
            ready, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in ready:
                note(future.result())
    except BrokenProcessPool:
        raise Refused(
            "a packing process was killed (out of memory?): run the same command again to go on, perhaps with"
            " fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Ctrl-C waits; for a process that is started here, for ever, from before its first instruction.

    It reaches every process of a terminal; the parent alone says so.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    # A worker whose parent was killed would wait for work for ever.
    threading.Thread(target=end_with_parent, daemon=True).start()


def pack_block(block: Block) -> Outcome:
    """Decodes the pictures of a block and writes them, unless an earlier run did. Runs in a worker."""
    rule = block.rule
    if block.expected:
        with open(block.file, "rb") as handle:
            handle.seek(block.offset)
            there = handle.read(len(block.pictures) * rule.size**2 * 3)
        if hashlib.sha256(there).hexdigest() == block.expected:
            return Outcome(block.which, block.number, len(block.pictures), block.key, block.expected, [])
    pixels = np.empty((len(block.pictures), rule.size, rule.size, 3), np.uint8)
    bad = []
    for i, picture in enumerate(block.pictures):
        try:
            pixels[i] = np.asarray(fit(load(picture), rule, picture))
        except Unreadable as error:
            bad.append((picture, str(error)))
            if not block.skip:
                break
    if bad:
        return Outcome(block.which, block.number, len(block.pictures), block.key, "", bad)
    rest = pixels.data.cast("B")
    sha256 = hashlib.sha256(rest).hexdigest()
    # Written, not mapped: a full disk is an error that can be caught, not a signal that kills.
    with open(block.file, "r+b", buffering=0) as handle:
        handle.seek(block.offset)
        while rest:
            rest = rest[handle.write(rest) :]
    return Outcome(block.which, block.number, len(block.pictures), block.key, sha256, [])


# ------------------------------------------------------------------------------------------ one picture


def load(picture: Picture) -> Image.Image:
    """One picture as an image of mode RGB. Raises Unreadable with the reason."""
    if picture.kind == "demo":
        from transferability.data import demo

        return Image.fromarray(demo.draw_many(int(picture.container), [picture.offset])[0])
    try:
        content = read(picture)
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # damaged archives raise many kinds
        raise Unreadable(f"cannot be opened ({reason_of(error)})") from None
    return Image.fromarray(content) if isinstance(content, np.ndarray) else decode(content)


def fit(image: Image.Image, rule: Rule, picture: Picture) -> Image.Image:
    """An RGB image of any size to S x S by the rule: bicubic, with a support that grows with the reduction
    (PIL's antialiasing). Pictures that are S x S already keep their pixels.

    # Paper: Caffe's scripts squashed to 256x256 with ImageMagick or OpenCV, whose filters differ a little.
    """
    size, (width, height) = (rule.size, rule.size), image.size
    if (width, height) == size:
        return image
    if rule.exact:
        raise Refused(
            f"the pictures differ in size ({picture.where} is {width}x{height}, the first one"
            f" {rule.size}x{rule.size}): give --size S"
        )
    short = min(height, width)
    left, top = (0.0, 0.0) if rule.squash else ((width - short) / 2, (height - short) / 2)
    return image.resize(size, Image.Resampling.BICUBIC, box=(left, top, width - left, height - top))


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

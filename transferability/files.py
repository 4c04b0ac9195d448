"""Files that are written whole or not at all, tables that people write, and errors whose messages are for people."""

import codecs
import csv
import errno
import importlib
import io
import os
import re
import secrets
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

import orjson


class Refused(Exception):
    """What was asked for cannot be done. The message is one line: what is wrong, where, what to do.

    The command line prints it and exits with code 2.
    """


class Missing(Refused):
    """A file that does not exist."""


# What training needs beyond the package's own requirements: its extra `train`.
TRAINING_MODULES = ("torch", "torchvision", "torchmetrics", "lightning", "lightning_utilities", "pytorch_lightning")
# What a call fails with where the file system lacks a feature: CIFS, VirtualBox's shares, FUSE, …
MISSING_FEATURE = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV)
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # the first bytes of Excel's own files, and of LibreOffice's
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ": "lzma"}  # first bytes → module, if Python has it
_SEPARATOR_HINT = re.compile(r'\s*"?sep=(.)"?\n', re.IGNORECASE)  # Excel's, in a line before the table


# -------------------------------------------------------------------------------------------------- writing


@contextmanager
def write_atomically(path: Path | str, mode: str = "wb") -> Iterator[IO[Any]]:
    """A file handle whose content appears under `path` whole, or not at all.

    The content is written to a temporary file in the same folder (not in the temporary directory, which is another
    file system on clusters), synced and renamed; the folder is synced too. An exception leaves nothing behind. A kill
    may leave a hidden `.name.….tmp`, which no reader looks at (`remove_unfinished`). Raises OSError, with the file's
    name, where it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the number of the process: on two nodes, or in two containers, that may be the same.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as handle:
            yield handle
            handle.flush()
            sync_file(handle.fileno(), path)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        # PyTorch wraps the error of a full disk in a RuntimeError of its own: the system's error is its context.
        cause = error if isinstance(error, OSError) else error.__context__ if isinstance(error, RuntimeError) else None
        if isinstance(cause, OSError) and cause.filename in (None, str(temporary)):
            raise OSError(cause.errno, cause.strerror, str(path)) from None
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in `folder` durable, where its file system can. Raises OSError, with the folder's name."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # a folder that may be written to but not listed
    try:
        sync_file(handle, folder)
    finally:
        os.close(handle)


def sync_file(handle: int, path: Path) -> None:
    """Makes a file or folder durable, where its file system can. Raises OSError, with its name."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in MISSING_FEATURE:
            raise OSError(error.errno, error.strerror, str(path)) from None


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left half-written in `folder`. Call only while no other process writes there."""
    for temporary in folder.glob(".*.tmp"):
        with suppress(OSError):
            temporary.unlink()


def shown(path: object) -> str:
    """A path in one printable line: newlines and bytes that are not UTF-8 are escaped."""
    text = str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def in_words(error: BaseException) -> str:
    """An exception as one line for people: a Refused's message, the system's about a file, or type and message."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        advice = {
            errno.ENOSPC: "make room and run the same command again",
            errno.EDQUOT: "make room and run the same command again",
            errno.EROFS: "set TRANSFERABILITY_RUNS (or TRANSFERABILITY_DATA) to a folder that can be written to",
            errno.EACCES: "change its permissions, or set TRANSFERABILITY_RUNS to a folder of your own",
            errno.EPERM: "change its permissions, or set TRANSFERABILITY_RUNS to a folder of your own",
        }.get(error.errno or 0, "")
        subject = "the operating system says" if error.filename is None else error.filename
        return f"{subject}: {error.strerror}" + (f"; {advice}" if advice else "")
    if isinstance(error, ImportError) and lacks_training(error):
        todo = "in a clone of the project, pip install '.[train]'"
        if isinstance(error, ModuleNotFoundError):
            return f"this command needs {error.name}, which is not installed; install the extra: {todo}"
        return f"this command needs {error.name}, which cannot be imported ({error.msg}); install it anew: {todo}"
    return " ".join(f"{type(error).__name__}: {error}".split())


def lacks_training(error: ImportError) -> bool:
    """Whether what cannot be imported comes with the extra `train`."""
    return (error.name or "").partition(".")[0] in TRAINING_MODULES


# ----------------------------------------------------------------------------------------- JSON and tables


def write_json(path: Path | str, value: Any) -> None:
    """Writes `value` as indented JSON, atomically. NaN and infinities, which JSON lacks, become null."""
    with write_atomically(path) as handle:
        handle.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def read_json(path: Path | str) -> Any:
    """The value in a JSON file. Raises Missing if there is none; Refused, naming the file, if it is not JSON."""
    try:
        with open(path, "rb") as handle:
            return orjson.loads(handle.read())
    except FileNotFoundError:
        raise Missing(f"{path} does not exist") from None
    except orjson.JSONDecodeError as error:
        raise Refused(f"{path} is not readable as JSON ({error}); move it away and run again") from None


@contextmanager
def refusing_damage(file: Path, todo: str) -> Iterator[None]:
    """Around code that takes apart what `read_json` has read from `file`: what has another shape is Refused by name.

    todo: what to do then, for the message.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        defect = f"lacks {error}" if isinstance(error, KeyError) else f"is damaged ({error})"
        raise Refused(f"{shown(file)} {defect}; {todo}") from None


def read_table(path: Path | str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file that a person or a spreadsheet wrote, as {column: cell} (`parse_table`)."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise Refused(f"{shown(path)} cannot be read: {error.strerror}") from None
    return parse_table(data, shown(path), columns)


def parse_table(data: bytes, place: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file that a person or a spreadsheet wrote, as {column: cell}. `place` names it in errors.

    Cells are separated by commas, semicolons or tabs, lines by any system's line ends; the text is UTF-8 or UTF-16,
    with or without a byte order mark. Bytes that are not UTF-8 become surrogates, as in file names; `as_windows_text`
    reads them. Spaces around cells, empty rows, columns without a name and the case of the columns' names do not count.

    Raises Refused where it is no such table, where one of `columns` is missing, where two columns have one name, and
    where a row has more cells than there are columns.
    """
    text = table_text(data, place, "CSV file").replace("\r\n", "\n").replace("\r", "\n")
    hint = _SEPARATOR_HINT.match(text)
    text = text[hint.end() :] if hint else text
    for separator in hint[1] if hint else ",;\t":
        try:
            lines = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
            cells = [[cell.strip() for cell in line] for line in lines]
        except csv.Error as error:
            raise Refused(f"{place} cannot be read as a table: {error}") from None
        rows = [row for row in cells if any(row)]
        names = [name.lower() for name in rows[0]] if rows else []
        if set(columns) <= set(names):
            break
    else:
        raise Refused(f"{place} needs the columns {' and '.join(columns)}, named in its first row")
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise Refused(f"{place} has two columns of the name {shown(twice[0])!r}; give each a name of its own")
    for row in rows[1:]:
        if any(row[len(names) :]):
            raise Refused(f"{place}: the row {shown(row[0])!r} has more cells than the first row: quote its commas")
    return [dict(zip_longest(names, row, fillvalue="")) for row in rows[1:]]


def table_text(data: bytes, place: str, what: str) -> str:
    """The text of a table's file, which may be compressed as pandas does by a name like results.csv.gz.

    `place` names the file in errors, and `what` is what it should be. Raises Refused for a spreadsheet's own format and
    for a compressed file that is damaged.
    """
    for start, module in _COMPRESSED.items():
        if data.startswith(start):
            try:
                data = importlib.import_module(module).decompress(data)
            except Exception as error:  # each of the modules has errors of its own
                raise Refused(f"{place} is compressed with {module}, and cannot be unpacked: {error}") from None
    if data.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                (member,) = archive.namelist()  # one file: a table; a spreadsheet has several
                data = archive.read(member)
        except (ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error):
            pass  # refused below
    if data.startswith(_SPREADSHEETS):
        raise Refused(f"{place} is a spreadsheet or an archive, not a {what}: save it as CSV")
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        raise Refused(f"{place} is compressed with zstd: unpack it first")
    return decoded(data).rstrip("\x1a")  # DOS's end of a file


def decoded(data: bytes) -> str:
    """The text of a file in UTF-16 (told by its byte order mark or its NUL bytes) or, else, UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if b"\0" in data[:2]:
        return data.decode("utf-16-be" if data[0] == 0 else "utf-16-le", "replace")
    return data.decode("utf-8-sig", "surrogateescape")


def as_windows_text(cell: str) -> str:
    """A cell of `read_table` whose bytes are not UTF-8, read as Windows-1252: how Excel saves "CSV" in the West."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        return cell.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return cell


# -------------------------------------------------------------------------------------------------- printing


def print_any_character() -> None:
    """Makes standard output and error print what their encoding lacks in other letters, instead of failing on it.

    For entry points. Every replacement is one character wide, so that tables stay in line.
    """
    codecs.register_error("plain", _in_plain_letters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="plain")


PLAIN = str.maketrans({"±": "~", "−": "-", "–": "-", "—": "-", "─": "-", "×": "x", "…": ".", "→": ">", "’": "'"})


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """An error handler of `codecs`: what ASCII has for the characters that cannot be encoded, else question marks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    return "".join(letter if letter.isascii() else "?" for letter in text), error.end

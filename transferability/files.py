"""Files that are whole or not there, and the one exception that speaks to people."""

import codecs
import errno
import io
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson


class Refused(Exception):
    """What was asked for cannot be done. The message is one line: what is wrong, where, what to do.

    The command line prints it and exits with code 2.
    """


class Missing(Refused):
    """A file that does not exist."""


@contextmanager
def write_atomically(path: Path | str, mode: str = "wb") -> Iterator[IO[Any]]:
    """A file handle whose content appears under `path` whole, or not at all.

    It is written beside its destination (never in the temporary directory, which is another file system on
    clusters), synced and renamed; the folder is synced too. Nothing is left behind by an exception; after a
    kill, at most a hidden `.name.….tmp` that no reader looks at (`remove_unfinished`). OSError, with the file's
    name, where it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the number of the process: on two nodes, or in two containers, that may be the same.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(beside, path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        # PyTorch has words of its own for a disk that is full; what the system said is behind them.
        cause = error if isinstance(error, OSError) else error.__context__ if isinstance(error, RuntimeError) else None
        if isinstance(cause, OSError) and cause.filename in (None, str(beside)):
            raise OSError(cause.errno, cause.strerror, str(path)) from None
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left half-written in `folder`. Only for who alone writes there."""
    for beside in folder.glob(".*.tmp"):
        with suppress(OSError):
            beside.unlink()


def in_words(error: BaseException) -> str:
    """An exception as one line for people: the system's words about a file, a Refused's own, or type and message."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        todo = {
            errno.ENOSPC: "make room and run the same command again",
            errno.EDQUOT: "make room and run the same command again",
            errno.EROFS: "set TRANSFERABILITY_RUNS (or TRANSFERABILITY_DATA) to a folder that can be written to",
            errno.EACCES: "change its permissions, or set TRANSFERABILITY_RUNS to a folder of your own",
            errno.EPERM: "change its permissions, or set TRANSFERABILITY_RUNS to a folder of your own",
        }.get(error.errno or 0, "")
        return f"{error.filename}: {error.strerror}" + (f"; {todo}" if todo else "")
    return " ".join(f"{type(error).__name__}: {error}".split())


def write_json(path: Path | str, value: Any) -> None:
    """Writes `value` as indented JSON, atomically; NaN and the infinite, which JSON does not know, as null."""
    with write_atomically(path) as handle:
        handle.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def read_json(path: Path | str) -> Any:
    """The value in a JSON file. Missing if there is none; Refused, naming the file, if it is not JSON."""
    try:
        with open(path, "rb") as handle:
            return orjson.loads(handle.read())
    except FileNotFoundError:
        raise Missing(f"{path} does not exist") from None
    except orjson.JSONDecodeError as error:
        raise Refused(f"{path} is not readable as JSON ({error}); move it away and run again") from None


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

"""Files that are whole or not there, and the one exception that speaks to people."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


class Refused(Exception):
    """What was asked for cannot be done. The message is one line: what is wrong, where, what to do.

    The command line prints it and exits with code 2.
    """


@contextmanager
def write_atomically(path: Path | str, mode: str = "wb") -> Iterator[IO[Any]]:
    """A file handle whose content appears under `path` whole, or not at all.

    It is written beside its destination (never in the temporary directory, which is another file system on
    clusters), synced and renamed; the folder is synced too. Nothing is left behind by an exception; after a
    kill, at most a hidden `.name.pid.tmp` that no reader looks at.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, mode, encoding=None if "b" in mode else "utf-8") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path | str, value: Any) -> None:
    """Writes `value` as indented JSON, atomically."""
    with write_atomically(path, "w") as handle:
        json.dump(value, handle, indent=1, ensure_ascii=False)
        handle.write("\n")


def read_json(path: Path | str) -> Any:
    """The value in a JSON file; Refused, naming the file, if it is missing or not JSON."""
    try:
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except FileNotFoundError:
        raise Refused(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path} is not readable as JSON ({error}); move it away and run again") from None

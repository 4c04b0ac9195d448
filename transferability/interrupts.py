"""Ctrl-C: a terminal sends it to every process of a command, and only the one that the user started should react."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Holds Ctrl-C back. A process that is started inside inherits this and never receives it.

    If it only ignored the signal once it runs, it could be interrupted while its interpreter starts, in a traceback.
    Where a process is spawned, call `multiprocessing.resource_tracker.ensure_running` before: the start of that
    process lets the signal through again.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Inside, SIGTERM raises KeyboardInterrupt: `kill`, `timeout`, a shutdown and SLURM's time limit send it."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only that one can set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

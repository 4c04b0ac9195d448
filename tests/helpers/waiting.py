"""Waiting for what a test asserts, however fast the machine is; and processes that stay where a test wants them.

A test never sleeps for a time in which something should have happened, and never hopes to come before it is over: it
waits for a file, a line or the end of a process, and what must not be over yet is held until the test lets it go on.
"""

import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

# Seconds after which whatever a test waits for is taken to hang: an emergency stop, which decides nothing else.
LIMIT = float(os.environ.get("TEST_LIMIT", "600"))
T = TypeVar("T")


def wait_for(what: str, condition: Callable[[], T], said: Callable[[], object] = lambda: "", pause: float = 0.02) -> T:
    """The first value of `condition` that is true.

    said: what a failure shows, such as the log of a process. pause: seconds until it is asked again.
    """
    end = time.monotonic() + LIMIT
    while not (value := condition()):
        assert time.monotonic() < end, f"{what}: not within {LIMIT:.0f} s\n{said()}"
        time.sleep(pause)
    return value


def stay(reached: Path, go: Path) -> None:
    """Tells by the file `reached`, which holds its number, that this process is here. It stays until `go` is there.

    A signal that it handles lets it go on, too: after its handler has run. To be called in the main thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        unfinished = reached.with_name(f".{reached.name}.{os.getpid()}")
        unfinished.write_text(str(os.getpid()))
        unfinished.rename(reached)
        end = time.monotonic() + LIMIT
        while not go.exists() and not select.select([reader], [], [], 0.02)[0]:
            assert time.monotonic() < end, f"{go} did not come within {LIMIT:.0f} s"
    finally:
        signal.set_wakeup_fd(previous)
        os.close(reader)
        os.close(writer)


def stay_in_training(step: int | None, reached: Path, go: Path) -> None:
    """Makes this process `stay` before it trains step `step`; None: before the first step that it trains at all.

    It says which one that is.
    """
    from transferability.training.fleet import FleetModule

    original, trained = FleetModule.training_step, 0

    def training_step(self, batch, index):  # type: ignore[no-untyped-def]
        nonlocal trained
        if trained == 0:
            print(f"trains from step {self.step}", flush=True)
        if self.step == step or (step is None and trained == 0):
            stay(reached, go)
        trained += 1
        return original(self, batch, index)

    FleetModule.training_step = training_step  # type: ignore[method-assign]

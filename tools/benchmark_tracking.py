"""What W&B costs: seconds of processor time that logging takes, as a share of those that the training takes.

    python tools/benchmark_tracking.py [--device cpu|gpu] [--steps 400]

Trains one fleet of seven random-feature networks of the demo (packed as data/demo) with --wandb offline, in a
temporary runs folder. Counted apart: the training loop's own thread (reading the losses, preparing checkpoints), the
thread that hands the rows to wandb, and the opening of the runs, which is once a fleet.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments"))
from demo import architecture, recipe

from transferability.study import Study, fleets, network
from transferability.tracking import Tracker
from transferability.train import Machine, quiet, train_fleet

spent = {"the training loop": 0.0, "the logging thread": 0.0, "opening the runs, once": 0.0}


def timed(method: str, what: str) -> None:
    """Adds the processor time of each call of a Tracker's method to `what`."""
    inner: Callable[..., Any] = getattr(Tracker, method)

    def outer(*words: Any, **options: Any) -> Any:
        began = time.thread_time()
        try:
            return inner(*words, **options)
        finally:
            spent[what] += time.thread_time() - began

    setattr(Tracker, method, outer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    quiet()
    short = replace(recipe, steps=options.steps, validate_every=max(1, options.steps // 4))
    members = tuple(network(f"random-0/R{n}A", short) for n in range(1, 8))
    study = Study("tracking", "demo", architecture, members)
    for method in ("step", "validated", "state"):
        timed(method, "the training loop")
    timed("_send", "the logging thread")
    timed("_open", "opening the runs, once")
    with tempfile.TemporaryDirectory() as runs:
        os.environ["TRANSFERABILITY_RUNS"] = runs
        began = time.process_time()
        train_fleet(study, fleets(study.networks)[0], Machine(options.device, wandb="offline"))
        total = time.process_time() - began
    spent["the logging thread"] -= spent["opening the runs, once"]
    training = total - sum(spent.values())
    print(f"{options.steps} steps of {len(members)} networks: {training:.1f} s of processor time")
    for what, seconds in spent.items():
        print(f"{what}: {seconds:.3f} s, {seconds / training:.2%}")


if __name__ == "__main__":
    main()

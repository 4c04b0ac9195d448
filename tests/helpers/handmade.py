"""Results tables made by hand, whose statistics are known."""

import math
from typing import Any

import pandas as pd

from transferability import treatment as treatments
from transferability.results.table import COLUMNS


def row(name: str, accuracy: float, **more: Any) -> dict[str, Any]:
    """One row of a results table: `random-0/A3B+@250/seed-1` with its final accuracy."""
    split, network, seed = name.split("/")
    spelled, *suffixes = network.split("@")
    done = treatments.parse(spelled)
    empty: dict[str, Any] = {c: "" if kind is str else math.nan for c, kind in COLUMNS.items()}
    return (
        empty
        | {
            "study": "hand-made",
            "split": split,
            "network": network,
            "kind": done.kind,
            "source": done.source,
            "target": done.target,
            "n": done.n,
            "preserved": done.preserved,
            "plus": done.plus,
            "rule": done.rule,
            "images_per_class": next((s for s in suffixes if s.isdigit()), ""),
            "variant": next((s for s in suffixes if not s.isdigit()), ""),
            "seed": int(seed.removeprefix("seed-")),
            "val_top1": accuracy,
            "val_top1_best10": accuracy + 0.01,
            "train_loss": 2 - accuracy,
            "validations": 450,
            "steps": 100,
        }
        | more
    )


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


def complete(splits: int) -> pd.DataFrame:
    """Every treatment on so many random splits and the man-made/natural one: frozen layers lose a point each."""
    rows = []
    for split in [*(f"random-{s}" for s in range(splits)), "manmade-natural"]:
        for target, other in ("AB", "BA"):
            rows.append(row(f"{split}/base{target}/seed-0", 0.6))
            for n in range(1, 8):
                for name in (f"{target}{n}{target}", f"{other}{n}{target}", f"R{n}{target}"):
                    rows.append(row(f"{split}/{name}/seed-0", 0.6 - 0.01 * n))
                    rows += [row(f"{split}/{name}+/seed-0", 0.6)] if name[0] != "R" else []
    return frame(*rows)

"""Results tables of studies that nobody has trained, for the tests of figures."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from transferability.results.table import COLUMNS


def study(
    name: str = "own",
    splits: tuple[str, ...] = ("random-0", "manmade-natural"),
    seeds: tuple[int, ...] = (0,),
    depth: int = 8,
    effects: float = 1.0,
    validations: int = 200,
    noise: float = 0.002,
    names: Sequence[str] = (),
) -> pd.DataFrame:
    """An invented results table of the whole grid, B8B+ and random features included. `effects` scales the drops
    (co-adaptation around the middle, specificity towards the top) and the gain of AnB+. `names`: of the layers."""
    random = np.random.default_rng(0)
    rows = []
    for split, seed, target in itertools.product(splits, seeds, "AB"):
        other = "BA"["AB".index(target)]
        base = 0.7 + 0.03 * random.normal()
        grid = [(f"base{target}", "base", "", 0, "", base)]
        for n in range(1, depth):
            lost = -0.05 * effects * np.exp(-((n - depth / 2) ** 2) / 2)
            specific = -0.02 * effects * max(0, n - depth / 2)
            grid += [
                (f"{target}{n}{target}", "selffer", target, n, "", base + lost),
                (f"{target}{n}{target}+", "selffer", target, n, "1", base),
                (f"{other}{n}{target}", "transfer", other, n, "", base + lost + specific),
                (f"{other}{n}{target}+", "transfer", other, n, "1", base + 0.015 * effects),
                (f"R{n}{target}", "random", "R", n, "", base * np.exp(-0.3 * n)),
            ]
        grid.append((f"{target}{depth}{target}+", "selffer", target, depth, "1", base))
        for network, kind, source, n, plus, accuracy in grid:
            accuracy = max(0.0, accuracy + noise * random.normal() * (kind != "base"))
            rows.append(
                {column: "" if kind_ is str else np.nan for column, kind_ in COLUMNS.items()}
                | {"study": name, "split": split, "network": network, "kind": kind, "source": source}
                | {
                    "target": target,
                    "n": n,
                    "layer": names[n - 1] if n and names else "",
                    "preserved": 0,
                    "plus": plus,
                    "seed": seed,
                    "recipe": "demo",
                }
                | {"val_top1": accuracy, "val_top1_best10": accuracy if validations >= 100 else np.nan}
                | {"val_top5": 0.9, "val_loss": 1.5 - accuracy, "train_loss": 1.4 - accuracy, "train_top1": accuracy}
                | {"validations": validations, "steps": 100, "images_seen": 1.0, "seconds": 1.0}
                | {"images_per_second": 1.0, "diverged_at": np.nan}
            )
    return pd.DataFrame(rows)[list(COLUMNS)]


def curves_of(table: pd.DataFrame) -> pd.DataFrame:
    """An invented curves.csv: losses that fall to their final values."""
    steps = pd.DataFrame({"step": np.arange(100, 1100, 100)})
    curves = table[["study", "split", "network", "seed", "val_loss", "train_loss"]].merge(steps, how="cross")
    for loss in ("val_loss", "train_loss"):
        curves[loss] += 2 * np.exp(-curves.step / 300)
    return curves.assign(images_seen=curves.step * 16, val_top1=0.5, val_top5=0.9, train_top1=0.5)

"""Result files of a study that nobody has trained, for the tests of what reads them."""

from dataclasses import replace
from typing import Any

from tiny import RECIPE, tiny_study

from transferability.runs.paths import study_folder
from transferability.runs.result import Result, write_result
from transferability.study import Study, record

COMMIT = "0123456789012345678901234567890123456789"


def whole_study() -> Study:
    """Bases and treatments at n = 1 to 3 on one random split, three seeds; three networks on another."""
    kinds = ["baseA", "baseB"]
    kinds += [f"{s}{n}{t}{p}" for s in "AB" for t in "AB" for n in (1, 2, 3) for p in ("", "+")]
    names = [f"random-0/{kind}/seed-{seed}" for kind in kinds for seed in (0, 1, 2)]
    names += ["manmade-natural/baseA", "manmade-natural/baseB", "manmade-natural/B1A"]
    return tiny_study(names, replace(RECIPE, name="small <b>"))


def accuracy(name: str) -> float:
    """Frozen transfer loses 4 points a layer, a point more or less by seed; all else is the base's .5."""
    _, short, seed = name.split("/")
    transfer = short[0] != short[2] and not short.startswith("base") and not short.endswith("+")
    return 0.5 - (0.04 * int(short[1]) + 0.01 * (int(seed[-1]) - 1) if transfer else 0.0)


def result_of(study: Study, name: str, **changes: Any) -> Result:
    """A result of the network that nobody has trained; `changes` to its fields."""
    network, top1 = study.by_name[name], accuracy(name)
    treatment = network.treatment
    last = {"val_top1": top1, "val_top5": 0.9, "val_loss": 1.5, "train_loss": 1.2, "train_top1": 0.6}
    series = {**last, "step": 12, "rate": 0.01, "seconds": 30.0}
    result = Result(
        **{"name": name, "study": study.name, "split": network.split, "network": network.short_name},
        **{"kind": treatment.kind, "source": treatment.source, "target": treatment.target, "n": treatment.n},
        **{"preserved": treatment.preserved, "plus": treatment.plus, "images_per_class": network.images_per_class},
        **{"variant": network.variant, "seed": network.seed, "diverged_at": None},
        **last,
        **{"val_images": 48, "val_top1_best10": None},
        **{"steps": 12, "images_seen": 96, "seconds": 30.0, "images_per_second": 3.2},
        series={key: [value] for key, value in series.items()},
        recipe={"name": network.recipe.name, "batch": 8},
        record=record(study, network, {study.data: "abc123"}),
        provenance={
            "git_commit": COMMIT,
            "versions": {"torch": "2.11", "transferability": "0.1.0"},
            "hardware": {"host": "node7", "cpu": "A processor", "gpu": None},
            "devices": 1,
            "accelerator": "cpu",
            "fleet": [name],
        },
    )
    return replace(result, **changes)


def write_results(study: Study, leave_out: tuple[str, ...] = ()) -> None:
    """The result.json of every network but `leave_out`."""
    for network in study.networks:
        if network.name not in leave_out:
            write_result(study_folder(study.name).result(network.name), result_of(study, network.name))

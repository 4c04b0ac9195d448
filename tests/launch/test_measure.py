"""`plan --measure`: which fleets cost the same, what is added up, and the command."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from project import HELPERS
from tiny import RECIPE, TINY, tiny_study, write_tiny
from typer.testing import CliRunner

from transferability.cli import app
from transferability.launch import plan as measuring
from transferability.launch.measure import class_counts, makespan, summary, table
from transferability.launch.plan import COLUMNS, kinds
from transferability.networks.caffenet import caffenet, flops, small_caffenet
from transferability.recipe import PAPER
from transferability.study import Fleet, Study, fleets, load_study, network
from transferability.training.cost import fleet_operations, operations
from transferability.training.forms import FleetKind, Measured, measure

torch.set_num_threads(1)


def test_operations_of_caffenet() -> None:
    """722 million multiplications forward at 500 classes; 4.12 GFLOP a training image."""
    each = [count / 2e6 for count in flops(caffenet(), 500)]
    assert [round(count) for count in each] == [105, 224, 150, 112, 75, 38, 17, 2]
    assert round(sum(each)) == 722
    base, frozen = network("random-0/baseA", PAPER), network("random-0/A3B", PAPER)
    study = Study("s", "d", caffenet(), (base, frozen))
    assert operations(study, base, 500) == (0, pytest.approx(4.12e9, rel=0.002))
    below, above = operations(study, frozen, 500)
    # The first trained layer's input needs no gradient: that stops at the frozen layers.
    assert below / 2e6 == pytest.approx(sum(each[:3])) and above / 2e6 == pytest.approx(3 * sum(each[3:]) - each[3])


@pytest.mark.parametrize("architecture", [TINY, small_caffenet(56, 0.5)])
def test_operations_are_torchs(architecture: object) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from transferability.networks.layers import build

    x = torch.zeros(1, 3, architecture.crop, architecture.crop)  # type: ignore[attr-defined]
    for (_, layer), expected in zip(build(architecture, 7), flops(architecture, 7), strict=True):  # type: ignore[arg-type]
        torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
        layer.spec = getattr(layer, "spec", None)
        with FlopCounterMode(display=False) as counted, torch.no_grad():
            x = layer(x)
        normalising = 2 * x.shape[1] ** 2 * x[0, 0].numel() if getattr(layer.spec, "lrn", False) else 0
        assert counted.get_total_flops() == expected + normalising


def test_fleets_that_cost_the_same_are_one_kind(roots: Path) -> None:
    study = load_study("experiments/yosinski2014_complete.py")
    divided = fleets(study.networks)
    found = kinds(divided, class_counts(study))
    assert sorted(fleet.name for kind in found for fleet in kind.fleets) == sorted(fleet.name for fleet in divided)
    bases = [kind for kind in found if kind.name.startswith("base") and "@" not in kind.name]
    # Random halves have 500 classes; man-made 551, natural 449.
    assert sorted((kind.classes, len(kind.fleets)) for kind in bases) == [(449, 1), (500, 8), (551, 1)]
    a, b = tiny_study(["baseA", "baseB", "A1B", "B2B"]), tiny_study(["baseA", "baseB", "B1A", "A2A"])
    both = [fleets(study.networks)[-1] for study in (a, b)]
    assert len(kinds(both, {("random-0", "A"): 6, ("random-0", "B"): 6})) == 1
    assert len(kinds(both, {("random-0", "A"): 6, ("random-0", "B"): 7})) == 2


def test_hours_of_a_study_on_several_devices() -> None:
    """By hand: bases of 4 h and 1 h; 2 h behind each or both of them."""
    study = tiny_study(["baseA", "baseB", "A1A", "B1B", "A1B"])
    by_name = {name: Fleet((study.by_name[f"random-0/{name}/seed-0"],)) for name in ("baseA", "baseB", "A1A", "B1B")}
    its = {"baseA": 4.0, "baseB": 1.0, "A1A": 2.0, "B1B": 2.0}

    def measured(name: str) -> Measured:
        seconds = its[name] * 3600 / RECIPE.steps
        return Measured(FleetKind((by_name[name],), 6), "float32", RECIPE.batch, seconds=seconds)

    each = [measured(name) for name in its]
    assert makespan(each, 1) == pytest.approx(9)
    assert makespan(each, 2) == pytest.approx(6)  # baseA, A1A; beside them baseB, B1B
    assert makespan(each, 8) == pytest.approx(6)


def test_plan_measure_prints_a_row_for_each_kind(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny(roots / "data" / "tiny")
    file = roots / "experiment.py"
    names = ["baseA", "baseB", "A1A", "A3A+", "B1B", "B3B+"]
    file.write_text(
        f"import sys; sys.path.insert(0, {str(HELPERS)!r})\n"
        f"from tiny import tiny_study\nstudy = tiny_study({names!r})\n"
    )
    monkeypatch.setenv("COLUMNS", "200")

    def plan(*words: str) -> str:
        found = CliRunner().invoke(app, ["plan", str(file), "--measure", *words])
        assert found.exit_code == 0, found.output
        return found.stdout

    rows = list(csv.DictReader(io.StringIO(plan("--csv"))))
    assert tuple(rows[0]) == COLUMNS
    found = [(row["kind"], row["fleets"], row["precision"]) for row in rows]
    assert found == [(kind, "2", precision) for kind in ("baseA", "A1A + 1") for precision in ("float32", "bfloat16")]
    assert all(float(row["images_per_second"]) > 0 and float(row["hours_each"]) > 0 for row in rows)
    out = plan("--fleet-size", "1", "--measure-batch", "4", "--only", "*base*")
    assert "fewer images a step than their recipe has: 1 of 1 kinds" in out and "times as fast here" in out
    assert "The study, calculated from these: 1 min on one" in out and "random pictures" not in out


def test_what_does_not_fit_is_not_measured_and_said(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here without a packed set: random pictures, and as many classes as are assumed."""
    study = tiny_study(["baseA"])
    (kind,) = kinds(fleets(study.networks), class_counts(study))
    assert kind.classes == 100
    cpu = torch.device("cpu")
    images = sample(study, kind, cpu)
    fits = measure(study, kind, "float32", 4, cpu, images)
    assert fits.seconds > 0 and fits.memory >= 0
    monkeypatch.setattr(measuring, "free_memory", lambda device: 1e3)
    both = [measure(study, kind, precision, 4, cpu, images) for precision in ("float32", "bfloat16")]
    assert all(each.why.startswith("takes about 0 GB") and not each.rate for each in both)
    said = summary(both, packed=False)
    assert any("baseA was not measured: it takes" in line for line in said) and "random pictures" in said[0]
    assert not any("The study" in line for line in said) and len(table(study, both)[0]) == len(COLUMNS)
    # In bfloat16 it fits, in two forms: how much a form gains is said of what the recipe asks for.
    low = [replace(both[1], form=form, seconds=seconds, why="") for form, seconds in (("plain", 2.0), ("split", 1.0))]
    assert not any("fastest form" in line for line in summary([both[0], *low], packed=True))
    asked = [replace(each, precision="float32") for each in low]
    assert any("a fleet is 2 times as fast" in line for line in summary([*asked, both[1]], packed=True))
    assert fleet_operations(study, kind.fleets[0]) > 0

"""`plan --measure`: which fleets cost the same, what is added up, and the command."""

import csv
import io
from pathlib import Path

import pytest
import torch
from project import EXPERIMENTS, HELPERS
from tiny import RECIPE, TINY, tiny_study, write_tiny
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from transferability.cli import app
from transferability.launch.measure import COLUMNS, class_counts, fleet_kinds, makespan, summary, table
from transferability.networks.caffenet import Architecture, caffenet, small_caffenet
from transferability.networks.facts import layer_facts
from transferability.networks.layers import ConvLayer, build
from transferability.recipe import PAPER
from transferability.runs.paths import data_root
from transferability.study import Fleet, Study, fleets, load_study, network
from transferability.training import forms
from transferability.training.cost import fleet_operations, operations
from transferability.training.forms import FleetKind, Measured, Probe, measure, task_sample

torch.set_num_threads(1)


def test_operations_of_caffenet() -> None:
    """722 million multiplications forward at 500 classes; 4.12 GFLOP per training image."""
    millions = [count / 2e6 for count in (layer.operations for layer in layer_facts(caffenet(), 500))]
    assert [round(count) for count in millions] == [105, 224, 150, 112, 75, 38, 17, 2]
    assert round(sum(millions)) == 722
    base, frozen = network("random-0/baseA", PAPER), network("random-0/A3B", PAPER)
    study = Study("s", "d", caffenet(), (base, frozen))
    assert operations(study, base, 500) == (0, pytest.approx(4.12e9, rel=0.002))
    below, above = operations(study, frozen, 500)
    # The first trained layer's input needs no gradient: that stops at the frozen layers.
    assert below / 2e6 == pytest.approx(sum(millions[:3]))
    assert above / 2e6 == pytest.approx(3 * sum(millions[3:]) - millions[3])


@pytest.mark.parametrize("architecture", [TINY, small_caffenet(56, 0.5)])
def test_operations_are_torchs(architecture: Architecture) -> None:
    x = torch.zeros(1, 3, architecture.crop, architecture.crop)
    for (_, layer), expected in zip(
        build(architecture, 7), (layer.operations for layer in layer_facts(architecture, 7)), strict=True
    ):
        torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            x = layer(x)
        normalises = isinstance(layer, ConvLayer) and layer.spec.lrn
        assert counter.get_total_flops() == expected + (2 * x.shape[1] ** 2 * x[0, 0].numel() if normalises else 0)


def test_fleets_that_cost_the_same_are_one_kind(roots: Path) -> None:
    study = load_study(EXPERIMENTS / "yosinski2014_complete.py")
    divided = fleets(study.networks)
    kinds = fleet_kinds(divided, class_counts(study, data_root()))
    assert sorted(fleet.name for kind in kinds for fleet in kind.fleets) == sorted(fleet.name for fleet in divided)
    bases = [kind for kind in kinds if kind.name.startswith("base") and "@" not in kind.name]
    # Random halves have 500 classes; man-made 551, natural 449.
    assert sorted((kind.classes, len(kind.fleets)) for kind in bases) == [(449, 1), (500, 8), (551, 1)]
    a, b = tiny_study(["baseA", "baseB", "A1B", "B2B"]), tiny_study(["baseA", "baseB", "B1A", "A2A"])
    both = [fleets(study.networks)[-1] for study in (a, b)]
    assert len(fleet_kinds(both, {("random-0", "A"): 6, ("random-0", "B"): 6})) == 1
    assert len(fleet_kinds(both, {("random-0", "A"): 6, ("random-0", "B"): 7})) == 2


def test_hours_of_a_study_on_several_devices() -> None:
    """By hand: bases of 4 h and 1 h, then a fleet of 2 h for each of them."""
    study = tiny_study(["baseA", "baseB", "A1A", "B1B", "A1B"])
    by_name = {name: Fleet((study.by_name[f"random-0/{name}/seed-0"],)) for name in ("baseA", "baseB", "A1A", "B1B")}
    hours = {"baseA": 4.0, "baseB": 1.0, "A1A": 2.0, "B1B": 2.0}

    def measured(name: str) -> Measured:
        probe = Probe(study, FleetKind((by_name[name],), 6), "float32", RECIPE.batch)
        return Measured(probe, seconds=hours[name] * 3600 / RECIPE.steps)

    results = [measured(name) for name in hours]
    assert makespan(results, 1) == pytest.approx(9)
    assert makespan(results, 2) == pytest.approx(6)  # baseA, A1A on one; baseB, B1B on the other
    assert makespan(results, 8) == pytest.approx(6)


def test_plan_measure_prints_a_row_for_each_kind(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny(roots / "data" / "tiny")
    file = roots / "experiment.py"
    names = ["baseA", "baseB", "A1A", "A3A+", "B1B", "B3B+"]
    file.write_text(
        f"import sys; sys.path.insert(0, {str(HELPERS)!r})\n"
        f"from tiny import tiny_study\nstudy = tiny_study({names!r})\n"
    )
    monkeypatch.setenv("COLUMNS", "200")

    def plan(*options: str) -> str:
        result = CliRunner().invoke(app, ["plan", str(file), "--measure", *options])
        assert result.exit_code == 0, result.output
        return result.stdout

    rows = list(csv.DictReader(io.StringIO(plan("--csv"))))
    assert tuple(rows[0]) == COLUMNS
    probes = [(row["kind"], row["fleets"], row["precision"]) for row in rows]
    assert probes == [(kind, "2", precision) for kind in ("baseA", "A1A + 1") for precision in ("float32", "bfloat16")]
    assert all(float(row["images_per_second"]) > 0 and float(row["hours_each"]) > 0 for row in rows)
    output = plan("--fleet-size", "1", "--measure-batch", "4", "--only", "*base*")
    assert "fewer images per step than their recipe has: 1 of 1 kinds" in output and "times as fast here" in output
    assert "The study, calculated from these: 1 min on one" in output and "random images" not in output


def test_what_does_not_fit_is_not_measured_and_said(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a packed set: random images, and as many classes as are assumed."""
    study, cpu = tiny_study(["baseA"]), torch.device("cpu")
    (kind,) = fleet_kinds(fleets(study.networks), class_counts(study, data_root()))
    assert kind.classes == 100
    full, half = (Probe(study, kind, precision, 4) for precision in ("float32", "bfloat16"))
    images = task_sample(full, data_root(), cpu)
    fits = measure(full, cpu, images)
    assert fits.seconds > 0 and fits.memory >= 0
    monkeypatch.setattr(forms, "free_memory", lambda device: 1e3)
    both = [measure(probe, cpu, images) for probe in (full, half)]
    assert all(result.reason.startswith("takes about 0 GB") and not result.rate for result in both)
    lines = summary(both, packed=False)
    assert any("baseA was not measured: it takes" in line for line in lines) and "random images" in lines[0]
    assert not any("The study" in line for line in lines) and len(table(both)[0]) == len(COLUMNS)
    # In bfloat16 it fits, in two forms: how much a form gains is said of what the recipe asks for.
    times = {"plain": 2.0, "ungrouped": 1.0}
    low = [Measured(half, form, seconds) for form, seconds in times.items()]
    assert not any("fastest form" in line for line in summary([both[0], *low], packed=True))
    asked = [Measured(full, form, seconds) for form, seconds in times.items()]
    assert any("a fleet is 2 times as fast" in line for line in summary([*asked, both[1]], packed=True))
    assert fleet_operations(study, kind.fleets[0]) > 0

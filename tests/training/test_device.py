"""The forms of a training step against the plain one (promise 9); what only a GPU can show waits for one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from disturbed import killed_at, poison
from project import HELPERS
from tiny import RECIPE, TINY, grey, tiny_study
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from trained import PLAIN, train_fleet, trained
from typer.testing import CliRunner

from transferability.cli import app
from transferability.data.packed import PackedImages
from transferability.data.stream import Batch
from transferability.files import Refused, read_json
from transferability.networks.caffenet import Conv, Linear
from transferability.networks.layers import ConvLayer, build, draw_layer
from transferability.runs.ledger import Start, write_start
from transferability.runs.machine import FORMS, Machine, refuse_form
from transferability.runs.paths import data_root, study_folder
from transferability.study import Fleet, fleets, record
from transferability.training import forms
from transferability.training.fleet import PLAIN_STEPS, FleetModule
from transferability.training.forms import (
    Clock,
    FleetKind,
    FormChoice,
    Probe,
    choose_form,
    compared,
    fastest,
    measure,
    measure_forms,
    saved_choice,
    task_sample,
)
from transferability.training.graph import Captured, Lanes, Outcome, Replay
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

NAMES = ("baseA", "baseB", "A1A", "A3A", "B2A", "A2A+", "B1Ap1", "R2A", "A1B+")


def test_a_result_names_the_processor_that_trained() -> None:
    """Lightning brings a module back to the CPU before results are written."""
    study = tiny_study(["baseA"])
    module = FleetModule(study, Fleet(study.networks), 6, {}, grey("A"))
    assert module.trained_on == "cpu"
    strategy = SimpleNamespace(root_device=torch.device("cuda", 1))
    module._trainer = SimpleNamespace(world_size=1, strategy=strategy)  # type: ignore[assignment]
    module.setup("fit")
    assert module.device.type == "cpu" and module.trained_on == "cuda"


@pytest.mark.parametrize("size", [5, 13])
def test_an_ungrouped_convolution_is_the_grouped_one(size: int) -> None:
    """CaffeNet's conv2 and others, in float64: values and all gradients."""
    for spec, channels in ((Conv(256, 5, pad=2, groups=2), 96), (Conv(12, 3, stride=2, groups=4), 8), (Conv(6, 3), 4)):
        generator = torch.Generator().manual_seed(0)
        layers = [ConvLayer(spec, channels, ungrouped).double() for ungrouped in (False, True)]
        assert [layer.ungrouped for layer in layers] == [False, spec.groups > 1]
        weight = torch.randn(layers[0].weight.shape, generator=generator)
        bias = torch.randn(spec.channels, generator=generator)
        x = torch.randn(3, channels, size, size, generator=generator, dtype=torch.float64)
        tensors = []
        for layer in layers:
            layer.weight.data.copy_(weight), layer.bias.data.copy_(bias)
            images = x.clone(memory_format=torch.channels_last).requires_grad_()
            features = layer(images)
            (features * torch.arange(features.numel()).view_as(features)).sum().backward()
            assert features.is_contiguous(memory_format=torch.channels_last)
            tensors.append((features, images.grad, layer.weight.grad, layer.bias.grad))
        for plain, ungrouped in zip(*tensors, strict=True):
            torch.testing.assert_close(ungrouped, plain, rtol=1e-12, atol=1e-9)


# ---------------------------------------------------------------------------------------------- graphs, on a CPU


class Tape(TorchDispatchMode):
    """Records what a CUDA graph would: each operation, its tensors by reference, its numbers by value."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert operation is not torch.ops.aten._local_scalar_dense.default, "a graph cannot ask for a value"
        result = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """Repeats all operations; their results go into the tensors of the recording."""
        for operation, args, kwargs, result in self.operations:
            repeated = operation(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(repeated), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def taped(module: FleetModule, work: Callable[[], Outcome]) -> tuple[Replay, Outcome]:
    """Records `work` and undoes what it did: a graph's operations are not carried out while they are captured."""
    momenta = [state["momentum_buffer"] for state in module.optimiser.state.values()]
    tensors = [*module.parameters(), *momenta]
    values = [tensor.detach().clone() for tensor in tensors]
    tape = Tape()
    with tape:
        outcome = work()
    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
    return tape.replay, outcome


@pytest.fixture
def graphs_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps are recorded by `Tape` where a GPU would capture a graph; the steps at which that happened."""
    captured: list[int] = []

    def capture(self: FleetModule, batch: Batch) -> Captured:
        captured.append(self.step)
        return Captured(self.update, batch, partial(taped, self))

    monkeypatch.setattr(FleetModule, "capture", capture)
    monkeypatch.setattr(forms, "refuse_form", lambda *_: None)
    return captured


GRAPH = replace(PLAIN, form="graph")
DROPS = replace(RECIPE, steps=26, validate_every=10, schedule="step", drop_every=9)  # no drop at a validation


def test_a_captured_step_is_the_plain_one(roots: Path, packed: PackedImages, graphs_on_a_cpu: list[int]) -> None:
    """With dropout, two drops of the rate and of Caffe's momentum, three stretches of training: the same bits."""
    plain = trained(tiny_study(NAMES, DROPS, name="plain"))
    assert graphs_on_a_cpu == []
    graph = trained(tiny_study(NAMES, DROPS, name="graph"), GRAPH)
    assert graphs_on_a_cpu == [PLAIN_STEPS] * 4 and len(graph) == len(NAMES)
    assert graph == plain


def test_a_number_in_a_captured_step_would_be_seen(
    roots: Path, packed: PackedImages, graphs_on_a_cpu: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above is strict: masks whose key is a number of the step that was captured are not the plain ones."""
    plain = trained(tiny_study(["baseA"], name="plain"))
    original = FleetModule._layer_output

    def with_numbers(self: FleetModule, *arguments: Any) -> Tensor:
        keys, self.keys = self.keys, None
        try:
            return original(self, *arguments)
        finally:
            self.keys = keys

    monkeypatch.setattr(FleetModule, "_layer_output", with_numbers)
    graph = trained(tiny_study(["baseA"], name="graph"), GRAPH)
    assert graph["baseA"].series != plain["baseA"].series and graph["baseA"].file != plain["baseA"].file


def test_resuming_in_a_graph(roots: Path, packed: PackedImages, graphs_on_a_cpu: list[int]) -> None:
    """Killed after a checkpoint, the fleet goes on in its form: some plain steps, then it is captured anew."""
    undisturbed = trained(tiny_study(["baseA"], DROPS, name="undisturbed"), GRAPH)
    study = tiny_study(["baseA"], DROPS)
    with killed_at(17):
        trained(study, GRAPH)
    graphs_on_a_cpu.clear()
    assert trained(study, GRAPH) == undisturbed
    assert graphs_on_a_cpu == [10 + PLAIN_STEPS]


@pytest.mark.parametrize(("step", "captured"), [(4, [PLAIN_STEPS, 6]), (7, [PLAIN_STEPS])])
def test_a_nan_in_a_graph_is_marked_and_touches_no_neighbour(
    roots: Path,
    packed: PackedImages,
    graphs_on_a_cpu: list[int],
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    captured: list[int],
) -> None:
    """The network ends at its next validation, step 6 or 12. If others go on, the step is captured without it."""
    names = ["baseA", "A1A", "A2A"]
    healthy = trained(tiny_study(names, name="healthy"), GRAPH)
    poison(monkeypatch, ["A2A"], step)
    graphs_on_a_cpu.clear()
    outcomes = trained(tiny_study(names), GRAPH)
    assert graphs_on_a_cpu == [PLAIN_STEPS, *captured]  # the base, then the other two
    assert all(outcomes[name] == healthy[name] and healthy[name].diverged_at is None for name in ("baseA", "A1A"))
    assert outcomes["A2A"].diverged_at == step
    assert outcomes["A2A"].series["step"] == ([6] if step < 6 else [6, 12])


class Stream:
    """CUDA's rules for streams in a capture: a stream joins it by waiting for one that takes part in it."""

    capturing: ClassVar[list["Stream"]] = []
    current: ClassVar[list["Stream"]] = []

    def __init__(self) -> None:
        self.seen: set[Stream] = set()  # streams whose work up to now this one waits for

    def wait_stream(self, other: "Stream") -> None:
        assert other in self.capturing, "a captured stream waits for one that is not captured"
        if self not in self.capturing:
            self.capturing.append(self)
        self.seen |= {other, *other.seen}


@pytest.mark.parametrize("networks", [1, 2, 3, 4, 7])
def test_lanes_keep_to_the_rules_of_a_capture(networks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, against CUDA's rules: each lane starts after the work that the origin has queued so far, the
    networks run in the lanes, and the origin continues after all of them."""
    study = tiny_study(["baseA", "A1A", "A2A", "A3A", "A1A+", "A2A+", "A3A+", "A1Ap1"])
    weights = {}
    for (name, layer), (_, spec) in zip(build(TINY, 6), TINY.layers, strict=True):
        draw_layer(layer, spec, RECIPE.initialisation, "test", name)
        weights |= {f"{name}.{key}": value.detach() for key, value in layer.named_parameters()}
    fleet = Fleet(study.networks[1 : 1 + networks])
    module = FleetModule(study, fleet, 6, {"A": weights}, grey("A"), "graph").train()
    origin = Stream()
    monkeypatch.setattr(Stream, "capturing", [origin])
    monkeypatch.setattr(Stream, "current", [origin])
    ran: list[Stream] = []

    @contextmanager
    def entered(stream: Stream) -> Iterator[None]:
        Stream.current.append(stream)
        ran.append(stream)
        yield
        assert Stream.current.pop() is stream

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", entered)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream.current[-1])
    monkeypatch.setattr(Tensor, "record_stream", lambda *_: None)
    pixels = torch.zeros(8, 3, 14, 14, dtype=torch.uint8)
    batch = Batch(pixels, *(torch.arange(8) % 3 for _ in range(4)), torch.zeros(8, dtype=torch.bool), torch.empty(8, 0))
    plain = module.losses(batch)
    assert ran == []
    in_lanes = module.losses(batch, Lanes(networks))
    assert all(torch.equal(a, b) for a, b in zip(plain, in_lanes, strict=True))
    assert len(ran) == networks and len(set(ran)) == min(networks, 4) and origin not in ran
    assert all(origin in stream.seen for stream in ran) and origin.seen >= set(ran)
    assert Stream.current == [origin]


# ---------------------------------------------------------------------------------------------- ungrouped, choosing


def test_ungrouped_training_agrees_with_plain(roots: Path, packed: PackedImages) -> None:
    """Over 26 steps in float32: losses to 1e-4 of their value, each layer's weights to 1e-4 of their norm."""
    plain = trained(tiny_study(NAMES, DROPS, name="plain"))
    ungrouped = trained(tiny_study(NAMES, DROPS, name="ungrouped"), replace(PLAIN, form="ungrouped"))
    for name, outcome in plain.items():
        for loss in ("train_loss", "val_loss"):
            np.testing.assert_allclose(ungrouped[name].series[loss], outcome.series[loss], rtol=1e-4)
        for key, value in outcome.weights.items():
            assert (ungrouped[name].weights[key] - value).norm() <= 1e-4 * value.norm(), (name, key)
    provenance = read_json(study_folder("ungrouped").result("random-0/A1A/seed-0"))["provenance"]
    assert (provenance["form"], provenance["forms_tried"]) == ("ungrouped", {})


def probe_of(names: Sequence[str], precision: str = "float32") -> Probe:
    """The last fleet of a study of these networks, with 64 images per step."""
    study = tiny_study(names, replace(RECIPE, batch=64, precision=precision))
    return Probe(study, FleetKind((fleets(study.networks)[-1],), 6), precision, 64)


CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_forms_are_measured_and_compared(roots: Path, packed: PackedImages, precision: str) -> None:
    """Without a GPU: the ungrouped form agrees, the graph fails and says so, and neither ends the measurement."""
    probe = probe_of(["baseA", "A1A", "A3A+"], precision)
    images = task_sample(probe, data_root(), CPU)
    measured = [measure(probe, CPU, images, form, Clock(12, 5)) for form in FORMS]
    plain, ungrouped, *graphs = (compared(measured[0], other) for other in measured)
    assert [result.form for result in measured] == list(FORMS)
    assert plain.reason == ungrouped.reason == "" and plain.seconds > 0 and ungrouped.seconds > 0
    assert len(ungrouped.losses) == 2 and len(ungrouped.norms) == len(plain.norms) > 10
    assert all(graph.reason.startswith("failed: ") and not graph.seconds for graph in graphs)
    fast, slow = (replace(ungrouped, seconds=plain.seconds * factor) for factor in (0.5, 2))
    assert fastest([plain, fast, *graphs]).form == "ungrouped"
    assert fastest([plain, slow, *graphs]).form == "plain"
    assert fastest([plain, replace(fast, reason="wrong"), *graphs]).form == "plain"


def test_a_form_that_computes_something_else_is_not_used(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A convolution that forgets the gradient of its second group, though its values are right."""
    probe = probe_of(["baseA"])
    images = task_sample(probe, data_root(), CPU)
    plain = measure(probe, CPU, images, "plain", Clock(1, 1))
    chunk = Tensor.chunk

    def forgets(self: Tensor, *arguments: Any) -> Any:
        first, second = chunk(self, *arguments)
        return first, second.detach()

    monkeypatch.setattr(Tensor, "chunk", forgets)
    wrong = compared(plain, measure(probe, CPU, images, "ungrouped", Clock(1, 1)))
    assert "norms are off by" in wrong.reason
    monkeypatch.setattr(Tensor, "chunk", lambda self, *arguments: [2 * part for part in chunk(self, *arguments)])
    wrong = compared(plain, measure(probe, CPU, images, "ungrouped", Clock(1, 1)))
    assert "losses are off by" in wrong.reason


def test_networks_without_groups_have_no_ungrouped_form(roots: Path, packed: PackedImages) -> None:
    without_groups = replace(TINY, layers=(("conv1", Conv(8, 3)), ("fc2", Linear(None))))
    study = tiny_study(["baseA"], architecture=without_groups)
    probe = Probe(study, FleetKind(tuple(fleets(study.networks)), 6), "float32", 8)
    assert [result.form for result in measure_forms(probe, data_root(), CPU, FORMS[:2])] == ["plain"]


def test_a_started_fleet_keeps_its_form(roots: Path, packed: PackedImages) -> None:
    """And what was measured. A machine that cannot replay graphs does without them."""
    study = tiny_study(["baseA"])
    (fleet,) = fleets(study.networks)
    auto, ungrouped = replace(PLAIN, form="auto"), replace(PLAIN, form="ungrouped")
    with killed_at(0):
        train_fleet(study, fleet, ungrouped)
    assert read_json(study_folder("tiny").fleet(fleet.name).start)["form"] == ["ungrouped", {}, 0.0]
    tried = {"plain": 9.1, "ungrouped": 8.3, "graph": "failed: no", "ungrouped+graph": 4.2}
    for form, possible in (("ungrouped+graph", "ungrouped"), ("graph", "plain"), ("ungrouped", "ungrouped")):
        chosen = FormChoice(form, tried, 5e9)
        assert choose_form(study, fleet, 6, data_root(), auto, chosen) == FormChoice(possible, tried, 5e9)
    assert choose_form(study, fleet, 6, data_root(), auto, None) == FormChoice("plain")
    train_fleet(study, fleet, auto)
    assert read_json(study_folder("tiny").result("random-0/baseA/seed-0"))["provenance"]["form"] == "ungrouped"


def test_a_fleet_that_an_earlier_version_started_keeps_its_form(roots: Path, packed: PackedImages) -> None:
    """Its fleet.json calls the ungrouped form `split`, or has no form at all."""
    assert saved_choice(["split+graph", {"split": 8.3}, 5e9]) == FormChoice("ungrouped+graph", {"split": 8.3}, 5e9)
    assert saved_choice(("plain",)) == FormChoice("plain")
    study = tiny_study(["baseA"])
    (fleet,) = fleets(study.networks)
    records = {network.name: record(study, network, {study.data: packed.checksum}) for network in fleet.networks}
    write_start(study_folder("tiny"), fleet.name, Start(records, ["split", {}, 0.0]))
    train_fleet(study, fleet, replace(PLAIN, form="auto"))
    assert read_json(study_folder("tiny").result("random-0/baseA/seed-0"))["provenance"]["form"] == "ungrouped"


@pytest.mark.parametrize(
    ("form", "gpu", "processes", "message"),
    [
        ("fast", True, 1, "write auto, plain, ungrouped, graph, ungrouped\\+graph or folded"),
        ("split", True, 1, "write auto, plain, ungrouped, graph, ungrouped\\+graph or folded"),
        ("graph", False, 1, "only a GPU"),
        ("ungrouped+graph", True, 2, "on one GPU; for 2"),
    ],
)
def test_forms_that_cannot_be_are_refused(form: str, gpu: bool, processes: int, message: str) -> None:
    with pytest.raises(Refused, match=message):
        refuse_form(form, gpu, processes)
    for possible in ("auto", "plain", "ungrouped"):
        refuse_form(possible, gpu, processes)


def test_commands_refuse_a_form_before_anything_is_done(roots: Path, tmp_path: Path) -> None:
    file = tmp_path / "experiment.py"
    file.write_text(
        f"import sys; sys.path.insert(0, {str(HELPERS)!r})\n"
        "from tiny import tiny_study\nstudy = tiny_study(['baseA'])\n"
    )
    for command in (
        ("run", str(file), "--accelerator", "cpu", "--form", "graph"),
        ("train", str(file), "--fleet", "0", "--form", "fast"),
        ("submit", str(file), "--form", "graph", "--devices", "2"),
    ):
        refused = CliRunner().invoke(app, command).exception
        assert isinstance(refused, Refused) and str(refused).startswith("--form ")
    assert not (roots / "runs").exists()


# ---------------------------------------------------------------------------------------------- on a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("form", FORMS[1:])
def test_each_form_agrees_with_plain_on_a_gpu(roots: Path, packed: PackedImages, form: str) -> None:
    gpu = Machine(accelerator="gpu", keep_weights=True)
    plain = trained(tiny_study(NAMES, DROPS, name="plain"), replace(gpu, form="plain"))
    other = trained(tiny_study(NAMES, DROPS, name="other"), replace(gpu, form=form))
    for name, outcome in plain.items():
        np.testing.assert_allclose(other[name].series["train_loss"], outcome.series["train_loss"], rtol=1e-3)
        for key, value in outcome.weights.items():
            assert (other[name].weights[key] - value).norm() <= 1e-3 * value.norm(), (name, key)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_every_form_may_be_used_on_a_gpu(roots: Path, packed: PackedImages) -> None:
    measured = measure_forms(probe_of(["baseA", "A1A", "A3A+"]), data_root(), torch.device("cuda", 0))
    assert {result.form: result.reason for result in measured} == dict.fromkeys(FORMS, "")

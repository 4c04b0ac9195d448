"""The forms of a training step against the plain one (promise 9); what only a GPU can show waits for one."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from project import HELPERS
from tiny import RECIPE, TINY, tiny_study
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from trained import train, train_fleet
from typer.testing import CliRunner

from transferability.cli import app
from transferability.data.packed import PackedImages
from transferability.data.stream import Batch
from transferability.files import Refused, read_json
from transferability.networks.caffenet import Conv, Linear
from transferability.networks.layers import ConvLayer, build, draw
from transferability.runs.machine import FORMS, Machine, refuse_form
from transferability.runs.paths import study_folder
from transferability.study import Fleet, Study, fleets
from transferability.training import train as training
from transferability.training.fleet import PLAIN_STEPS, FleetModule
from transferability.training.forms import (
    Clock,
    FleetKind,
    FormChoice,
    choose_form,
    compared,
    fastest,
    measure,
    measure_forms,
)
from transferability.training.graph import Captured, Lanes, Outcome, Replay
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

PLAIN = Machine(accelerator="cpu", keep_weights=True)
NAMES = ("baseA", "baseB", "A1A", "A3A", "B2A", "A2A+", "B1Ap1", "R2A", "A1B+")


@pytest.mark.parametrize("size", [5, 13])
def test_a_split_convolution_is_the_grouped_one(size: int) -> None:
    """CaffeNet's conv2 and others, in float64: values and all gradients."""
    for spec, channels in ((Conv(256, 5, pad=2, groups=2), 96), (Conv(12, 3, stride=2, groups=4), 8), (Conv(6, 3), 4)):
        generator = torch.Generator().manual_seed(0)
        layers = [ConvLayer(spec, channels, split).double() for split in (False, True)]
        assert [layer.split for layer in layers] == [False, spec.groups > 1]
        weight = torch.randn(layers[0].weight.shape, generator=generator)
        bias = torch.randn(spec.channels, generator=generator)
        x = torch.randn(3, channels, size, size, generator=generator, dtype=torch.float64)
        found = []
        for layer in layers:
            layer.weight.data.copy_(weight), layer.bias.data.copy_(bias)
            its = x.clone(memory_format=torch.channels_last).requires_grad_()
            out = layer(its)
            (out * torch.arange(out.numel()).view_as(out)).sum().backward()
            assert out.is_contiguous(memory_format=torch.channels_last)
            found.append((out, its.grad, layer.weight.grad, layer.bias.grad))
        for plain, split in zip(*found, strict=True):
            torch.testing.assert_close(split, plain, rtol=1e-12, atol=1e-9)


# ---------------------------------------------------------------------------------------------- graphs, on a CPU


class Tape(TorchDispatchMode):
    """What a CUDA graph captures: each operation, with the tensors themselves and its numbers as they are now."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert operation is not torch.ops.aten._local_scalar_dense.default, "a graph cannot ask for a value"
        out = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def replay(self) -> None:
        """Does it all again, into the tensors that came out of it first."""
        for operation, args, kwargs, out in self.operations:
            again = operation(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def taped(module: FleetModule, work: Callable[[], Outcome]) -> tuple[Replay, Outcome]:
    """Captures `work` and undoes what it did: a graph's operations are not carried out while they are captured."""
    optimiser: Any = module.optimizers()
    changed = [*module.parameters(), *(state["momentum_buffer"] for state in optimiser.state.values())]
    before = [each.detach().clone() for each in changed]
    tape = Tape()
    with tape:
        outcome = work()
    with torch.no_grad():
        for each, was in zip(changed, before, strict=True):
            each.copy_(was)
    return tape.replay, outcome


@pytest.fixture
def graphs_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps are taped where a GPU would capture them as a graph; the steps at which this was done."""
    captured: list[int] = []

    def capture(self: FleetModule, batch: Batch) -> Captured:
        captured.append(self.step)
        return Captured(self.update, batch, partial(taped, self))

    monkeypatch.setattr(FleetModule, "capture", capture)
    monkeypatch.setattr(training, "refuse_form", lambda *_: None)
    return captured


def same_bits(a: Any, b: Any) -> bool:
    return all(
        a[name][0] == b[name][0] and all(torch.equal(a[name][1][key], value) for key, value in b[name][1].items())
        for name in b
    )


class Killed(BaseException):
    """Ends training where it is, as a kill would."""


GRAPH = replace(PLAIN, form="graph")
DROPS = replace(RECIPE, steps=26, validate_every=10, schedule="step", drop_every=9)  # no drop at a validation


def test_a_captured_step_is_the_plain_one(roots: Path, packed: PackedImages, graphs_on_a_cpu: list[int]) -> None:
    """With dropout, two drops of the rate and of Caffe's momentum, three stretches of training: the same bits."""
    plain = train(tiny_study(NAMES, DROPS, name="plain"), PLAIN)
    assert graphs_on_a_cpu == []
    graph = train(tiny_study(NAMES, DROPS, name="graph"), GRAPH)
    assert graphs_on_a_cpu == [PLAIN_STEPS] * 4 and len(graph) == len(NAMES)
    assert same_bits(graph, plain)


def test_a_number_in_a_captured_step_would_be_seen(
    roots: Path, packed: PackedImages, graphs_on_a_cpu: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above is strict: masks whose key is a number of the step that was captured are not the plain ones."""
    plain = train(tiny_study(["baseA"], name="plain"), PLAIN)
    run = FleetModule._run

    def with_numbers(self: FleetModule, *words: Any) -> Tensor:
        keys, self.keys = self.keys, None
        try:
            return run(self, *words)
        finally:
            self.keys = keys

    monkeypatch.setattr(FleetModule, "_run", with_numbers)
    graph = train(tiny_study(["baseA"], name="graph"), GRAPH)
    assert not same_bits(graph, plain)


def test_resuming_in_a_graph(
    roots: Path, packed: PackedImages, graphs_on_a_cpu: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after a checkpoint, the fleet goes on in its form: some plain steps, then it is captured anew."""
    undisturbed = train(tiny_study(["baseA"], DROPS, name="undisturbed"), GRAPH)
    study = tiny_study(["baseA"], DROPS)
    step = FleetModule.training_step
    with monkeypatch.context() as patch, pytest.raises(Killed):

        def killed(self: FleetModule, batch: Batch, index: int) -> None:
            step(self, batch, index)
            if self.step == 17:
                raise Killed

        patch.setattr(FleetModule, "training_step", killed)
        train(study, GRAPH)
    graphs_on_a_cpu.clear()
    assert same_bits(train(study, replace(PLAIN, form="graph")), undisturbed)
    assert graphs_on_a_cpu == [10 + PLAIN_STEPS]


def test_a_nan_in_a_graph_is_marked_and_touches_no_neighbour(
    roots: Path, packed: PackedImages, graphs_on_a_cpu: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["baseA", "A1A", "A2A"]
    healthy = train(tiny_study(names, name="healthy"), GRAPH)
    start = FleetModule.on_train_batch_start

    def poisoned(self: FleetModule, batch: Batch, index: int) -> None:
        start(self, batch, index)
        for network, layers in zip(self.fleet.networks, self.networks, strict=True):
            if network.short_name == "A2A" and self.step == 7:
                with torch.no_grad():
                    layers["fc4"].weight[0, 0] = math.nan  # type: ignore[index]

    monkeypatch.setattr(FleetModule, "on_train_batch_start", poisoned)
    study = tiny_study(names)
    found = train(study, GRAPH)
    assert same_bits(found, {name: healthy[name] for name in ("baseA", "A1A")})
    folder = study_folder("tiny")
    assert read_json(folder.result("random-0/A2A/seed-0"))["diverged_at"] == 7
    assert read_json(folder.result("random-0/A1A/seed-0"))["diverged_at"] is None


class Stream:
    """What CUDA asks of streams within a capture: who is waited for takes part in it, and all join its origin."""

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
    """Here without a GPU, against CUDA's rules as they are written down: each lane starts behind the origin's work
    so far, its networks run in it, and the origin goes on behind all of them."""
    study = tiny_study(["baseA", "A1A", "A2A", "A3A", "A1A+", "A2A+", "A3A+", "A1Ap1"])
    weights = {}
    for (name, layer), (_, spec) in zip(build(TINY, 6), TINY.layers, strict=True):
        draw(layer, spec, RECIPE.initialisation, "test", name)
        weights |= {f"{name}.{key}": value.detach() for key, value in layer.named_parameters()}
    fleet = Fleet(study.networks[1 : 1 + networks])
    module = FleetModule(study, fleet, 6, {"A": weights}, {"A": np.zeros((16, 16, 3), np.float32)}, "graph").train()
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
    batch = Batch(pixels, *(torch.arange(8) % 3 for _ in range(4)), torch.zeros(8, dtype=torch.bool))
    plain = module.losses(batch)
    assert ran == []
    module.lanes = Lanes(networks)
    beside = module.losses(batch)
    assert all(torch.equal(a, b) for a, b in zip(plain, beside, strict=True))
    assert len(ran) == networks and len(set(ran)) == min(networks, 4) and origin not in ran
    assert all(origin in stream.seen for stream in ran) and origin.seen >= set(ran)
    assert Stream.current == [origin]


# ---------------------------------------------------------------------------------------------- split, and choosing


def test_split_training_agrees_with_plain(roots: Path, packed: PackedImages) -> None:
    """Over 26 steps in float32: losses to 1e-4 of their value, each layer's weights to 1e-4 of their norm."""
    plain = train(tiny_study(NAMES, DROPS, name="plain"), PLAIN)
    split = train(tiny_study(NAMES, DROPS, name="split"), replace(PLAIN, form="split"))
    for name, (series, weights) in plain.items():
        for loss in ("train_loss", "val_loss"):
            np.testing.assert_allclose(split[name][0][loss], series[loss], rtol=1e-4)
        for key, value in weights.items():
            assert (split[name][1][key] - value).norm() <= 1e-4 * value.norm(), (name, key)
    found = read_json(study_folder("split").result("random-0/A1A/seed-0"))["provenance"]
    assert (found["form"], found["forms_tried"]) == ("split", {})


def kind_of(names: Sequence[str], precision: str = "float32") -> tuple[Study, FleetKind]:
    study = tiny_study(names, replace(RECIPE, batch=64, precision=precision))
    return study, FleetKind((fleets(study.networks)[-1],), 6)


CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_forms_are_measured_and_compared(roots: Path, packed: PackedImages, precision: str) -> None:
    """Here without a GPU: the split form agrees, the graph fails and says so, and neither ends the measurement."""
    study, kind = kind_of(["baseA", "A1A", "A3A+"], precision)
    images = sample(study, kind, CPU)
    measured = [measure(study, kind, precision, 64, CPU, images, form, Clock(12, 5)) for form in FORMS]
    plain, split, *graphs = (compared(measured[0], each) for each in measured)
    assert [each.form for each in measured] == list(FORMS)
    assert plain.why == split.why == "" and plain.seconds > 0 and split.seconds > 0
    assert len(split.losses) == 2 and len(split.norms) == len(plain.norms) > 10
    assert all(each.why.startswith("failed: ") and not each.seconds for each in graphs)
    assert fastest([plain, replace(split, seconds=plain.seconds / 2), *graphs]).form == "split"
    assert fastest([plain, replace(split, seconds=plain.seconds * 2), *graphs]).form == "plain"
    assert fastest([plain, replace(split, seconds=plain.seconds / 2, why="wrong"), *graphs]).form == "plain"


def test_a_form_that_computes_something_else_is_not_used(
    roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A convolution that forgets the gradient of its second group, though its values are right."""
    study, kind = kind_of(["baseA"])
    images = sample(study, kind, CPU)
    plain = measure(study, kind, "float32", 64, CPU, images, "plain", Clock(1, 1))
    chunk = Tensor.chunk

    def forgets(self: Tensor, *words: Any) -> Any:
        first, second = chunk(self, *words)
        return first, second.detach()

    monkeypatch.setattr(Tensor, "chunk", forgets)
    wrong = compared(plain, measure(study, kind, "float32", 64, CPU, images, "split", Clock(1, 1)))
    assert "norms are off by" in wrong.why
    monkeypatch.setattr(Tensor, "chunk", lambda self, *words: [2 * part for part in chunk(self, *words)])
    wrong = compared(plain, measure(study, kind, "float32", 64, CPU, images, "split", Clock(1, 1)))
    assert "losses are off by" in wrong.why


def test_networks_without_groups_have_no_split_form(roots: Path, packed: PackedImages) -> None:
    ungrouped = replace(TINY, layers=(("conv1", Conv(8, 3)), ("fc2", Linear(None))))
    study = tiny_study(["baseA"], architecture=ungrouped)
    kind = FleetKind(tuple(fleets(study.networks)), 6)
    assert [each.form for each in measure_forms(study, kind, "float32", 8, CPU, ("plain", "split"))] == ["plain"]


def test_a_started_fleet_keeps_its_form(roots: Path, packed: PackedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was tried, too; and a machine that cannot do it all takes the rest of it."""
    study = tiny_study(["baseA"])
    (fleet,) = fleets(study.networks)
    auto, split = replace(PLAIN, form="auto"), replace(PLAIN, form="split")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(FleetModule, "training_step", lambda self, *_: (_ for _ in ()).throw(Killed))
        train_fleet(study, fleet, split)
    file = study_folder("tiny").fleet(fleet.name) / "fleet.json"
    assert read_json(file)["form"] == ["split", {}, 0.0]
    tried = {"plain": 9.1, "split": 8.3, "graph": "failed: no", "split+graph": 4.2}
    for form, here in (("split+graph", "split"), ("graph", "plain"), ("split", "split")):
        assert choose_form(study, fleet, 6, auto, FormChoice(form, tried, 5e9)) == FormChoice(here, tried, 5e9)
    assert choose_form(study, fleet, 6, auto, None) == FormChoice("plain")
    train_fleet(study, fleet, auto)
    assert read_json(study_folder("tiny").result("random-0/baseA/seed-0"))["provenance"]["form"] == "split"


@pytest.mark.parametrize(
    ("form", "gpu", "processes", "words"),
    [
        ("fast", True, 1, "write auto, plain, split, graph or split\\+graph"),
        ("graph", False, 1, "only a GPU"),
        ("split+graph", True, 2, "on one GPU; for 2"),
    ],
)
def test_forms_that_cannot_be_are_refused(form: str, gpu: bool, processes: int, words: str) -> None:
    with pytest.raises(Refused, match=words):
        refuse_form(form, gpu, processes)
    for fits in ("auto", "plain", "split"):
        refuse_form(fits, gpu, processes)


def test_commands_refuse_a_form_before_anything_is_done(roots: Path, tmp_path: Path) -> None:
    file = tmp_path / "experiment.py"
    file.write_text(
        f"import sys; sys.path.insert(0, {str(HELPERS)!r})\n"
        "from tiny import tiny_study\nstudy = tiny_study(['baseA'])\n"
    )
    for words in (
        ("run", str(file), "--accelerator", "cpu", "--form", "graph"),
        ("train", str(file), "--fleet", "0", "--form", "fast"),
        ("submit", str(file), "--form", "graph", "--devices", "2"),
    ):
        found = CliRunner().invoke(app, words)
        assert isinstance(found.exception, Refused) and str(found.exception).startswith("--form ")
    assert not (roots / "runs").exists()


# ---------------------------------------------------------------------------------------------- on a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("form", FORMS[1:])
def test_each_form_agrees_with_plain_on_a_gpu(roots: Path, packed: PackedImages, form: str) -> None:
    gpu = Machine(accelerator="gpu", keep_weights=True)
    plain = train(tiny_study(NAMES, DROPS, name="plain"), replace(gpu, form="plain"))
    other = train(tiny_study(NAMES, DROPS, name="other"), replace(gpu, form=form))
    for name, (series, weights) in plain.items():
        np.testing.assert_allclose(other[name][0]["train_loss"], series["train_loss"], rtol=1e-3)
        for key, value in weights.items():
            assert (other[name][1][key] - value).norm() <= 1e-3 * value.norm(), (name, key)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_every_form_may_be_used_on_a_gpu(roots: Path, packed: PackedImages) -> None:
    study, kind = kind_of(["baseA", "A1A", "A3A+"])
    measured = measure_forms(study, kind, "float32", 64, torch.device("cuda", 0))
    assert {each.form: each.why for each in measured} == dict.fromkeys(FORMS, "")

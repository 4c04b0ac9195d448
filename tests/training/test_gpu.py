"""What training on a GPU needs: tested without one on tensors that have no values, and on a GPU where there is one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import RECIPE, TINY, grey, tiny_study
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from transferability.data.loader import Prefetched, resident
from transferability.data.stream import Batch, TaskImages, TrainingBatches
from transferability.networks.layers import LocalResponseNorm, build, draw_layer
from transferability.study import Fleet
from transferability.training.fleet import FleetModule, scale_momentum, set_rate

torch.set_num_threads(1)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
NAMES = ("A1A", "A3A", "B2A", "R2A", "A3A+", "B1Ap1")


def fleet_module() -> FleetModule:
    study = tiny_study(("baseA", "baseB", *NAMES))
    weights = {}
    for (name, layer), (_, spec) in zip(build(TINY, 6), TINY.layers, strict=True):
        draw_layer(layer, spec, RECIPE.initialisation, "test", name)  # type: ignore[arg-type]
        weights |= {f"{name}.{key}": value.detach() for key, value in layer.named_parameters()}
    fleet = Fleet(tuple(study.by_name[f"random-0/{name}/seed-0"] for name in NAMES))
    inputs = grey("AB")
    return FleetModule(study, fleet, 6, {"A": weights, "B": weights}, inputs)


class Moves(TorchDispatchMode):
    """Notes every operation that moves a tensor of one dimension or more from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, result))
        if len({leaf.device.type for leaf in leaves if isinstance(leaf, Tensor) and leaf.dim()}) > 1:
            self.operations.append(str(operation))
        return result


@contextmanager
def pretended_gpu() -> Iterator[tuple[FakeTensorMode, Moves]]:
    """Within, tensors on "cuda" have a shape, a type and a device, but no values: asking for one is an error."""
    mode, moves = FakeTensorMode(), Moves()
    with mode, moves:
        yield mode, moves


def to_pretended_gpu(module: FleetModule) -> None:
    """As `module.to("cuda")`, which keeps the parameters' identity; here the optimiser is given the new ones."""

    def moved(tensor: Tensor) -> Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")

    parameters: dict[Tensor, nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                parameters[parameter] = nn.Parameter(moved(parameter), parameter.requires_grad)
                part._parameters[name] = parameters[parameter]
        for name, buffer in list(part._buffers.items()):
            if buffer is not None:
                part._buffers[name] = moved(buffer)
    for tally in (module.training_tally, module.validation_tally, module.class_tally):
        tally.sums = moved(tally.sums)
    for group in module.optimiser.param_groups:
        group["params"] = [parameters[parameter] for parameter in group["params"]]


def pretended_batch() -> Batch:
    pixels = torch.empty(8, 14, 14, 3, dtype=torch.uint8, device="cuda").permute(0, 3, 1, 2)
    numbers = [torch.empty(8, dtype=torch.int64, device="cuda") for _ in range(4)]
    return Batch(pixels, *numbers, torch.empty(8, dtype=torch.bool, device="cuda"), torch.empty(8, 0, device="cuda"))


@pytest.mark.parametrize("autocast", [False, True])
def test_a_training_step_waits_for_nothing_on_the_device(autocast: bool) -> None:
    """Forward, losses, sums and divergence, a drop of the rate; and the one backward pass that is written here."""
    module = fleet_module().train()
    with pretended_gpu() as (_, moves):
        to_pretended_gpu(module)
        was_enabled = torch.is_autocast_enabled("cuda")
        torch.set_autocast_enabled("cuda", autocast)  # `torch.autocast` would look for a GPU
        try:
            losses, logits = module.losses(pretended_batch())
            module.tally(losses, logits, pretended_batch().labels)
            loss = losses.sum()
            module.validation_step(pretended_batch(), 0)
        finally:
            torch.set_autocast_enabled("cuda", was_enabled)
        assert loss.device.type == "cuda" and loss.dtype == torch.float32
        optimiser = module.configure_optimizers()
        trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        assert {id(parameter) for parameter in trained} == {id(parameter) for parameter in module.networks.parameters()}
        for parameter in trained:
            assert parameter.device.type == "cuda"
            optimiser.state[parameter]["momentum_buffer"] = torch.empty_like(parameter)
        set_rate(optimiser, 0.1)
        scale_momentum(optimiser, 10.0)
        x = torch.empty(2, 8, 5, 5, device="cuda", dtype=torch.bfloat16)

        class Saved:
            saved_tensors = (x.float(), x.float(), x.float())

        assert LocalResponseNorm.backward(Saved(), x).dtype == torch.bfloat16
    assert moves.operations == []


def test_the_pretended_gpu_notices_who_waits() -> None:
    with pretended_gpu() as (_, moves):
        x = torch.empty(3, device="cuda")
        for ask in (lambda: x.sum().item(), lambda: bool((x > 0).all()), lambda: x.tolist(), lambda: x[x > 0] + 0):
            with pytest.raises((DataDependentOutputException, RuntimeError)):
                ask()
        assert moves.operations == []
        x.cpu()
        assert len(moves.operations) == 1


# ---------------------------------------------------------------------------------------------- on a GPU


@needs_gpu
@pytest.mark.parametrize("form", ["prefetched", "resident"])
def test_batches_are_the_same_on_the_gpu(form: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), dtype=np.uint8)
    plain = TaskImages(images, np.arange(300), np.arange(300) % 7)
    device = torch.device("cuda", 0)
    held = resident(plain, device) if form == "resident" else replace(plain, pinned=True)
    expected = TrainingBatches(plain, RECIPE, "owner", 0, 200)
    for fast, slow in zip(Prefetched(replace(expected, images=held), device, 3), expected, strict=True):
        assert all(part.is_cuda for part in fast)
        assert all(torch.equal(a.cpu(), b) for a, b in zip(fast, slow, strict=True))


@needs_gpu
def test_a_step_on_the_gpu_waits_for_nothing_and_agrees_with_the_cpu() -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), dtype=np.uint8)
    batches = TrainingBatches(TaskImages(images, np.arange(300), np.arange(300) % 6), RECIPE, "owner", 0, 12)
    weights: list[list[Tensor]] = []
    for device in (torch.device("cpu"), torch.device("cuda", 0)):
        module = fleet_module().train().to(device)
        optimiser = module.configure_optimizers()
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for step, batch in enumerate(Prefetched(batches, device)):
                torch.cuda.set_sync_debug_mode("error" if step > 1 and device.type == "cuda" else "default")
                module.step = step
                set_rate(optimiser, RECIPE.rate_at(step))
                module.losses(batch)[0].sum().backward()
                optimiser.step()
                optimiser.zero_grad()
            torch.cuda.set_sync_debug_mode("default")
        weights.append([parameter.detach().cpu() for parameter in module.parameters()])
    for a, b in zip(*weights, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4)

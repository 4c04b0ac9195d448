"""Every fast path against the plain one (promise 9): losses and weights over a dozen steps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import RECIPE, tiny_study, write_tiny
from trained import train

from transferability.data.packed import PackedImages
from transferability.data.stream import ImagesModule, ResidentImages
from transferability.runs.machine import Machine
from transferability.study import Study
from transferability.training import train as training
from transferability.training.checkpoint import read_checkpoint
from transferability.training.device import gpu_arithmetic
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

PLAIN = Machine(accelerator="cpu", keep_weights=True)
NAMES = ("baseA", "A1A", "A3A", "A2A+", "R2A")
Outcome = tuple[list[float], dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackedImages]:
    root = tmp_path_factory.mktemp("fast")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERABILITY_DATA", str(root / "data"))
        patch.setenv("TRANSFERABILITY_RUNS", str(root / "runs"))
        yield write_tiny(root / "data" / "tiny")


def outcomes(study: Study, machine: Machine) -> dict[str, Outcome]:
    """(training and validation losses, weights) of each network."""
    found = train(study, machine).items()
    return {name: ([*series["train_loss"], *series["val_loss"]], weights) for name, (series, weights) in found}


@pytest.fixture(scope="module")
def plain(packed: PackedImages) -> dict[str, Outcome]:
    return outcomes(tiny_study(NAMES), PLAIN)


def test_pictures_in_device_memory_give_the_same_bits(
    packed: PackedImages, plain: dict[str, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    loader = ImagesModule.train_dataloader
    monkeypatch.setattr(
        ImagesModule,
        "train_dataloader",
        lambda self: seen.append(isinstance(self.training, ResidentImages)) or loader(self),
    )
    fast = outcomes(tiny_study(NAMES, name="resident"), replace(PLAIN, resident="yes"))
    assert seen and all(seen)
    for name, (losses, weights) in plain.items():
        assert fast[name][0] == losses
        assert all(torch.equal(fast[name][1][key], value) for key, value in weights.items())


def test_bfloat16_learns_as_float32_does_and_keeps_its_weights_in_float32(
    packed: PackedImages, plain: dict[str, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Autocast: losses to 2 %, weights (their whole vector) to five roundings; what is kept is in float32."""
    kinds = set()

    def looks(file: Path) -> None:
        checkpoint = read_checkpoint(file)
        kinds.update(value.dtype for part in ("weights", "momentum") for value in checkpoint[part].values())

    validated = training.Keeper.on_validation_end

    def on_validation_end(self: training.Keeper, trainer: object, module: object) -> None:
        validated(self, trainer, module)  # type: ignore[arg-type]
        looks(self.place / "checkpoint.pt")

    monkeypatch.setattr(training.Keeper, "on_validation_end", on_validation_end)
    fast = outcomes(tiny_study(NAMES, replace(RECIPE, precision="bfloat16"), name="low"), PLAIN)
    assert kinds == {torch.float32}
    for name, (losses, weights) in plain.items():
        np.testing.assert_allclose(fast[name][0], losses, rtol=0.02)
        assert {value.dtype for value in fast[name][1].values()} == {torch.float32}
        whole, other = (torch.cat([each[key].flatten() for key in weights]) for each in (weights, fast[name][1]))
        distance = float((other - whole).norm() / whole.norm())
        assert 1e-5 < distance < 5 * 2**-8, (name, distance)  # not 0: it did compute in bfloat16


def test_float32_is_float32_on_a_gpu_too() -> None:
    def state() -> tuple[bool, bool, str]:
        cudnn = torch.backends.cudnn
        return cudnn.allow_tf32, cudnn.benchmark, torch.get_float32_matmul_precision()  # type: ignore[return-value]

    before = state()
    with pytest.raises(KeyError), gpu_arithmetic():
        assert state() == (False, True, "highest")
        raise KeyError
    assert state() == before

"""Every fast path against the plain one (promise 9): losses and weights over a dozen steps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from comparing import Outcome
from lightning import Trainer
from tiny import RECIPE, tiny_study, write_tiny
from trained import PLAIN, trained

from transferability.data.loader import ImagesModule
from transferability.data.packed import PackedImages
from transferability.data.stream import ResidentImages
from transferability.training.checkpoint import CheckpointCallback, read_checkpoint
from transferability.training.device import gpu_arithmetic
from transferability.training.fleet import FleetModule
from transferability.training.trainer import quiet

torch.set_num_threads(1)
quiet()

NAMES = ("baseA", "A1A", "A3A", "A2A+", "R2A")


@pytest.fixture(scope="module")
def packed(module_roots: Path) -> PackedImages:
    return write_tiny(module_roots / "data" / "tiny")


@pytest.fixture(scope="module")
def plain(packed: PackedImages) -> dict[str, Outcome]:
    return trained(tiny_study(NAMES))


def test_images_in_device_memory_give_the_same_bits(
    packed: PackedImages, plain: dict[str, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    are_resident = []
    original = ImagesModule.train_dataloader
    monkeypatch.setattr(
        ImagesModule,
        "train_dataloader",
        lambda self: are_resident.append(isinstance(self.training, ResidentImages)) or original(self),
    )
    fast = trained(tiny_study(NAMES, name="resident"), replace(PLAIN, resident="yes"))
    assert are_resident and all(are_resident)
    assert fast == plain


def test_bfloat16_learns_as_float32_does_and_keeps_its_weights_in_float32(
    packed: PackedImages, plain: dict[str, Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Autocast: losses to 2 %, weights (their whole vector) to five roundings; checkpoints and weights in float32."""
    dtypes = set()
    original = CheckpointCallback.on_validation_end

    def on_validation_end(self: CheckpointCallback, trainer: Trainer, module: FleetModule) -> None:
        original(self, trainer, module)
        checkpoint = read_checkpoint(self.folder.checkpoint)
        states = [checkpoint["weights"], *checkpoint["optimiser"].values()]
        dtypes.update(value.dtype for state in states for value in state.values())

    monkeypatch.setattr(CheckpointCallback, "on_validation_end", on_validation_end)
    fast = trained(tiny_study(NAMES, replace(RECIPE, precision="bfloat16"), name="low"))
    assert dtypes == {torch.float32}
    for name, outcome in plain.items():
        for loss in ("train_loss", "val_loss"):
            np.testing.assert_allclose(fast[name].series[loss], outcome.series[loss], rtol=0.02)
        high, low = outcome.weights, fast[name].weights
        assert {value.dtype for value in low.values()} == {torch.float32}
        whole, other = (torch.cat([weights[key].flatten() for key in high]) for weights in (high, low))
        distance = float((other - whole).norm() / whole.norm())
        assert 1e-5 < distance < 5 * 2**-8, (name, distance)  # not 0: it did compute in bfloat16


def test_float32_is_float32_on_a_gpu_too() -> None:
    def state() -> tuple[bool, bool, str]:
        cudnn = torch.backends.cudnn
        return cudnn.allow_tf32, cudnn.benchmark, torch.get_float32_matmul_precision()  # type: ignore[return-value]

    default = state()
    with pytest.raises(KeyError), gpu_arithmetic():
        assert state() == (False, True, "highest")
        raise KeyError
    assert state() == default

"""Training in this process that is disturbed on purpose: it ends in the middle of a step, or a weight becomes NaN."""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from transferability.training.fleet import FleetModule


class Killed(BaseException):
    """Ends training where it is: nothing is cleaned up that a kill would not clean up."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Raises Killed before step `step` of any fleet."""
    original = FleetModule.training_step

    def training_step(self: FleetModule, batch: Any, index: int) -> None:
        if self.step == step:
            raise Killed
        original(self, batch, index)

    monkeypatch.setattr(FleetModule, "training_step", training_step)


@contextmanager
def killed_at(step: int) -> Iterator[None]:
    """What is trained inside is killed before step `step`; it must come so far."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, step)
        yield


def poison(monkeypatch: pytest.MonkeyPatch, names: Collection[str], step: int) -> None:
    """Makes one weight of the networks of these short names NaN just before a step."""
    original = FleetModule.training_step

    def training_step(self: FleetModule, batch: Any, index: int) -> None:
        for network, layers in zip(self.fleet.networks, self.networks, strict=True):
            if network.short_name in names and self.step == step:
                with torch.no_grad():
                    layers["fc4"].weight[0, 0] = math.nan  # type: ignore[index]
        original(self, batch, index)

    monkeypatch.setattr(FleetModule, "training_step", training_step)

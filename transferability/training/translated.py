"""The training step of networks on translated images (`Translated`): translators first, then the networks.

Networks of a fleet share their translators, as they share frozen layers: the first weights are drawn for the owner of
the stream of images, so that they are the same for each network alone.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transferability.data.stream import Batch, FleetImages
from transferability.training.fleet import FleetModule
from transferability.training.graph import Lanes
from transferability.training.translation import Translators, Views, as_input, first_images, sheet
from transferability.translated import Translated


class TranslatedModule(FleetModule):
    """Batches hold labelled images of A and then as many of B, whose labels are -1 (`DomainBatches`).

    In the series, the training loss of the first phase is the translators', and there is no training accuracy.
    """

    recipe: Translated

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.translators = Translators(self.recipe, self.fleet.stream)
        self.adam = torch.optim.Adam(self.translators.parameters(), lr=0.0, betas=(0.5, 0.999))

    @property
    def translates(self) -> bool:
        """Whether the translators are trained in the current step."""
        return self.step < self.recipe.translator_steps

    # ------------------------------------------------------------------------------------------ one step

    def losses(self, batch: Batch, lanes: Lanes | None = None) -> tuple[Tensor, Tensor]:
        """In training: of A's images, translated."""
        if not self.training:
            return super().losses(batch, lanes)
        labelled = Batch(*(part[: len(part) // 2] for part in batch))
        if self.recipe.translator_steps:
            labelled = labelled._replace(pixels=self.translators.translated(labelled.pixels))
        losses, logits = super().losses(labelled, lanes)
        return self._with_all(losses, self.translators), logits

    def update(self, batch: Batch, lanes: Lanes | None = None) -> tuple[Tensor, Tensor]:
        if not self.translates:
            return super().update(batch, lanes)
        for group in self.adam.param_groups:
            group["lr"] = self.recipe.rate_at(self.step)
        self.adam.zero_grad()
        x, half = as_input(batch.pixels), len(batch.labels) // 2
        loss = self.translators.loss(x[:half], x[half:])
        with torch.autocast(self.device.type, enabled=False):
            self.manual_backward(self._with_all(loss, self.networks))
        self.adam.step()
        count = len(self.networks)
        return loss.detach().float().expand(count), x.new_empty(count, 0, self.classes)

    def _with_all(self, loss: Tensor, others: torch.nn.Module) -> Tensor:
        """The loss; where several processes wait for the gradients of all parameters, these have one, of zeros."""
        if not self.several:
            return loss
        return loss + 0 * torch.stack([parameter.sum() for parameter in others.parameters()]).sum()

    @torch.no_grad()
    def tally(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """labels: of the whole batch, labelled images first."""
        if self.step == self.recipe.translator_steps:
            self.training_tally.reset()  # what follows is the networks'
        super().tally(losses, logits, labels[: logits.shape[1]])
        if self.translates:
            images = torch.full_like(losses, len(labels) // 2, dtype=torch.float64)
            nothing = torch.full_like(images, torch.nan)
            self.training_tally.sums += torch.stack([images, losses * images, nothing, nothing], 1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        for state in self.adam.state.values():
            for name, value in state.items():
                state[name] = value.to(self.device) if name != "step" else value
        return super().configure_optimizers()

    # ------------------------------------------------------------------------------------------ contact sheet

    def prepare(self, images: FleetImages) -> None:
        """Keeps the images that are shown before and after."""
        super().prepare(images)
        self.shown = first_images(images, self.recipe.crop)

    def pictures(self, index: int) -> dict[str, np.ndarray]:
        """The same of all networks, whose translators they share."""
        of_a, of_b = self.shown
        of_a = of_a.to(self.device)
        return sheet(self.translators.views(of_a) if self.recipe.translator_steps else Views(of_a, of_a, of_a), of_b)

    # ------------------------------------------------------------------------------------------ checkpoints

    def checkpoint(self) -> dict[str, Any]:
        translators = {name: value.detach() for name, value in self.translators.named_parameters()}
        return super().checkpoint() | {"translators": translators, "adam": self.adam.state_dict()["state"]}

    @torch.no_grad()
    def restore(self, checkpoint: Mapping[str, Any], first: bool = True) -> None:
        super().restore(checkpoint, first)
        for name, value in self.translators.named_parameters():
            value.copy_(checkpoint["translators"][name])
        self.adam.load_state_dict(self.adam.state_dict() | {"state": checkpoint["adam"]})

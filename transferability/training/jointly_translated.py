"""The training step of networks whose features of layer n are decoded into images of either domain.

Each network (`JointlyTranslated`) has decoders and critics of its own: one more part among its own layers, beside the
domain classifier.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferability.data.stream import Batch, FleetImages
from transferability.jointly_translated import JointlyTranslated
from transferability.study import Network
from transferability.training.domains import AdversarialModule
from transferability.training.fleet import Weights
from transferability.training.translation import (
    Decoders,
    Views,
    as_input,
    as_pixels,
    critic_losses,
    first_images,
    sheet,
)

DECODERS = "decoders and critics"  # their place among a network's own layers; no layer has such a name


class JointlyTranslatedModule(AdversarialModule):
    """DANN, and losses of images that are decoded out of the features of layer n (`JointlyTranslated`).

    Images are decoded as they are packed, from -1 to 1: what was mirrored for the network is turned back.
    """

    recipe: JointlyTranslated

    def _own_layers(self, network: Network, sources: Mapping[str, Weights]) -> nn.ModuleDict:
        own = super()._own_layers(network, sources)
        own[DECODERS] = Decoders(self.shape_of_features(network), self.recipe.width, self.recipe.crop, network.name)
        return own

    def beside_labels(self, index: int, features: Tensor, batch: Batch) -> Tensor:
        """(): of value 0; its gradient is that of the images' losses and of their critics' own."""
        recipe, half = self.recipe, len(batch.labels) // 2
        decoders: Any = self.networks[index][DECODERS]  # type: ignore[index]
        looks, crossed = (decoders.look_a, decoders.look_b), (decoders.look_b, decoders.look_a)
        images, common = as_input(batch.pixels), decoders(features)
        rebuilt, translated = (_decoded(pair, common, batch.mirror) for pair in (looks, crossed))
        again = self._encoded(index, translated, batch)
        back = _decoded(looks, decoders(again), batch.mirror)
        logits = self._classified(index, again[:half], batch.rows[:half])
        misled_b, told_b = critic_losses(decoders.critic_b, images[half:], translated[:half])
        misled_a, told_a = critic_losses(decoders.critic_a, images[:half], translated[half:])
        loss = (
            2 * recipe.rebuilding * F.l1_loss(rebuilt, images)  # a mean over each domain's images
            + 2 * recipe.cycle * F.l1_loss(back, images)
            + recipe.misleading * (misled_a + misled_b)
            + recipe.translated_labels * self.loss(logits, batch.labels[:half])
            + (told_a + told_b)
        )
        return loss - loss.detach()

    def _encoded(self, index: int, images: Tensor, batch: Batch) -> Tensor:
        """Features of layer n of images from -1 to 1, seen as those of the batch are, in whose places they are."""
        x = self._inputs(batch._replace(pixels=(images + 1) * 127.5))
        return self._through(index, slice(self.fleet.networks[index].treatment.n), x, batch.rows)

    # ------------------------------------------------------------------------------------------ contact sheet

    def prepare(self, images: FleetImages) -> None:
        """Keeps the images that are shown before and after."""
        super().prepare(images)
        self.shown = first_images(images, self.recipe.crop)
        self.places_shown = (images.training.size - self.recipe.crop) // 2

    @torch.no_grad()
    def pictures(self, index: int) -> dict[str, np.ndarray]:
        """Of one network; as it is judged, without dropout."""
        self.eval()
        of_a, of_b = (part.to(self.device) for part in self.shown)
        decoders: Any = self.networks[index][DECODERS]  # type: ignore[index]
        zeros = torch.zeros(len(of_a), dtype=torch.int64, device=self.device)
        places = zeros + self.places_shown
        batch = Batch(of_a, zeros, zeros, places, places, zeros.bool(), of_a.new_empty(len(of_a), 0))
        features = self._encoded(index, as_input(of_a), batch)
        after = decoders.look_b(decoders(features))
        back = decoders.look_a(decoders(self._encoded(index, after, batch)))
        return sheet(Views(of_a, as_pixels(after), as_pixels(back)), of_b)


def _decoded(looks: tuple[nn.Module, nn.Module], common: Tensor, mirror: Tensor) -> Tensor:
    """Images of both halves of a batch, each in its look; turned back where the network saw them mirrored."""
    images = torch.cat([look(half) for look, half in zip(looks, common.chunk(2), strict=True)])
    return torch.where(mirror[:, None, None, None], images.flip(3), images)

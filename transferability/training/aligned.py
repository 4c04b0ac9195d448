"""The module of classifiers on aligned features (`Aligned`): fitted before the one validation, trained in no step."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferability.aligned import Aligned
from transferability.data.stream import Batch, FleetImages, TaskImages, ValidationBatches
from transferability.study import Network
from transferability.training.fleet import FleetModule, as_autocast
from transferability.training.graph import Lanes
from transferability.training.subspace import Subspaces, aligned_subspaces

MOST_NUMBERS = 4096  # of each image


class AlignedModule(FleetModule):
    """Networks that share the frozen first layers of a source, each with its subspaces and its classifier."""

    recipe: Aligned

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.classifiers: list[tuple[Subspaces, Any]] = []  # and of scikit-learn

    def _own_layers(self, network: Network, sources: Any) -> nn.ModuleDict:
        return nn.ModuleDict()  # there is none above layer n

    def _weights(self, index: int) -> dict[str, Tensor]:
        raise NotImplementedError  # no network: a classifier on features

    def prepare(self, images: FleetImages) -> None:
        super().prepare(images)
        assert images.beside is not None
        from sklearn.linear_model import LogisticRegression  # not needed for other recipes
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        of_source, of_target = (self._vectors(part) for part in (images.training, images.beside))
        for source, target in zip(of_source, of_target, strict=True):
            space = aligned_subspaces(source, target, self.recipe.dimensions)
            space = space if self.recipe.subspace == "aligned" else space.without_adaptation()
            classifier = make_pipeline(StandardScaler(), LogisticRegression(C=self.recipe.penalty, max_iter=1000))
            self.classifiers.append((space, classifier.fit(space.of_source(source), images.training.labels)))

    @torch.no_grad()
    def _vectors(self, images: TaskImages) -> list[np.ndarray]:
        """(images, numbers) float32 of each network: its features of layer n, of central crops in evaluation mode."""
        self.eval()
        parts = [list(self._pooled(batch)) for batch in ValidationBatches(images, self.recipe.crop)]
        self.train()
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _pooled(self, batch: Batch) -> Iterator[np.ndarray]:
        source = self.fleet.labelled
        features = self.features(batch, {source: as_autocast(self.normalised(batch, source))})
        for network in self.fleet.networks:
            x = features[source, network.treatment.n].float()
            if x.ndim == 4:
                side = max(1, min(x.shape[-1], math.isqrt(MOST_NUMBERS // x.shape[1])))
                x = F.adaptive_avg_pool2d(x, side)
            yield x.flatten(1).cpu().numpy()

    def forward(self, batch: Batch, lanes: Lanes | None = None) -> list[Tensor]:
        """The scores (b, classes) of each network's classifier, in the fleet's order."""
        scores = []
        for (space, classifier), vectors in zip(self.classifiers, self._pooled(batch), strict=True):
            own = torch.from_numpy(classifier.decision_function(space.of_target(vectors))).float()
            # Of two classes scikit-learn gives one score, the second's above the first's.
            scores.append((own if own.ndim == 2 else torch.stack([torch.zeros_like(own), own], 1)).to(self.device))
        return scores

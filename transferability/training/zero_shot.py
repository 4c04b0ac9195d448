"""The module of networks that recognise classes never seen (`ZeroShot`): a map on the frozen first layers of a source.

Labels of training images are of the seen classes, those of validation images of the unseen; nothing of the unseen is
read in training but what the table says of them, and that in validation alone.
"""

from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferability.data.stream import Batch
from transferability.networks.dense import Dense
from transferability.networks.facts import layer_facts
from transferability.networks.layers import build
from transferability.study import Fleet, Network, Study
from transferability.training.fleet import ClassTally, FleetModule, as_autocast, mean_over_classes
from transferability.training.graph import Lanes
from transferability.training.losses import hits
from transferability.zero_shot import ZeroShot

MAP = "map"


class Described(NamedTuple):
    """What a table says of classes. seen, unseen: (classes, numbers) float32. outputs: of the source's base."""

    seen: np.ndarray
    unseen: np.ndarray
    outputs: int


class AttributeMap(nn.Module):
    """A logistic unit for each attribute that varies among the seen classes (direct attribute prediction)."""

    dropout = 0.0

    def __init__(self, features: int, seen: Tensor, owner: str) -> None:
        super().__init__()
        varies = (seen != seen[0]).any(0)
        self.register_buffer("varies", varies, persistent=False)
        self.varies: Tensor
        self.register_buffer("prior", seen[:, varies].double().mean(0), persistent=False)
        self.prior: Tensor
        self.units = Dense((features, int(varies.sum())), owner, MAP)

    def loss(self, features: Tensor, described: Tensor) -> tuple[Tensor, Tensor]:
        """(): the sum over attributes of their logistic losses, a mean over images; and the units' output.

        described: (b, numbers), of each image's class.
        """
        units = self.units(features)
        losses = F.binary_cross_entropy_with_logits(units, described[:, self.varies], reduction="none")
        return losses.sum(1).mean(), units

    def scores(self, units: Tensor, described: Tensor) -> Tensor:
        """(b, classes): log of the product over attributes of p(a | x) / p(a), a being what the class has (equation 4).

        p(a) is the share of the seen classes that have it.
        """
        wanted = described[:, self.varies].double()
        present, absent = F.logsigmoid(units.double()), F.logsigmoid(-units.double())
        known = torch.where(wanted > 0, self.prior.log(), (1 - self.prior).log()).sum(1)
        return (present @ wanted.T + absent @ (1 - wanted).T - known).float()


class EmbeddingMap(nn.Module):
    """The product of what a map makes of the features, and of a class's embedding, of length 1."""

    dropout = 0.0

    def __init__(self, features: int, numbers: int, recipe: ZeroShot, owner: str) -> None:
        super().__init__()
        inner = recipe.class_hidden[-1] if recipe.class_hidden else numbers
        self.of_images = Dense((features, *recipe.hidden, inner), owner, MAP)
        sizes = (numbers, *recipe.class_hidden)
        self.of_classes = Dense(sizes, owner, f"{MAP} of classes") if recipe.class_hidden else nn.Identity()

    def scores(self, units: Tensor, described: Tensor) -> Tensor:
        """(b, classes). units: (b, inner), of images."""
        embedded: Tensor = self.of_classes(F.normalize(described))
        return units @ embedded.T


class ZeroShotModule(FleetModule):
    """Networks that share the frozen first layers of a source, each with a map of its own."""

    recipe: ZeroShot

    def __init__(self, study: Study, fleet: Fleet, described: Described, *arguments: Any) -> None:
        self._described = described
        super().__init__(study, fleet, len(described.unseen), *arguments)
        for name in ("seen", "unseen"):
            self.register_buffer(name, torch.from_numpy(getattr(described, name)))
        self.seen: Tensor
        self.unseen: Tensor
        # Where an image may be of any class: those of the source, of the target.
        self.any_seen = ClassTally(len(fleet.networks), len(described.seen))
        self.any_unseen = ClassTally(len(fleet.networks), len(described.unseen))

    def _layers(self) -> Any:
        return build(self.architecture, self._described.outputs)

    def _own_layers(self, network: Network, sources: Any) -> nn.ModuleDict:
        n, described = network.treatment.n, self._described
        shapes = [layer.shape for layer in layer_facts(self.architecture, described.outputs)]
        features = prod(shapes[n - 1]) if n else 3 * self.recipe.crop**2
        if self.recipe.by == "attributes":
            return nn.ModuleDict({MAP: AttributeMap(features, torch.from_numpy(described.seen), network.name)})
        return nn.ModuleDict({MAP: EmbeddingMap(features, described.seen.shape[1], self.recipe, network.name)})

    def _weights(self, index: int) -> dict[str, Tensor]:
        raise NotImplementedError  # no network: a map on features

    # ------------------------------------------------------------------------------------------ one step

    def _features(self, batch: Batch) -> list[Tensor]:
        """Of each network: the output of its layer n; for n = 0 the pixels."""
        source = self.fleet.labelled
        inputs = {source: as_autocast(self.normalised(batch, source))}
        outputs = self.features(batch, inputs)
        ns = [network.treatment.n for network in self.fleet.networks]
        return [outputs[source, n] if n else inputs[source] for n in ns]

    def losses(self, batch: Batch, lanes: Lanes | None = None) -> tuple[Tensor, Tensor]:
        """In training: (networks,), and the scores of the seen classes, (networks, b, classes), without gradient."""
        losses, scores = [], []
        for layers, x in zip(self.networks, self._features(batch), strict=True):
            own = layers[MAP]  # type: ignore[index]
            if isinstance(own, AttributeMap):
                loss, units = own.loss(x, self.seen[batch.labels])
                known = own.scores(units.detach(), self.seen)
            else:
                known = own.scores(own.of_images(x), self.seen)
                loss = self.loss(known, batch.labels)
            losses.append(loss)
            scores.append(known)
        return torch.stack(losses), torch.stack(scores).detach()

    @torch.no_grad()
    def validation_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> None:
        """dataloader_idx: 0 for images of unseen classes, 1 for validation images of the seen ones."""
        either = torch.cat([self.seen, self.unseen])
        scores = []
        for layers, x in zip(self.networks, self._features(batch), strict=True):
            own: Any = layers[MAP]  # type: ignore[index]
            units = own.units(x) if isinstance(own, AttributeMap) else own.of_images(x)
            scores.append(own.scores(units, either))
        of_any, count = torch.stack(scores), len(self.seen)
        best = of_any.argmax(2)
        if dataloader_idx:
            self.any_seen.update(best == batch.labels, batch.labels)
            return
        self.any_unseen.update(best == batch.labels + count, batch.labels)
        alone = of_any[..., count:]
        losses = torch.stack([F.cross_entropy(scores, batch.labels) for scores in alone])
        self.validation_tally.update(losses, alone, batch.labels)
        self.class_tally.update(hits(alone, batch.labels, 1)[0], batch.labels)

    def _other_measures(self) -> dict[str, list[Any]]:
        by_class = self.class_tally.compute()
        seen, unseen = (mean_over_classes(tally.compute()) for tally in (self.any_seen, self.any_unseen))
        self.any_seen.reset()
        self.any_unseen.reset()
        harmonic = torch.nan_to_num(2 * seen * unseen / (seen + unseen))
        own = {"val_seen": seen, "val_unseen": unseen, "val_harmonic": harmonic, "val_by_class": by_class}
        return super()._other_measures() | {name: values.tolist() for name, values in own.items()}

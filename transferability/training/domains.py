"""The training step of networks that make two domains alike: DANN (`Adversarial`) and ADDA (`Adda`).

A batch holds labelled images of one domain and then as many of the other, whose labels are -1 (`DomainBatches`). Each
network has a domain classifier of its own on the features of its layer n: one more part among its own layers, with
addressed initial weights, trained at the recipe's rate. It learns that 1 is the labelled domain and 0 the other.
"""

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from transferability.adda import Adda
from transferability.adversarial import Adversarial
from transferability.data.stream import Batch
from transferability.networks.dense import Dense
from transferability.networks.facts import layer_facts
from transferability.study import Network
from transferability.training.fleet import FleetModule, Weights, as_autocast
from transferability.training.graph import Lanes

CRITIC = "domain classifier"  # its place among a network's own layers; no layer has such a name


class Reversal(torch.autograd.Function):
    """The identity, whose gradient is multiplied by -weight (Ganin and Lempitsky 2015, equations 9 and 10)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.weight * gradient, None


class DomainClassifier(Dense):
    """(b, …) features → (b,) scores, float32: above 0 for the labelled domain."""

    def __init__(self, features: int, hidden: tuple[int, ...], owner: str) -> None:
        super().__init__((features, *hidden, 1), owner, CRITIC)

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features).squeeze(1)


class DomainTally(Metric):
    """Of each network's domain classifier: images, loss and hits, summed. (networks, 3) float64."""

    full_state_update = False
    sums: Tensor

    def __init__(self, networks: int) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(networks, 3, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, losses: Tensor, scores: Tensor) -> None:
        """losses: (networks,) means over the images. scores: (networks, images), the labelled half first."""
        half = scores.shape[1] // 2
        right = torch.cat([scores[:, :half] > 0, scores[:, half:] < 0], 1).sum(1, dtype=torch.float64)
        count = torch.full_like(right, 2 * half)
        self.sums += torch.stack([count, losses * count, right], 1)

    def compute(self) -> Tensor:
        """(networks, 2): mean loss, accuracy."""
        return self.sums[:, 1:] / self.sums[:, :1]


def domain_loss(scores: Tensor) -> Tensor:
    """(): the logistic loss of a domain classifier. scores: (2 h,), those of h labelled images first."""
    half = len(scores) // 2
    return F.binary_cross_entropy_with_logits(scores, torch.cat([scores.new_ones(half), scores.new_zeros(half)]))


class Step(NamedTuple):
    """What a training step computes of one network, of h labelled images and as many others.

    loss: (), what its own layers learn by. logits: (h, classes), of labelled images; None where no label is read.
    scores: (2 h,), of its domain classifier.
    """

    loss: Tensor
    logits: Tensor | None
    scores: Tensor


class DomainModule(FleetModule):
    """What both methods have in common: domain classifiers, and what they are measured by."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.domain_tally = DomainTally(len(self.fleet.networks))

    def _own_layers(self, network: Network, sources: Mapping[str, Weights]) -> nn.ModuleDict:
        own = super()._own_layers(network, sources)
        assert isinstance(self.recipe, (Adversarial, Adda))
        own[CRITIC] = DomainClassifier(prod(self.shape_of_features(network)), self.recipe.hidden, network.name)
        return own

    def shape_of_features(self, network: Network) -> tuple[int, ...]:
        """The shape of what its layer n puts out, of one image."""
        return layer_facts(self.architecture, self.classes)[network.treatment.n - 1].shape

    def _inputs(self, batch: Batch) -> Tensor:
        """(b, 3, c, c): images of either domain, as the networks of the labelled one see images."""
        return as_autocast(self.normalised(batch, self.fleet.labelled))

    def _through(self, index: int, layers: slice, x: Tensor, rows: Tensor) -> Tensor:
        """What some layers of network number `index` make of `x`, their input. rows: places in the global batch."""
        own = list(self.networks[index].items())[: self.architecture.depth]  # type: ignore[operator]
        for name, layer in own[layers]:
            x = self._layer_output(name, layer, x, rows, self.fleet.networks[index].name)
        return x

    def forward(self, batch: Batch, lanes: Lanes | None = None) -> list[Tensor]:
        """The logits (b, classes) of each network, in the fleet's order."""
        x = self._inputs(batch)
        return [self._through(index, slice(None), x, batch.rows).float() for index in range(len(self.networks))]

    def steps(self, batch: Batch) -> list[Step]:
        """Of each network."""
        raise NotImplementedError

    def losses(self, batch: Batch, lanes: Lanes | None = None) -> tuple[Tensor, Tensor]:
        """In training: (networks,) what their own layers learn by, whose gradient is the domain classifiers' too.

        And the logits of labelled images, (networks, h, classes); of none, (networks, 0, classes).
        """
        if not self.training:
            return super().losses(batch, lanes)
        steps = self.steps(batch)
        of_domains = [domain_loss(step.scores) for step in steps]
        scores = torch.stack([step.scores for step in steps])
        self.domain_tally.update(torch.stack(of_domains).detach(), scores.detach())
        # The value is the network's own, to the bit; where a domain classifier's is no number, neither is it.
        losses = [step.loss + (loss - loss.detach()) for step, loss in zip(steps, of_domains, strict=True)]
        none = scores.new_empty(0, self.classes)
        logits = [none if step.logits is None else step.logits for step in steps]
        return torch.stack(losses), torch.stack(logits).detach()

    @torch.no_grad()
    def tally(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """labels: of the whole batch, labelled images first."""
        super().tally(losses, logits, labels[: logits.shape[1]])

    def _other_measures(self) -> dict[str, list[float]]:
        losses, accuracies = self.domain_tally.compute().T.tolist()
        self.domain_tally.reset()
        return super()._other_measures() | {"domain_loss": losses, "domain_top1": accuracies}

    def checkpoint(self) -> dict[str, Any]:
        return super().checkpoint() | {"domain_sums": self._summed(self.domain_tally.sums)}

    @torch.no_grad()
    def restore(self, checkpoint: Mapping[str, Any], first: bool = True) -> None:
        super().restore(checkpoint, first)
        if first:  # they are the sums of all processes
            self.domain_tally.sums.copy_(checkpoint["domain_sums"])


class AdversarialModule(DomainModule):
    """DANN: the loss on labels, and the domain classifier's, whose gradient is reversed below it."""

    recipe: Adversarial

    def steps(self, batch: Batch) -> list[Step]:
        x, half, weight = self._inputs(batch), len(batch.labels) // 2, self.recipe.weight_at(self.step)
        steps = []
        for index, (network, layers) in enumerate(zip(self.fleet.networks, self.networks, strict=True)):
            n = network.treatment.n
            features = self._through(index, slice(n), x, batch.rows)
            logits = self._classified(index, features[:half], batch.rows[:half])
            scores = layers[CRITIC](Reversal.apply(features, weight))  # type: ignore[index]
            loss = self.loss(logits, batch.labels[:half]) + self.beside_labels(index, features, batch)
            steps.append(Step(loss, logits, scores))
        return steps

    def _classified(self, index: int, features: Tensor, rows: Tensor) -> Tensor:
        """(b, classes): logits of network number `index`, of features of its layer n."""
        n = self.fleet.networks[index].treatment.n
        return self._through(index, slice(n, None), features, rows).float()

    def beside_labels(self, index: int, features: Tensor, batch: Batch) -> Tensor | float:
        """(): what else network number `index` learns by; its value is 0. features: of its layer n."""
        return 0.0


class AddaModule(DomainModule):
    """ADDA's second phase: the copy of the first n layers learns by inverted labels; no label of a class is read.

    The training loss in the series is the copy's; there is no training accuracy.
    """

    recipe: Adda

    def steps(self, batch: Batch) -> list[Step]:
        half, source = len(batch.labels) // 2, self.fleet.labelled
        labelled, others = (Batch(*(part[rows] for part in batch)) for rows in (slice(half), slice(half, None)))
        references = self.features(labelled, {source: self._inputs(labelled)})
        x, steps = self._inputs(others), []
        for index, (network, layers) in enumerate(zip(self.fleet.networks, self.networks, strict=True)):
            n, critic = network.treatment.n, layers[CRITIC]  # type: ignore[index]
            features = self._through(index, slice(n), x, others.rows)
            scores = critic(torch.cat([references[source, n], features.detach()]))
            constant = {name: parameter.detach() for name, parameter in critic.named_parameters()}
            mistaken = torch.func.functional_call(critic, constant, (features,))
            loss = F.binary_cross_entropy_with_logits(mistaken, torch.ones_like(mistaken))
            steps.append(Step(loss, None, scores))
        return steps

    @torch.no_grad()
    def tally(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        super().tally(losses, logits, labels)
        images = torch.full_like(losses, len(labels) // 2, dtype=torch.float64)
        nothing = torch.full_like(images, torch.nan)
        self.training_tally.sums += torch.stack([images, losses * images, nothing, nothing], 1)

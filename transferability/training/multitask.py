"""The training step of networks that share their first layers: of two tasks (`Multitask`), of labels (`LabelHeads`).

Of two tasks, a batch holds labelled images of the first and then as many of the second (`DomainBatches`). Both go
through the shared layers together, and each through the layers of its own network.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MultilabelAveragePrecision

from transferability.data.stream import Batch
from transferability.multitask import Multitask, partner
from transferability.networks.layers import build, draw
from transferability.study import Fleet, Network, Study
from transferability.training.domains import Reversal
from transferability.training.fleet import (
    ClassTally,
    FleetModule,
    Weights,
    as_autocast,
    mean_over_classes,
    place_of,
)
from transferability.training.graph import Lanes
from transferability.training.losses import hits
from transferability.treatment import Treatment


def with_partners(fleet: Fleet) -> Fleet:
    """The fleet and, behind it, the other network of each pair of which it has one only."""
    others = [replace(network, treatment=partner(network.treatment)) for network in fleet.networks]
    missing = [other for other in others if other not in fleet.networks and other.treatment.n]
    return Fleet((*fleet.networks, *missing))


def owner_of_shared(network: Network) -> str:
    """Who owns the draws of the layers that a pair shares: its network of task B."""
    treatment = network.treatment
    return (network if treatment.target == "B" else replace(network, treatment=partner(treatment))).name


def owner_of_own(network: Network) -> str:
    """Who owns the draws of the layers above: the base of the task."""
    return replace(network, treatment=Treatment(network.treatment.target), variant="").name


class MultitaskModule(FleetModule):
    """Pairs of networks that share their first n layers: the fleet's, and partners that nobody asked for.

    Logits of a task of fewer classes are filled up with -inf. classes_of: letter of a task → its classes.
    """

    recipe: Multitask

    def __init__(self, study: Study, fleet: Fleet, classes_of: Mapping[str, int], *arguments: Any) -> None:
        self.classes_of, self._fleet_asked = dict(classes_of), fleet
        self._shared: dict[tuple[int, str], Any] = {}  # layers by n and name
        super().__init__(study, with_partners(fleet), max(classes_of.values()), *arguments)
        networks = self.fleet.networks
        self.places = {
            letter: [place for place, network in enumerate(networks) if network.treatment.target == letter]
            for letter in fleet.tasks
        }
        # The place of each network's partner; its own where nothing is shared.
        names = {network.name: place for place, network in enumerate(networks)}
        self.partners = [
            names[replace(network, treatment=partner(network.treatment)).name] if network.treatment.n else place
            for place, network in enumerate(networks)
        ]
        self.class_tallies = nn.ModuleDict(
            {letter: ClassTally(len(places), classes_of[letter]) for letter, places in self.places.items()}
        )

    @property
    def asked(self) -> list[str]:
        return [network.name for network in self._fleet_asked.networks]

    def _precisions(self) -> nn.ModuleList:
        networks = self.fleet.networks if self.several_labels else ()
        counts = [self.classes_of[network.treatment.target] for network in networks]
        return nn.ModuleList(MultilabelAveragePrecision(count, ignore_index=-1) for count in counts)

    def _own_layers(self, network: Network, sources: Mapping[str, Weights]) -> nn.ModuleDict:
        """All layers of a network, the first n of them also its partner's."""
        own, n = nn.ModuleDict(), network.treatment.n
        classes = self.classes_of[network.treatment.target]
        for position, (name, layer) in enumerate(build(self.architecture, classes, "ungrouped" in self.form), 1):
            shared = position <= n
            if (n, name) not in self._shared or not shared:
                owner = owner_of_shared(network) if shared else owner_of_own(network)
                draw(self.architecture, name, layer, classes, self.recipe.initialisation, "weights", owner)
            own[place_of(name)] = self._shared.setdefault((n, name), layer) if shared else layer
        return own

    # ------------------------------------------------------------------------------------------ one step

    def _through(self, network: Network, layers: Any, x: Tensor, rows: Tensor, owner: str) -> Tensor:
        for name, layer in layers:
            x = self._layer_output(name, layer, x, rows, owner)
        return x

    def _own_logits(self, place: int, x: Tensor, rows: Tensor) -> Tensor:
        """(b, most classes): what the layers above n make of `x`, their input."""
        network, layers = self.fleet.networks[place], self.networks[place]
        own = list(layers.items())[network.treatment.n :]  # type: ignore[operator]
        logits = self._through(network, own, x, rows, owner_of_own(network)).float()
        return F.pad(logits, (0, self.classes - logits.shape[1]), value=-torch.inf)

    def _shared_output(self, place: int, x: Tensor, rows: Tensor) -> Tensor:
        network, layers = self.fleet.networks[place], self.networks[place]
        shared = list(layers.items())[: network.treatment.n]  # type: ignore[operator]
        return self._through(network, shared, x, rows, owner_of_shared(network))

    def losses(self, batch: Batch, lanes: Lanes | None = None) -> tuple[Tensor, Tensor]:
        """(networks,) and (networks, h, most classes), of h images of each task.

        The gradient of a pair's losses together is that of both: the first carries it. If one is no number, both are.
        """
        half = len(batch.labels) // 2
        halves = dict(zip(self.places, self._halves(batch, half), strict=True))
        inputs = {letter: as_autocast(self.normalised(part, letter)) for letter, part in halves.items()}
        both = torch.cat(list(inputs.values()))
        logits: list[Any] = [None] * len(self.networks)
        for place, network in enumerate(self.fleet.networks):
            target, other = network.treatment.target, self.partners[place]
            if not network.treatment.n:
                logits[place] = self._own_logits(place, inputs[target], halves[target].rows)
            elif place < other:
                features = Reversal.apply(self._shared_output(place, both, batch.rows), -self.recipe.weight)
                for member in (place, other):
                    letter = self.fleet.networks[member].treatment.target
                    part = features[:half] if letter == next(iter(halves)) else features[half:]
                    logits[member] = self._own_logits(member, part, halves[letter].rows)
        own = []
        for network, scores in zip(self.fleet.networks, logits, strict=True):
            letter = network.treatment.target
            own.append(self.loss(*self._of_classes(letter, scores, halves[letter].labels)))
        losses = [self._of_pair(place, own) for place in range(len(own))]
        return torch.stack(losses), torch.stack(logits).detach()

    def _halves(self, batch: Batch, half: int) -> list[Batch]:
        """The images of each task, in a batch as its base sees it: places in the global batch from 0."""
        first, second = (Batch(*(part[rows] for part in batch)) for rows in (slice(half), slice(half, None)))
        return [first, second._replace(rows=second.rows - self.recipe.batch)]

    def _of_classes(self, letter: str, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and labels without what fills them up."""
        count = self.classes_of[letter]
        return scores[:, :count], labels if labels.ndim == 1 else labels[:, :count]

    def _of_pair(self, place: int, own: Sequence[Tensor]) -> Tensor:
        """A network's loss, to the bit. Its gradient is the pair's, or none where its partner carries that."""
        other = self.partners[place]
        if other == place:
            return own[place]
        loss, beside = own[place], own[other]
        return loss + (beside - beside.detach()) if place < other else (loss + (beside - beside)).detach()

    @torch.no_grad()
    def tally(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        self.diverged_at.masked_fill_(~losses.isfinite() & (self.diverged_at < 0), self.step)
        for (_, places), part in zip(self.places.items(), labels.chunk(2), strict=True):
            if places:
                self.training_tally.update(losses[places], logits[places], part, places)

    @torch.no_grad()
    def validation_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> None:
        """dataloader_idx: which task the images are of, in the order of the letters."""
        letter = list(self.places)[dataloader_idx]
        if not (places := self.places[letter]):
            return
        x = as_autocast(self.normalised(batch, letter))
        logits = torch.stack(
            [self._own_logits(place, self._shared_output(place, x, batch.rows), batch.rows) for place in places]
        )
        losses = torch.stack([self.loss(*self._of_classes(letter, scores, batch.labels)) for scores in logits])
        padding = (0, self.classes - self.classes_of[letter])
        labels = F.pad(batch.labels, padding, value=-1) if self.several_labels else batch.labels
        self.validation_tally.update(losses, logits, labels, places)
        known = logits[..., : self.classes_of[letter]]
        if not self.several_labels:
            self.class_tallies[letter].update(hits(known, batch.labels, 1)[0], batch.labels)  # type: ignore[operator]
        for place, scores in zip(places, known, strict=True) if self.several_labels else ():
            self.precisions[place].update(scores, batch.labels.long())  # type: ignore[operator]

    # ------------------------------------------------------------------------------------------ the course

    def _by_place(self) -> Iterator[tuple[int, float]]:
        for letter, places in self.places.items():
            tally: Any = self.class_tallies[letter]
            yield from zip(places, mean_over_classes(tally.compute()).tolist(), strict=True) if places else ()
            tally.reset()

    def _other_measures(self) -> dict[str, list[float]]:
        if self.several_labels:
            return super()._other_measures()
        values = dict(self._by_place())
        return {"val_class_top1": [values[place] for place in range(len(self.networks))]}

    def on_validation_epoch_end(self) -> None:
        """Where one of a pair has diverged, both have: they share layers."""
        super().on_validation_epoch_end()
        for place, other in enumerate(self.partners):
            if self.diverged_at[place] < 0 <= self.diverged_at[other]:
                self.diverged_at[place] = self.diverged_at[other]
        gone = [place for place, step in enumerate(self.diverged_at.tolist()) if step >= 0]
        self.active = tuple(place for place in self.active if place not in gone)


class LabelHeadsModule(FleetModule):
    """Networks that share their first n layers with nobody but their own heads, one for each label.

    Heads are further parts among a network's own layers. Their dropout masks are each head's own.
    """

    def _own_layers(self, network: Network, sources: Mapping[str, Weights]) -> nn.ModuleDict:
        own, n, owner = nn.ModuleDict(), network.treatment.n, owner_of_own(network)
        single = [list(build(self.architecture, 1, "ungrouped" in self.form)) for _ in range(self.classes)]
        for position, (name, layer) in enumerate(self._layers()):
            draw(self.architecture, name, layer, self.classes, self.recipe.initialisation, "weights", owner)
            if position < n:
                own[place_of(name)] = layer
                continue
            for label, layers in enumerate(single):
                own[_place_in_head(name, label)] = _as_output(layer, layers[position][1], label)
        return own

    def forward(self, batch: Batch, lanes: Lanes | None = None) -> list[Tensor]:
        """The logits (b, labels) of each network, in the fleet's order."""
        x = as_autocast(self.normalised(batch, self.fleet.target))
        return [self._scores(place, x, batch.rows) for place in range(len(self.networks))]

    def _scores(self, place: int, x: Tensor, rows: Tensor) -> Tensor:
        """(b, labels)"""
        network, layers, names = self.fleet.networks[place], self.networks[place], self.architecture.layer_names
        n = network.treatment.n
        heads = [[_place_in_head(name, label) for name in names[n:]] for label in range(self.classes)]

        def through(places: Sequence[str], x: Tensor) -> Tensor:
            for part in places:
                x = self._layer_output(part, layers[part], x, rows, network.name)  # type: ignore[index]
            return x

        shared = through([place_of(name) for name in names[:n]], x)
        return torch.cat([through(head, shared) for head in heads], 1).float()


def _place_in_head(name: str, label: int) -> str:
    return f"{place_of(name)} of label {label}"


@torch.no_grad()
def _as_output(whole: nn.Module, single: Any, output: int) -> Any:
    """`single` with the weights of `whole`; of its last layer those of one output. Shapes tell which that is."""
    parts = {**dict(whole.named_parameters()), **dict(whole.named_buffers())}
    for name, value in (*single.named_parameters(), *single.named_buffers()):
        value.copy_(parts[name] if parts[name].shape == value.shape else parts[name][output : output + 1])
    return single

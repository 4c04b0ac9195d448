"""The LightningModule: one fleet of networks, trained in one pass over one stream of images."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAUROC, MultilabelAUROC, MultilabelAveragePrecision

from transferability import rules
from transferability.data.augment import recoloured, resized
from transferability.data.stream import Batch, FleetImages, TaskImages, ValidationBatches, to_device
from transferability.data.tasks import Normalisation
from transferability.draws import dropout, mask_key
from transferability.networks.addressed import AddressedDraws
from transferability.networks.cut import CutLayer
from transferability.networks.layers import Layer, build, copy, draw, tensors
from transferability.networks.norms import estimate_statistics, folded, refuse_no_statistics, share_statistics
from transferability.study import Fleet, Network, Study
from transferability.training.graph import Captured, Lanes, cuda_graph
from transferability.training.losses import hits, loss_of
from transferability.treatment import RANDOM

Weights = Mapping[str, Tensor]

# Plain steps before one is captured as a graph: by then the momentum exists and cuDNN has chosen its algorithms.
PLAIN_STEPS = 3


class Tally(Metric):
    """Sums over images, for each network: images, loss, top-1 and top-5 hits. (networks, 4) float64.

    The sums of all processes are added, so every image counts once.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, networks: int) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(networks, 4, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self, losses: Tensor, logits: Tensor, labels: Tensor, places: Sequence[int] | slice = slice(None)
    ) -> None:
        """losses: (networks,) means over the batch. logits: (networks, batch, classes). labels: as a batch's.

        places: the networks that these are of; all.
        """
        first, any_of_five = (right.sum(1, dtype=torch.float64) for right in hits(logits, labels))
        count = torch.full_like(first, len(labels))
        self.sums[places] += torch.stack([count, losses * count, first, any_of_five], 1)

    def compute(self) -> Tensor:
        """(networks, 4): images, mean loss, top-1, top-5."""
        return torch.cat([self.sums[:, :1], self.sums[:, 1:] / self.sums[:, :1]], 1)


class ClassTally(Metric):
    """Hits and images of each class, for each network whose images have one label. (networks + 1, classes) float64."""

    full_state_update = False
    sums: Tensor

    def __init__(self, networks: int, classes: int) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(networks + 1, classes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, right: Tensor, labels: Tensor) -> None:
        """right: (networks, batch) bool, whether the image's class was named. labels: (batch,)."""
        right = torch.cat([right, torch.ones_like(labels, dtype=torch.bool)[None]])
        self.sums.scatter_add_(1, labels.expand(right.shape), right.double())

    def compute(self) -> Tensor:
        """(networks, classes): each class's accuracy; NaN of a class without images."""
        return self.sums[:-1] / self.sums[-1]


def mean_over_classes(accuracies: Tensor) -> Tensor:
    """(networks,): the mean over the classes that have images. accuracies: of a `ClassTally`."""
    return accuracies[:, ~accuracies[0].isnan()].mean(1)


class Stopwatch:
    """Seconds of training and validation in all processes that have trained a fleet so far, interruptions left out."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.since = seconds, time.monotonic()

    def start(self) -> None:
        """Time counts from now on."""
        self.since = time.monotonic()

    def lap(self) -> None:
        """Adds the time since the last start or lap."""
        now = time.monotonic()
        self.seconds += now - self.since
        self.since = now


@dataclass
class Best:
    """A network at its best validation on images that are held out.

    accuracy: on them. row: of its series. state: its own layers' parameters and buffers, on the host.
    """

    accuracy: float
    row: int
    state: dict[str, Tensor]


class FleetModule(L.LightningModule):
    """Networks that share target, recipe, images and seed, each with its own weights, loss, rates and metrics.

    Frozen first layers are not copied: networks that freeze layers of one source share one *prefix*, which runs once
    per batch, without gradient, with its dropout active in training unless the recipe lets it rest, and puts out the
    features at every n that a network needs. Frozen layers above trained ones are each network's own: the gradient
    flows through them. Each network sees images minus the mean image of its source (of its own task where it has none).

    sources: for each source letter, the weights of its base. inputs: for each letter, how its networks see images.
    form: how the training step is computed on the device (`forms.py`). several_labels: images may have several.
    """

    trained_on = "cpu"  # or cuda; Lightning brings the module back to the CPU in the end

    def __init__(
        self,
        study: Study,
        fleet: Fleet,
        classes: int,
        sources: Mapping[str, Weights],
        inputs: Mapping[str, Normalisation],
        form: str = "plain",
        several_labels: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # `training_step` is the whole step, and fewer hooks are called
        self.fleet, self.recipe, self.architecture, self.classes = fleet, fleet.recipe, study.architecture, classes
        self.form, self.several_labels = form, several_labels
        self.captured: Captured | None = None  # the step as a graph, once there is one
        self.steps_here = 0  # steps in this process, of all that `step` counts
        self.step = 0
        self.series: dict[str, list[dict[str, float]]] = {network.name: [] for network in fleet.networks}
        # Places of the networks that are still trained: one that has diverged ends at its next validation, as it
        # would alone.
        self.active = tuple(range(len(fleet.networks)))
        self.stopwatch = Stopwatch()
        self.training_tally = Tally(len(fleet.networks))
        self.validation_tally = Tally(len(fleet.networks))
        self.inner_tally = Tally(len(fleet.networks))  # of images held out of the training images
        self.class_tally = ClassTally(len(fleet.networks), classes)
        # Where images have several labels: mean average precision, of the validation images and of those held out.
        self.precisions, self.inner_precisions = self._precisions(), self._precisions()
        self.areas = self._areas()  # under the ROC curves, where the recipe asks for them
        self.best: dict[int, Best] = {}  # place of a network → its best validation on them
        self.register_buffer("class_weights", None)  # (classes,), where the recipe balances them
        self.class_weights: Tensor | None
        # Step at which a network's loss was first not a number; -1: never.
        self.register_buffer("diverged_at", torch.full((len(fleet.networks),), -1, dtype=torch.int64))
        self.diverged_at: Tensor
        self.scales: dict[str, float | tuple[float, ...]] = {}
        for task, (mean, scale) in inputs.items():
            self.register_buffer(f"mean_{task}", torch.from_numpy(np.array(mean)))
            self.scales[task] = scale

        self.prefixes = nn.ModuleDict({name: self._prefix(name, n, sources) for name, n in fleet.prefixes.items()})
        # What runs in place of the prefixes, once their norms are final (`fold`).
        self.folded: nn.ModuleDict | None = None
        self.networks = nn.ModuleList(self._own_layers(network, sources) for network in fleet.networks)
        # For each network under a rule by word: the multiples of its layers in the current phase.
        self.multiples: dict[int, tuple[float, ...]] = {}
        self.several = False  # processes that train the fleet together
        self.pulled = self._pulled()
        self.optimiser = self._optimiser()
        self.train()  # Lightning keeps the mode of each module as it finds it: norms of frozen layers are in evaluation

        # Each place with dropout, (owner of the mask, name of the layer), and its row in the tensor of keys.
        owned = [(self._owner(source), prefix) for source, prefix in self.prefixes.items()]
        owned += [(network.name, layers) for network, layers in zip(fleet.networks, self.networks, strict=True)]
        sites = [(owner, name) for owner, layers in owned for name, layer in layers.items() if layer.dropout]  # type: ignore[operator]
        self.sites = {site: row for row, site in enumerate(sites)}
        # Dropout keys of the current step. A CUDA graph can read them only from a tensor; without a graph, None, and
        # they are computed where they are needed.
        self.register_buffer("keys", torch.zeros(len(sites), 2, dtype=torch.int32) if "graph" in form else None)
        self.keys: Tensor | None

    @property
    def asked(self) -> list[str]:
        """Full names of the networks whose results are written."""
        return [network.name for network in self.fleet.networks]

    def _precisions(self) -> nn.ModuleList:
        """A mean average precision for each network; -1 stands for a label that is not known."""
        count = len(self.fleet.networks) if self.several_labels else 0
        return nn.ModuleList(MultilabelAveragePrecision(self.classes, ignore_index=-1) for _ in range(count))

    def _areas(self) -> nn.ModuleList:
        """An area under the ROC curve for each network, where the recipe asks for it."""
        count = len(self.fleet.networks) if self.recipe.auc else 0
        if self.several_labels:
            return nn.ModuleList(MultilabelAUROC(self.classes, ignore_index=-1) for _ in range(count))
        return nn.ModuleList(MulticlassAUROC(self.classes) for _ in range(count))

    # ------------------------------------------------------------------------------------------ weights

    def _layers(self) -> Iterator[tuple[str, Layer]]:
        return build(self.architecture, self.classes, "ungrouped" in self.form)

    def _prefix(self, source: str, n: int, sources: Mapping[str, Weights]) -> nn.ModuleDict:
        """The first n layers of a source, frozen."""
        prefix = nn.ModuleDict()
        for name, layer in list(self._layers())[:n]:
            if source == RANDOM:
                self._draw_random(name, layer)
            else:
                copy(name, layer, sources[source])
            prefix[place_of(name)] = _freeze(layer)
        return prefix

    def _own_layers(self, network: Network, sources: Mapping[str, Weights]) -> nn.ModuleDict:
        """The layers that a network does not share, each from where its plan says (`Network.layers`)."""
        own = nn.ModuleDict()
        plans = network.layers(self.architecture.depth)
        for (name, layer), plan in list(zip(self._layers(), plans, strict=True))[network.treatment.frozen :]:
            if plan.origin == "copied":
                copy(name, layer, sources[network.treatment.source])
            elif plan.origin == "random":
                self._draw_random(name, layer)
            else:
                draw(self.architecture, name, layer, self.classes, self.recipe.initialisation, "weights", network.name)
            if not plan.rate:
                _freeze(layer)
            own[place_of(name)] = layer
        return own

    def _pulled(self) -> list[tuple[nn.Parameter, Tensor]]:
        """The weights that rule `sp` pulls, each with what it is pulled towards: what it was copied as."""
        return [
            (parameter, parameter.detach().clone())
            for network, layers in zip(self.fleet.networks, self.networks, strict=True)
            if network.treatment.word == "sp"
            for name in self.architecture.layer_names[: network.treatment.n]
            for parameter in layers[place_of(name)].parameters()  # type: ignore[index]
        ]

    def _draw_random(self, name: str, layer: Layer) -> None:
        """Layer `name` of source R: one draw per (seed, split), the same for every n, never a base's."""
        owner = ("weights", self.fleet.split, RANDOM, f"seed-{self.fleet.seed}")
        initialisation = self.recipe.random_layers or self.recipe.initialisation
        draw(self.architecture, name, layer, self.classes, initialisation, *owner)

    def weights(self, index: int) -> dict[str, Tensor]:
        """All weights of a network, its frozen layers and buffers included: name in the network → tensor.

        Those at its best validation, where the recipe stops by images that are held out.
        """
        if index in self.best:
            last = {name: value.detach().clone() for name, value in self._state(index).items()}
            self._set_state(index, self.best[index].state)
            weights = {name: value.clone() for name, value in self._weights(index).items()}
            self._set_state(index, last)
            return weights
        return self._weights(index)

    def _state(self, index: int) -> dict[str, Tensor]:
        """Parameters and buffers of a network's own layers."""
        network = self.networks[index]
        return {**dict(network.named_parameters()), **dict(network.named_buffers())}

    @torch.no_grad()
    def _set_state(self, index: int, state: Mapping[str, Tensor]) -> None:
        for name, value in self._state(index).items():
            value.copy_(state[name])

    def _weights(self, index: int) -> dict[str, Tensor]:
        treatment = self.fleet.networks[index].treatment
        weights: dict[str, Tensor] = {}
        kept: set[int] = set()  # a file of weights holds the same tensor under two names as two
        for position, name in enumerate(self.architecture.layer_names, 1):
            frozen = position <= treatment.frozen
            layers: Any = self.prefixes[treatment.source] if frozen else self.networks[index]
            for key, value in tensors(name, layers[place_of(name)]).items():
                weights[key] = value.detach().cpu().contiguous()
                if id(value) in kept:
                    weights[key] = weights[key].clone()
                kept.add(id(value))
        return weights

    def pictures(self, index: int) -> dict[str, np.ndarray]:
        """Images that are kept beside a network's result, by name: (k, c, c, 3) uint8; of most methods none."""
        return {}

    def setup(self, stage: str) -> None:
        """Called by Lightning when the number of processes is known."""
        self.several, self.trained_on = self.trainer.world_size > 1, self.trainer.strategy.root_device.type
        if self.several:
            refuse_no_statistics(self)
            share_statistics(self.networks)

    def prepare(self, images: FleetImages) -> None:
        """What has to be known of the images before the first step: statistics, weights of classes."""
        if self.recipe.frozen_norms == "target":
            self.use_statistics(images.training)
        if self.recipe.class_weights == "balanced":
            self.weigh_classes(images.training.labels)

    def use_statistics(self, images: TaskImages) -> None:
        """Gives the norms of the frozen prefixes the statistics of the target's training images, central crops."""
        for source, prefix in self.prefixes.items():
            task = self.fleet.target if source == RANDOM else source
            layers = [layer for layer in prefix.values() if isinstance(layer, CutLayer)]  # type: ignore[operator]

            def batches(task: str = task) -> Iterator[Tensor]:
                return (self.normalised(batch, task) for batch in ValidationBatches(images, self.recipe.crop))

            estimate_statistics(layers, batches)
        self.train()

    def fold(self) -> None:
        """From now on frozen batch norms run folded into their convolutions; to be called when they are final."""
        self.folded = nn.ModuleDict(
            {
                source: nn.ModuleDict({name: folded(layer) for name, layer in prefix.items()})  # type: ignore[operator]
                for source, prefix in self.prefixes.items()
            }
        )
        self.train(self.training)

    def train(self, mode: bool = True) -> "FleetModule":
        """Sets the mode of all layers; frozen first layers stay in evaluation where the recipe lets them rest."""
        super().train(mode)
        if self.recipe.frozen_dropout == "resting":
            for frozen in (self.prefixes, self.folded or self.prefixes):
                frozen.eval()
        return self

    # ------------------------------------------------------------------------------------------ one step

    def normalised(self, batch: Batch, task: str) -> Tensor:
        """(b, 3, c, c) float32: pixels minus the mean image of `task` at the crop's place, mirrored, scaled."""
        mean: Tensor = getattr(self, f"mean_{task}")
        x = self._changed(batch, mean) if batch.changes.shape[1] else self._cropped(batch, mean)
        scale = self.scales[task]
        return x.mul_(scale if isinstance(scale, float) else x.new_tensor(scale).view(3, 1, 1))

    def _cropped(self, batch: Batch, mean: Tensor) -> Tensor:
        """(b, 3, c, c) float32: pixels minus the mean image at the crop's place, mirrored."""
        size, crop = mean.shape[0], self.recipe.crop
        places, mirror = size - crop + 1, batch.mirror
        # Every crop of the mean image and of its mirror image, as a view: lines are copied out of it, not pixels.
        both = torch.stack([mean, mean.flip(1)])
        crops = both.as_strided((2, places, places, crop, crop, 3), (size * size * 3, size * 3, 3, size * 3, 3, 1))
        means = crops[mirror.long(), batch.ys, torch.where(mirror, places - 1 - batch.xs, batch.xs)]
        # Mirrored before they are floats: a quarter of the traffic.
        pixels = torch.where(mirror[:, None, None, None], batch.pixels.flip(3), batch.pixels)
        return pixels - means.permute(0, 3, 1, 2)

    def _changed(self, batch: Batch, mean: Tensor) -> Tensor:
        """The same, where colours change or crops are resized: the mean image is subtracted before a resized crop."""
        pixels, changes, recipe = batch.pixels.float(), batch.changes, self.recipe
        if recipe.colour:
            pixels, changes = recoloured(pixels, changes[:, -3:]), changes[:, :-3]
        if changes.shape[1]:
            x = pixels - mean.permute(2, 0, 1)
            return resized(x, changes, batch.mirror, recipe.crop)
        crop = torch.arange(recipe.crop, device=mean.device)
        ys, xs = (batch.ys[:, None] + crop)[:, :, None], (batch.xs[:, None] + crop)[:, None, :]
        x = pixels - mean[ys, xs].permute(0, 3, 1, 2)
        return torch.where(batch.mirror[:, None, None, None], x.flip(3), x)

    def _owner(self, source: str) -> str:
        """Who owns the dropout masks of a frozen prefix."""
        return f"{self.fleet.split}/{source}/seed-{self.fleet.seed}"

    def _mask_key(self, owner: str, name: str) -> tuple[int, int]:
        return mask_key("dropout", owner, name, self.step)

    def _layer_output(self, name: str, layer: Any, x: Tensor, rows: Tensor, owner: str) -> Tensor:
        """One layer and, in training, its dropout, whose mask belongs to `owner`."""
        if isinstance(layer, CutLayer):
            if not (layer.training and layer.is_random):
                return layer(x)  # type: ignore[no-any-return]
            with AddressedDraws(rows, "dropout", owner, name, self.step):
                return layer(x)  # type: ignore[no-any-return]
        x = layer(x)
        if layer.training and layer.dropout:
            key = self._mask_key(owner, name) if self.keys is None else self.keys[self.sites[owner, name]]
            x = dropout(x, layer.dropout, rows, key)
        return x

    def features(self, batch: Batch, inputs: Mapping[str, Tensor]) -> dict[tuple[str, int], Tensor]:
        """(source, n) → the output of layer n of the source's frozen prefix. inputs: for each task, its images."""
        outputs: dict[tuple[str, int], Tensor] = {}
        with torch.no_grad():
            for source, prefix in (self.folded or self.prefixes).items():
                x = inputs[self.fleet.target if source == RANDOM else source]
                for n, (name, layer) in enumerate(prefix.items(), 1):  # type: ignore[operator]
                    x = self._layer_output(name, layer, x, batch.rows, self._owner(source))
                    outputs[source, n] = x
        return outputs

    def forward(self, batch: Batch, lanes: Lanes | None = None) -> list[Tensor]:
        """The logits (b, classes) of each network, in the fleet's order. lanes: the networks run beside each other."""
        tasks = dict.fromkeys(network.mean_of for network in self.fleet.networks)
        inputs = {task: as_autocast(self.normalised(batch, task)) for task in tasks}
        features = self.features(batch, inputs)
        logits = []
        for index, (network, layers) in enumerate(zip(self.fleet.networks, self.networks, strict=True)):
            treatment = network.treatment
            x = features[treatment.source, treatment.n] if treatment.frozen else inputs[network.mean_of]
            with lanes.lane(index, x) if lanes else nullcontext():
                for name, layer in layers.items():  # type: ignore[operator]
                    x = self._layer_output(name, layer, x, batch.rows, network.name)
                logits.append(x.float())
        if lanes:
            lanes.join()
        return logits

    def losses(self, batch: Batch, lanes: Lanes | None = None) -> tuple[Tensor, Tensor]:
        """(networks,): each network's mean over the batch. (networks, b, classes): their logits, without gradient."""
        logits = self(batch, lanes)
        # One by one: in one call over all networks, the rounding of a mean depends on how many there are.
        return torch.stack([self.loss(scores, batch.labels) for scores in logits]), torch.stack(logits).detach()

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """(): the recipe's loss, a mean; in training with its smoothing and class weights. scores: (b, classes)."""
        if self.recipe.loss != "softmax":
            return loss_of(self.recipe.loss, scores, labels)
        smoothing = self.recipe.label_smoothing if self.training else 0.0
        if self.class_weights is None or not self.training:
            return F.cross_entropy(scores, labels, label_smoothing=smoothing)
        losses = F.cross_entropy(scores, labels, label_smoothing=smoothing, reduction="none")
        # Not torch's weighted mean, which divides by the sum of the weights: that of a process's share is another.
        return (losses * self.class_weights[labels]).mean()

    def weigh_classes(self, labels: np.ndarray) -> None:
        """Weights classes by the inverse of their frequency in `labels` (n,), of the training images."""
        counts = np.maximum(1, np.bincount(labels, minlength=self.classes))
        weights = torch.from_numpy(len(labels) / (self.classes * counts)).float()
        self.class_weights = weights

    def update(self, batch: Batch, lanes: Lanes | None = None) -> tuple[Tensor, Tensor]:
        """Forward pass, backward pass, one step of the optimiser over all networks: `losses`, from before it."""
        self.optimiser.zero_grad()
        losses, logits = self.losses(batch, lanes)
        with torch.autocast(self.device.type, enabled=False):  # a recipe's precision is that of the forward pass
            # The gradient of the sum with respect to each loss is 1: networks do not touch each other, NaN included.
            self.manual_backward(losses.sum())
        for index in {*range(len(self.networks))} - {*self.active}:
            self.networks[index].zero_grad()  # the optimiser passes over parameters that have no gradient
        for layer in self._standing() if self.several else ():
            layer.zero_grad()
        for parameter, origin in self.pulled:
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - origin.to(parameter.device), alpha=self.recipe.pull)
        if self.recipe.clip:  # of what the optimiser is going to see
            for index in self.active:
                nn.utils.clip_grad_norm_(self.networks[index].parameters(), self.recipe.clip)
        self.optimiser.step()
        return losses.detach(), logits

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """One step of the optimiser, tallied.

        Caffe keeps the rate inside the momentum buffer, V = momentum V + rate g, PyTorch outside. The two agree if
        the buffers are scaled by old over new rate whenever the rate drops.
        """
        self.enter_phase()
        set_rate(self.optimiser, self.recipe.rate_at(self.step), self.multiples)
        if self.step and self.recipe.schedule == "step" and self.recipe.optimiser == "sgd":
            scale_momentum(self.optimiser, self.recipe.rate_at(self.step - 1) / self.recipe.rate_at(self.step))
        if self.keys is not None:
            rows = torch.tensor([self._mask_key(*site) for site in self.sites], dtype=torch.int32)
            self.keys.copy_(to_device(rows.view(-1, 2), self.device), non_blocking=True)
            if self.captured is None and self.steps_here >= PLAIN_STEPS:
                self.captured = self.capture(batch)
        self.tally(*(self.captured or self.update)(batch), batch.labels)
        self.step += 1
        self.steps_here += 1

    def enter_phase(self) -> None:
        """Freezes and thaws the layers of networks under a rule by word, as the rule says for the current step.

        A layer that stands still has no gradient, no momentum and its norms in evaluation mode; when it thaws, its
        momentum begins anew. Under chain-thaw the norms of copied layers keep the source's statistics to the end: in
        training mode for one phase, a norm would change what all layers above were fitted to, before anything learns.
        """
        depth, share = self.architecture.depth, self.step / self.recipe.steps
        for index, (network, layers) in enumerate(zip(self.fleet.networks, self.networks, strict=True)):
            treatment = network.treatment
            if not treatment.word:
                continue
            multiples = rules.multiples(treatment.word, depth, treatment.n, share, self.recipe)
            if multiples == self.multiples.get(index):
                continue
            self.multiples[index] = multiples
            self.captured = None  # a captured step goes on as before
            keeps_norms = treatment.n if treatment.word == "chain" else 0  # of the first so many layers
            for place, (name, multiple) in enumerate(zip(self.architecture.layer_names, multiples, strict=True)):
                layer: Any = layers[place_of(name)]  # type: ignore[index]
                # Several processes wait for the gradients that they have agreed on: there they are thrown away.
                layer.requires_grad_(multiple > 0 or self.several)
                if isinstance(layer, CutLayer):
                    layer.frozen = not multiple or place < keeps_norms
                    layer.train(self.training)
                for parameter in layer.parameters() if not multiple else ():
                    parameter.grad = None
                    self.optimiser.state.pop(parameter, None)

    def _standing(self) -> Iterator[nn.Module]:
        """The layers that a rule by word lets stand still in the current phase."""
        for index, multiples in self.multiples.items():
            for name, multiple in zip(self.architecture.layer_names, multiples, strict=True):
                if not multiple:
                    yield self.networks[index][place_of(name)]  # type: ignore[index]

    def capture(self, batch: Batch) -> Captured:
        """The step as a CUDA graph in which the networks are beside each other."""
        return Captured(partial(self.update, lanes=Lanes(len(self.networks))), batch, cuda_graph)

    @torch.no_grad()
    def tally(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Counts a training step, and marks the networks whose loss is no number for the first time."""
        first = ~losses.isfinite() & (self.diverged_at < 0)
        self.diverged_at.masked_fill_(first, self.step)
        self.training_tally.update(losses, logits, labels)

    def validation_step(self, batch: Batch, batch_index: int, dataloader_idx: int = 0) -> None:
        """dataloader_idx: 0 for validation images, 1 for those that are held out of the training images."""
        losses, logits = self.losses(batch)
        (self.inner_tally if dataloader_idx else self.validation_tally).update(losses, logits, batch.labels)
        if self.several_labels:
            precisions: Any = self.inner_precisions if dataloader_idx else self.precisions
            for scores, precision in zip(logits, precisions, strict=True):
                precision.update(scores, batch.labels.long())
        elif not dataloader_idx:
            self.class_tally.update(hits(logits, batch.labels, 1)[0], batch.labels)
        if not dataloader_idx:
            areas: Any = self.areas
            for scores, area in zip(logits.double(), areas, strict=False):  # in float32, large scores would be equal
                shares = scores.softmax(1) if self.recipe.loss == "softmax" else scores.sigmoid()
                area.update(shares, batch.labels.long())

    # ------------------------------------------------------------------------------------------ the course

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to train: the recipe's steps are done, or every network has diverged."""
        return self.step >= self.recipe.steps or not self.active

    def stretch(self) -> tuple[int, int]:
        """(first step, end step) of the training that is left until the next validation."""
        step, every = self.step, self.recipe.validate_every
        return step, min(self.recipe.steps, (step // every + 1) * every)

    def _optimiser(self) -> torch.optim.Optimizer:
        """SGD or AdamW over all networks: a group for each multiple of the rate, with decay and without."""
        # (multiple, whether decayed, (place of the network, of the layer) under a rule by word) → parameters
        groups: dict[tuple[float, bool, tuple[int, int] | None], list[nn.Parameter]] = {}
        grouped: set[nn.Parameter] = set()  # networks may share layers
        for index, (network, layers) in enumerate(zip(self.fleet.networks, self.networks, strict=True)):
            treatment = network.treatment
            plans = network.layers(self.architecture.depth)
            rates = {place_of(name): plan.rate for name, plan in zip(self.architecture.layer_names, plans, strict=True)}
            for place, layer in layers.items():  # type: ignore[operator]
                rate = rates.get(place, 1.0)  # of a part that is no layer of the network, such as a domain classifier
                for name, parameter in layer.named_parameters() if rate else ():
                    if parameter in grouped:
                        continue
                    grouped.add(parameter)
                    is_bias, decays = name.endswith("bias"), parameter.ndim > 1  # a norm's factors have no decay either
                    multiple = rate * (self.recipe.bias_rate if is_bias else 1)
                    ruled = (index, list(rates).index(place)) if treatment.word else None
                    decays = decays and not (treatment.word == "sp" and ruled is not None and ruled[1] < treatment.n)
                    groups.setdefault((multiple, decays, ruled), []).append(parameter)
        chosen = [
            {
                "params": parameters,
                "multiple": multiple,
                "weight_decay": self.recipe.decay if decays else 0.0,
                "ruled": ruled,
            }
            for (multiple, decays, ruled), parameters in groups.items()
        ]
        # The rate is set before every step.
        chosen = chosen or [{"params": [nn.Parameter(torch.zeros(0))]}]  # of a fleet of which nothing is trained
        if self.recipe.optimiser == "adamw":
            betas = (self.recipe.momentum, self.recipe.beta2)
            return torch.optim.AdamW(chosen, lr=0.0, betas=betas, fused=True, capturable="graph" in self.form)
        return torch.optim.SGD(chosen, lr=0.0, momentum=self.recipe.momentum, fused=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Called by Lightning when the device is known."""
        if "graph" in self.form:  # a graph reads the rate where it lies
            for group in self.optimiser.param_groups:
                group["lr"] = torch.zeros((), device=self.device)
        for state in self.optimiser.state.values():  # AdamW's count of steps: Lightning leaves it where it was read
            if isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].to(self.device)
        return self.optimiser

    def on_sanity_check_start(self) -> None:
        """The validation before the first step (`validate_start`), which Lightning takes for a check of sanity."""
        self.stopwatch.start()

    def on_train_epoch_start(self) -> None:
        self.stopwatch.start()

    def on_validation_epoch_end(self) -> None:
        """Appends one row to the series of each network that is still trained.

        Before the first step no image was trained on: the training loss and accuracy are no numbers.
        """
        training, validation = self.training_tally.compute(), self.validation_tally.compute()
        self.training_tally.reset()
        self.validation_tally.reset()
        self.diverged_at.copy_(self._earliest_divergence())
        # The last step may have been the one that was too far: the next step's loss would be no number either.
        self.diverged_at.masked_fill_(~validation[:, 1].isfinite() & (self.diverged_at < 0), self.step)
        training_rows, validation_rows = training.tolist(), validation.tolist()
        inner_rows = self.inner_tally.compute().tolist() if self.recipe.stop else []
        self.inner_tally.reset()
        others = self._other_measures()
        self.stopwatch.lap()  # now: the numbers were waited for, and with them the device
        for index in self.active:
            (_, train_loss, train_top1, _), (images, val_loss, val_top1, val_top5) = (
                training_rows[index],
                validation_rows[index],
            )
            self.series[self.fleet.networks[index].name].append(
                {
                    "step": self.step,
                    "rate": self.recipe.rate_at(max(0, self.step - 1)),
                    "train_loss": train_loss,
                    "train_top1": train_top1,
                    "val_loss": val_loss,
                    "val_top1": val_top1,
                    "val_top5": val_top5,
                    "val_images": int(images),
                    **({"inner_top1": inner_rows[index][2]} if inner_rows else {}),
                    **{name: values[index] for name, values in others.items()},
                    "seconds": self.stopwatch.seconds,
                }
            )
        diverged = self.diverged_at.tolist()
        active = tuple(index for index in self.active if diverged[index] < 0 and not self._stops(index))
        if active != self.active:
            self.active, self.captured = active, None  # a captured step goes on training all networks

    def _other_measures(self) -> dict[str, list[float]]:
        """By its name in the series, beside the losses, top-1 and top-5: a measure of each network."""
        accuracies = {}
        metrics: dict[str, Any] = {}
        if self.several_labels:
            metrics["val_map"] = self.precisions
            if self.recipe.stop:
                metrics["inner_map"] = self.inner_precisions
        else:
            accuracies["val_class_top1"] = mean_over_classes(self.class_tally.compute()).tolist()
            self.class_tally.reset()
        if self.recipe.auc:
            metrics["val_auc"] = self.areas
        for name, of_each in metrics.items():
            accuracies[name] = [float(metric.compute()) for metric in of_each]
            for metric in of_each:
                metric.reset()
        return accuracies

    def _stops(self, index: int) -> bool:
        """Whether a network's accuracy on held-out images has not grown for too long; keeps its best state.

        The validation before the first step does not count: a network is the same with it and without it.
        """
        if not self.recipe.stop or not self.step:
            return False
        rows = self.series[self.fleet.networks[index].name]
        best, accuracy = self.best.get(index), rows[-1]["inner_map" if self.several_labels else "inner_top1"]
        if best is None or accuracy > best.accuracy:
            state = {name: value.detach().to("cpu", copy=True) for name, value in self._state(index).items()}
            self.best[index] = Best(accuracy, len(rows) - 1, state)
            return False
        return len(rows) - 1 - best.row >= self.recipe.patience

    def _earliest_divergence(self) -> Tensor:
        """(networks,) int64: the earliest step at which any process saw a loss diverge; -1 for none."""
        if self.trainer.world_size == 1:
            return self.diverged_at
        far = torch.iinfo(torch.int64).max
        seen = torch.where(self.diverged_at < 0, far, self.diverged_at)
        earliest = torch.as_tensor(self.all_gather(seen)).amin(0)
        return torch.where(earliest == far, -1, earliest)

    def _summed(self, sums: Tensor) -> Tensor:
        return sums if self.trainer.world_size == 1 else torch.as_tensor(self.all_gather(sums)).sum(0)

    # ------------------------------------------------------------------------------------------ checkpoints

    def checkpoint(self) -> dict[str, Any]:
        """Everything that training needs to go on from here: tensors and plain values, no generator state.

        To be called in all processes: their sums over images are added up.
        """
        state = self.optimiser.state
        parameters = dict(self.networks.named_parameters())
        return {
            "step": self.step,
            "weights": {name: value.detach() for name, value in parameters.items()},
            "buffers": {name: value.detach() for name, value in self.networks.named_buffers()},
            "optimiser": {name: dict(state[value]) for name, value in parameters.items() if value in state},
            "best": {index: vars(best) for index, best in self.best.items()},
            "diverged_at": self._earliest_divergence(),
            "active": list(self.active),
            "training_sums": self._summed(self.training_tally.sums),
            "series": self.series,
            "seconds": self.stopwatch.seconds,
        }

    @torch.no_grad()
    def restore(self, checkpoint: Mapping[str, Any], first: bool = True) -> None:
        """Goes on from `checkpoint`; to be called before training starts. `first`: in the first process."""
        parameters = dict(self.networks.named_parameters())
        if parameters.keys() != checkpoint["weights"].keys():
            raise ValueError("the checkpoint is of other networks")
        self.step = checkpoint["step"]
        for name, value in checkpoint["weights"].items():
            parameters[name].copy_(value)
        buffers = dict(self.networks.named_buffers())
        for name, value in checkpoint.get("buffers", {}).items():
            buffers[name].copy_(value)
        # Earlier versions wrote the momentum alone.
        earlier = {name: {"momentum_buffer": value} for name, value in checkpoint.get("momentum", {}).items()}
        for name, state in checkpoint.get("optimiser", earlier).items():
            for key, value in state.items():
                like = parameters[name] if value.ndim else value
                copied = torch.empty_like(like, memory_format=torch.preserve_format).copy_(value)
                self.optimiser.state[parameters[name]][key] = copied
        self.best = {index: Best(**values) for index, values in checkpoint.get("best", {}).items()}
        self.diverged_at.copy_(checkpoint["diverged_at"])
        self.active = tuple(checkpoint.get("active", self.active))  # earlier versions trained diverged networks on
        if first:  # they are the sums of all processes
            self.training_tally.sums.copy_(checkpoint["training_sums"])
        self.series = {name: list(rows) for name, rows in checkpoint["series"].items()}
        self.stopwatch.seconds = checkpoint["seconds"]


def as_autocast(x: Tensor) -> Tensor:
    """`x` in the type that autocast computes in: once, and not in the first layer of each network."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _freeze(layer: Layer) -> Layer:
    """The layer, from now on without gradients of its own and with its norms in evaluation mode."""
    if isinstance(layer, CutLayer):
        layer.frozen = True
    return layer.requires_grad_(False)


def place_of(name: str) -> str:
    """A layer's name where its module is registered: torch allows no dot there, and no name of its own methods."""
    return f"{name}/" if hasattr(nn.ModuleDict, name) else name.replace(".", "/")


def set_rate(
    optimiser: torch.optim.Optimizer, rate: float, multiples: Mapping[int, Sequence[float]] | None = None
) -> None:
    """Sets every group's rate: `rate` times the group's multiple, times its layer's in `multiples` under a rule."""
    for group in optimiser.param_groups:
        multiple = group["multiple"]
        if multiples and (ruled := group.get("ruled")) is not None:
            index, place = ruled
            multiple = multiple * multiples[index][place]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate * multiple)
        else:
            group["lr"] = rate * multiple


@torch.no_grad()
def scale_momentum(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Multiplies all momentum buffers by `factor`, unless it is 1."""
    if not math.isclose(factor, 1.0):
        for state in optimiser.state.values():
            state["momentum_buffer"].mul_(factor)

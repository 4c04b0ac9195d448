"""The LightningModule: one fleet of networks, trained in one pass over one stream of images."""

import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from transferability.data.stream import Batch, to_device
from transferability.draws import dropout, mask_key
from transferability.networks.layers import Layer, build, draw
from transferability.study import Fleet, Network, Study
from transferability.training.device import Captured, Lanes, cuda_graph
from transferability.treatment import RANDOM

Weights = Mapping[str, Tensor]

# Steps that are made plainly before one is captured as a graph: momentum is there then, and cuDNN has chosen.
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

    def update(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """losses: (networks,) means over the batch. logits: (networks, batch, classes). labels: (batch,)."""
        best = logits.topk(min(5, logits.shape[-1]), dim=-1).indices == labels[None, :, None]
        hits = best.sum(1, dtype=torch.float64)  # of the best guess, the second best, ...
        count = torch.full_like(hits[:, 0], len(labels))
        self.sums += torch.stack([count, losses * count, hits[:, 0], hits.sum(1)], 1)

    def compute(self) -> Tensor:
        """(networks, 4): images, mean loss, top-1, top-5."""
        return torch.cat([self.sums[:, :1], self.sums[:, 1:] / self.sums[:, :1]], 1)


class FleetModule(L.LightningModule):
    """Networks that share target, recipe, images and seed, each with its own weights, loss, rates and metrics.

    Frozen layers are not copied: networks that freeze layers of the same source share one *prefix*, which runs
    once a batch, without gradient, with its dropout active in training, and puts out the features at every n
    that a network needs. Each network sees pictures minus the mean image of its source (of its own task where
    it has none).

    sources: for each source letter, the weights of its base. means: for each task, its mean image (S, S, 3).
    form: how the training step is computed on the device (`device.py`).
    """

    def __init__(
        self,
        study: Study,
        fleet: Fleet,
        classes: int,
        sources: Mapping[str, Weights],
        means: Mapping[str, np.ndarray],
        form: str = "plain",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # `training_step` is the whole step, and fewer hooks are called
        first = fleet.networks[0]
        self.fleet, self.recipe, self.architecture = fleet, first.recipe, study.architecture
        self.split, self.target, self.seed = first.split, first.treatment.target, first.seed
        self.form = form
        self.captured: Captured | None = None  # the step as a graph, once there is one
        self.lanes: Lanes | None = None  # while it is captured
        self.made = 0  # steps in this process
        # Steps that the optimiser has made, those of earlier processes included, and what they left.
        self.step = 0
        self.momentum: dict[str, Tensor] = {}
        self.series: dict[str, list[dict[str, float]]] = {network.name: [] for network in fleet.networks}
        self.seconds = 0.0
        self.training_tally = Tally(len(fleet.networks))
        self.validation_tally = Tally(len(fleet.networks))
        # Step at which a network's loss was first not a number; -1: never.
        self.register_buffer("diverged_at", torch.full((len(fleet.networks),), -1, dtype=torch.int64))
        self.diverged_at: Tensor
        for task, mean in means.items():
            self.register_buffer(f"mean_{task}", torch.from_numpy(np.array(mean)))

        self.prefixes = nn.ModuleDict()
        self.networks = nn.ModuleList()
        deepest: dict[str, int] = {}
        for network in fleet.networks:
            treatment = network.treatment
            if treatment.source and not treatment.rate:
                deepest[treatment.source] = max(treatment.n, deepest.get(treatment.source, 0))
        for source, n in deepest.items():
            self.prefixes[source] = self._prefix(source, n, classes, sources)
        for network in fleet.networks:
            self.networks.append(self._trained(network, classes, sources))

        # Where there is dropout: (owner of the mask, name of the layer), and its place among the keys.
        layers = [(self._owner(source), prefix) for source, prefix in self.prefixes.items()]
        layers += [(network.name, its) for network, its in zip(fleet.networks, self.networks, strict=True)]
        sites = [(owner, name) for owner, its in layers for name, layer in its.items() if layer.dropout]  # type: ignore[operator]
        self.sites = {site: place for place, site in enumerate(sites)}
        # Of this step, in a tensor, for a graph reads them where they are; None: made where they are used.
        self.register_buffer("keys", torch.zeros(len(sites), 2, dtype=torch.int32) if "graph" in form else None)
        self.keys: Tensor | None

    # ------------------------------------------------------------------------------------------ weights

    def _prefix(self, source: str, n: int, classes: int, sources: Mapping[str, Weights]) -> nn.ModuleDict:
        """The first n layers of a source, frozen."""
        prefix = nn.ModuleDict()
        for name, layer in list(build(self.architecture, classes, "split" in self.form))[:n]:
            if source == RANDOM:
                self._draw_random(name, layer)
            else:
                _copy(layer, sources[source], name)
            prefix[name] = layer
        return prefix.requires_grad_(False)

    def _trained(self, network: Network, classes: int, sources: Mapping[str, Weights]) -> nn.ModuleDict:
        """The layers that a network trains: what each starts from is the treatment's (`Treatment.layers`)."""
        trained = nn.ModuleDict()
        plans = network.treatment.layers(self.architecture.depth)
        built = build(self.architecture, classes, "split" in self.form)
        for (name, layer), plan in zip(built, plans, strict=True):
            if not plan.rate:
                continue
            if plan.origin == "copied":
                _copy(layer, sources[network.treatment.source], name)
            elif plan.origin == "random":
                self._draw_random(name, layer)
            else:
                spec = dict(self.architecture.layers)[name]
                draw(layer, spec, self.recipe.initialisation, "weights", network.name, name)
            trained[name] = layer
        return trained

    def _draw_random(self, name: str, layer: Layer) -> None:
        """Layer `name` of source R: one draw per (seed, split), the same for every n, never a base's."""
        address = ("weights", self.split, RANDOM, f"seed-{self.seed}", name)
        draw(layer, dict(self.architecture.layers)[name], self.recipe.initialisation, *address)

    def weights(self, index: int) -> dict[str, Tensor]:
        """All weights of a network, its frozen layers included: name of layer and parameter → tensor."""
        treatment = self.fleet.networks[index].treatment
        out = {}
        for position, (name, _) in enumerate(self.architecture.layers, 1):
            frozen = treatment.source and not treatment.rate and position <= treatment.n
            layers: Any = self.prefixes[treatment.source] if frozen else self.networks[index]
            for parameter, value in layers[name].named_parameters():
                out[f"{name}.{parameter}"] = value.detach().cpu().contiguous()
        return out

    # ------------------------------------------------------------------------------------------ one step

    def pictures(self, batch: Batch, task: str) -> Tensor:
        """(b, 3, c, c) float32: pixels minus the mean image of `task` at the crop's place, mirrored, scaled."""
        mean: Tensor = getattr(self, f"mean_{task}")
        size, crop = mean.shape[0], self.recipe.crop
        places, mirror = size - crop + 1, batch.mirror
        # Every crop of the mean image and of its mirror image, as a view: lines are copied out of it, not pixels.
        both = torch.stack([mean, mean.flip(1)])
        crops = both.as_strided((2, places, places, crop, crop, 3), (size * size * 3, size * 3, 3, size * 3, 3, 1))
        its = crops[mirror.long(), batch.ys, torch.where(mirror, places - 1 - batch.xs, batch.xs)]
        # Mirrored before they are floats: a quarter of the traffic.
        pixels = torch.where(mirror[:, None, None, None], batch.pixels.flip(3), batch.pixels)
        return (pixels - its.permute(0, 3, 1, 2)).mul_(self.recipe.scale)

    def _owner(self, source: str) -> str:
        """Who owns the dropout masks of a frozen prefix."""
        return f"{self.split}/{source}/seed-{self.seed}"

    def _mask_key(self, owner: str, name: str) -> tuple[int, int]:
        return mask_key("dropout", owner, name, self.step)

    def _run(self, name: str, layer: Any, x: Tensor, rows: Tensor, owner: str) -> Tensor:
        """One layer and, in training, its dropout, whose mask belongs to `owner`."""
        x = layer(x)
        if self.training and layer.dropout:
            its_key = self._mask_key(owner, name) if self.keys is None else self.keys[self.sites[owner, name]]
            x = dropout(x, layer.dropout, rows, its_key)
        return x

    def forward(self, batch: Batch) -> list[Tensor]:
        """The logits (b, classes) of each network, in the fleet's order."""
        treatments = [network.treatment for network in self.fleet.networks]
        # The task whose mean image a network subtracts.
        tasks = [t.target if t.source in ("", RANDOM) else t.source for t in treatments]
        pictures = {task: _as_autocast(self.pictures(batch, task)) for task in dict.fromkeys(tasks)}
        features: dict[tuple[str, int], Tensor] = {}
        with torch.no_grad():
            for source, prefix in self.prefixes.items():
                x = pictures[self.target if source == RANDOM else source]
                owner = self._owner(source)
                for n, (name, layer) in enumerate(prefix.items(), 1):  # type: ignore[operator]
                    x = self._run(name, layer, x, batch.rows, owner)
                    features[source, n] = x
        logits = []
        its = zip(self.fleet.networks, treatments, tasks, self.networks, strict=True)
        for index, (network, treatment, task, layers) in enumerate(its):
            frozen = treatment.source and not treatment.rate
            x = features[treatment.source, treatment.n] if frozen else pictures[task]
            with self.lanes.lane(index, x) if self.lanes else nullcontext():
                for name, layer in layers.items():  # type: ignore[operator]
                    x = self._run(name, layer, x, batch.rows, network.name)
                logits.append(x.float())
        if self.lanes:
            self.lanes.join()
        return logits

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(networks,): each network's mean over the batch. (networks, b, classes): their logits, without gradient."""
        logits = self(batch)
        # One by one: in one call over all networks, the rounding of a mean depends on how many there are.
        return torch.stack([F.cross_entropy(each, batch.labels) for each in logits]), torch.stack(logits).detach()

    def update(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Forward pass, backward pass, one step of the optimiser over all networks: `losses`, from before it."""
        optimiser: Any = self.optimizers(use_pl_optimizer=False)
        optimiser.zero_grad()
        losses, logits = self.losses(batch)
        with torch.autocast(self.device.type, enabled=False):  # a recipe's precision is that of the forward pass
            # The gradient of the sum with respect to each loss is 1: networks do not touch each other, NaN included.
            self.manual_backward(losses.sum())
        optimiser.step()
        return losses.detach(), logits

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """One step of the optimiser, tallied."""
        if self.keys is not None:
            words = torch.tensor([self._mask_key(*site) for site in self.sites], dtype=torch.int32)
            self.keys.copy_(to_device(words.view(-1, 2), self.device), non_blocking=True)
            if self.captured is None and self.made >= PLAIN_STEPS:
                self.captured = self.capture(batch)
        self.tally(*(self.captured or self.update)(batch), batch.labels)
        self.step += 1
        self.made += 1

    def capture(self, batch: Batch) -> Captured:
        """The step as a CUDA graph in which the networks are beside each other."""
        self.lanes = Lanes(len(self.networks))
        try:
            return Captured(self.update, batch, cuda_graph)
        finally:
            self.lanes = None

    @torch.no_grad()
    def tally(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Counts a training step, and marks the networks whose loss is no number for the first time."""
        first = ~losses.isfinite() & (self.diverged_at < 0)
        self.diverged_at.masked_fill_(first, self.step)
        self.training_tally.update(losses, logits, labels)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self.validation_tally.update(*self.losses(batch), batch.labels)

    # ------------------------------------------------------------------------------------------ the course

    @property
    def all_diverged(self) -> bool:
        """Whether no network's loss is a number any more: there is nothing left to train.

        Only ever after a validation, so that a run that is resumed between two stops where it would have.
        """
        validated = self.step % self.recipe.validate_every == 0 or self.step == self.recipe.steps
        return validated and bool((self.diverged_at >= 0).all())

    def stretch(self) -> tuple[int, int]:
        """(first step, end step) of the training that is left until the next validation."""
        step, every = self.step, self.recipe.validate_every
        return step, min(self.recipe.steps, (step // every + 1) * every)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD over all networks: one parameter group for each multiple of the rate, weights and biases apart."""
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for network, layers in zip(self.fleet.networks, self.networks, strict=True):
            plans = network.treatment.layers(self.architecture.depth)
            multiples = {name: plan.rate for (name, _), plan in zip(self.architecture.layers, plans, strict=True)}
            for name, layer in layers.items():  # type: ignore[operator]
                groups.setdefault((multiples[name], False), []).append(layer.weight)
                groups.setdefault((multiples[name], True), []).append(layer.bias)
        recipe = self.recipe
        optimiser = torch.optim.SGD(
            [
                {
                    "params": parameters,
                    "multiple": multiple * (recipe.bias_rate if bias else 1),
                    "weight_decay": 0.0 if bias else recipe.decay,
                    # Set before every step; a graph reads it where it is.
                    "lr": torch.zeros((), device=self.device) if "graph" in self.form else 0.0,
                }
                for (multiple, bias), parameters in groups.items()
            ],
            lr=0.0,
            momentum=recipe.momentum,
            fused=True,
        )
        named = dict(self.networks.named_parameters())
        for name, buffer in self.momentum.items():
            parameter = named[name]
            momentum = torch.empty_like(parameter, memory_format=torch.preserve_format)
            optimiser.state[parameter]["momentum_buffer"] = momentum.copy_(buffer)
        self.momentum = {}
        return optimiser

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Sets the rate of this step; keeps Caffe's momentum across a drop.

        Caffe keeps the rate inside the momentum buffer, V = momentum V + rate g, PyTorch outside. The two agree
        if the buffers are scaled by old over new rate whenever the rate drops.
        """
        optimiser: Any = self.optimizers()
        set_rate(optimiser, self.recipe.rate_at(self.step))
        if self.step and self.recipe.schedule == "step":
            scale_momentum(optimiser, self.recipe.rate_at(self.step - 1) / self.recipe.rate_at(self.step))

    def on_train_epoch_start(self) -> None:
        self._clock = time.monotonic()

    def lap(self) -> None:
        """Adds the time since the last call to the seconds of this fleet, its interrupted stretches left out."""
        now = time.monotonic()
        self.seconds += now - self._clock
        self._clock = now

    def on_validation_epoch_end(self) -> None:
        """Appends one row to the series of each network."""
        training, validation = self.training_tally.compute(), self.validation_tally.compute()
        self.training_tally.reset()
        self.validation_tally.reset()
        self.diverged_at.copy_(self._earliest_divergence())
        # The last step may have been the one that was too far: the next step's loss would be no number either.
        self.diverged_at.masked_fill_(~validation[:, 1].isfinite() & (self.diverged_at < 0), self.step)
        rows = zip(self.fleet.networks, training.tolist(), validation.tolist(), strict=True)
        self.lap()  # now: the numbers were waited for, and with them the device
        for network, (_, train_loss, train_top1, _), (images, val_loss, val_top1, val_top5) in rows:
            self.series[network.name].append(
                {
                    "step": self.step,
                    "rate": self.recipe.rate_at(self.step - 1),
                    "train_loss": train_loss,
                    "train_top1": train_top1,
                    "val_loss": val_loss,
                    "val_top1": val_top1,
                    "val_top5": val_top5,
                    "val_images": int(images),
                    "seconds": self.seconds,
                }
            )

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
        optimiser: Any = self.optimizers()
        state = optimiser.state
        named = dict(self.networks.named_parameters())
        return {
            "step": self.step,
            "weights": {name: value.detach() for name, value in named.items()},
            "momentum": {name: state[value]["momentum_buffer"] for name, value in named.items() if value in state},
            "diverged_at": self._earliest_divergence(),
            "training_sums": self._summed(self.training_tally.sums),
            "series": self.series,
            "seconds": self.seconds,
        }

    @torch.no_grad()
    def restore(self, checkpoint: Mapping[str, Any], first: bool = True) -> None:
        """Goes on from `checkpoint`; to be called before training starts. `first`: in the first process."""
        self.step = checkpoint["step"]
        named = dict(self.networks.named_parameters())
        if named.keys() != checkpoint["weights"].keys():
            raise ValueError("the checkpoint is of other networks")
        for name, value in checkpoint["weights"].items():
            named[name].copy_(value)
        self.momentum = dict(checkpoint["momentum"])
        self.diverged_at.copy_(checkpoint["diverged_at"])
        if first:  # they are the sums of all processes
            self.training_tally.sums.copy_(checkpoint["training_sums"])
        self.series = {name: list(rows) for name, rows in checkpoint["series"].items()}
        self.seconds = checkpoint["seconds"]


def _as_autocast(x: Tensor) -> Tensor:
    """`x` in the type that autocast computes in: once, and not in the first layer of each network."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


@torch.no_grad()
def _copy(layer: Layer, weights: Weights, name: str) -> None:
    """Sets a layer's parameters to those of layer `name` of `weights`: every one, of the same shape."""
    for parameter, value in layer.named_parameters():
        source = weights[f"{name}.{parameter}"]
        if source.shape != value.shape:
            raise ValueError(f"{name}.{parameter} is {tuple(source.shape)}, not {tuple(value.shape)}")
        value.copy_(source)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Sets every group's rate: `rate` times the group's multiple."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate * group["multiple"])
        else:
            group["lr"] = rate * group["multiple"]


@torch.no_grad()
def scale_momentum(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Multiplies all momentum buffers by `factor`, unless it is 1."""
    if not math.isclose(factor, 1.0):
        for state in optimiser.state.values():
            state["momentum_buffer"].mul_(factor)

"""Rows of the benchmark for networks that were cut into layers: training steps, and frozen layers."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from lines import BY_HAND, OURS, Line, Options, compared, in_turn
from noise import Subject, loop_by_hand, noise, trained, treatments
from torch import Tensor, nn

from transferability.networks.cut import CutLayer, chain, drawn_layers
from transferability.networks.norms import estimate_statistics, folded
from transferability.recipe import Recipe

SIDE, CROP, BATCH = 72, 64, 16  # pixels of the images, of their crops; images a step
RECIPE = Recipe("chain", steps=1, batch=BATCH, rate=0.01, crop=CROP, validate_every=1)

RESNET = f"ResNet-18, {CROP} pixels"

# ---------------------------------------------------------------------------------------------- chain-step, chain-fleet


def chain_step_row(options: Options) -> Iterator[Line]:
    """torchvision's network, channels last, by hand; both read the batches, subtract the mean image and mirror."""
    from torchvision.models import resnet18

    data, steps = noise(options.scratch, SIDE), 2 if options.quick else 8
    recipe = replace(RECIPE, steps=steps, validate_every=steps)

    def hand() -> float:
        network = resnet18(num_classes=10).to(memory_format=torch.channels_last)
        return loop_by_hand(data, recipe, [], [(0, [network])])

    ways = {OURS: partial(trained, data, ["baseB"], steps, subject=resnet()), BY_HAND: hand}
    measured = in_turn(ways, 2 * options.repeats)
    speeds = {way: [steps * BATCH / seconds for seconds in values] for way, values in measured.items()}
    yield from compared("chain-step", f"{RESNET}: a base alone", "images/s", speeds)


def chain_fleet_row(options: Options) -> Iterator[Line]:
    data, steps, subject = noise(options.scratch, SIDE), 1 if options.quick else 3, resnet()
    names = treatments("A*B", depth=subject.architecture.depth)
    ways = {
        "one fleet": partial(trained, data, names, steps, subject=subject),
        "one by one": partial(trained, data, names, steps, together=False, subject=subject),
    }
    measured = in_turn(ways, options.repeats)
    spent = {way: [1000 * value / steps for value in values] for way, values in measured.items()}
    yield from compared(
        "chain-fleet",
        f"{RESNET}: frozen at every cut, A1B to {names[-1]}",
        "ms per step of all",
        spent,
        more_is_better=False,
    )


def resnet() -> Subject:
    return Subject(chain("torchvision:resnet18", CROP), RECIPE)


# ---------------------------------------------------------------------------------------------- prefix

PREFIXES = ("resnet18", "mobilenet_v2", "squeezenet1_1", "efficientnet_b0")
PLAIN = "plain"


def prefix_row(options: Options) -> Iterator[Line]:
    """Images/s of all layers except the last, frozen, and how far features and losses are from the plain form's.

    Without dropout and stochastic depth, which draw in all forms alike.
    """
    for name in PREFIXES[2:3] if options.quick else PREFIXES:
        images = torch.randn(BATCH, 3, CROP, CROP, generator=torch.Generator().manual_seed(0))
        images = images.to(memory_format=torch.channels_last)
        *frozen, last = drawn_layers(chain(f"torchvision:{name}", CROP), 10, "prefix")
        for layer in frozen:
            layer.frozen = True
        estimate_statistics(frozen, lambda images=images: [images])
        ways = prefix_ways([layer.eval().requires_grad_(False) for layer in frozen], images)
        with torch.no_grad():
            speeds = in_turn({way: partial(speed, run, options.quick) for way, run in ways.items()}, options.repeats)
            yield from compared("prefix", name, "images/s", speeds)
            yield from differences(name, {way: run().float() for way, run in ways.items()}, last)


def prefix_ways(layers: Sequence[CutLayer], images: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Way → its features of the images. bfloat16: under autocast, as a recipe's precision says."""
    together = [folded(layer).eval() for layer in layers]
    first = [deepcopy(layer).to(memory_format=torch.contiguous_format) for layer in layers]  # type: ignore[call-overload]

    def run(layers: Sequence[nn.Module], x: Tensor, half: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            x = x.bfloat16() if half else x
            for layer in layers:
                x = layer(x)
        return x

    return {
        PLAIN: partial(run, layers, images, False),
        "folded": partial(run, together, images, False),
        "channels first": partial(run, first, images.contiguous(), False),
        "bfloat16": partial(run, layers, images, True),
        "bfloat16, folded": partial(run, together, images, True),
    }


def speed(run: Callable[[], Tensor], quick: bool) -> float:
    count = 1 if quick else 4
    began = time.perf_counter()
    for _ in range(count):
        run()
    return count * BATCH / (time.perf_counter() - began)


def differences(name: str, features: dict[str, Tensor], last: CutLayer) -> Iterator[Line]:
    """The largest difference of features from the plain ones, relative to the largest of these; and of losses, each
    relative to the plain one. The losses are those of the last layer, as it is drawn, for labels 0, 1, … 9, 0, 1, …"""
    labels = torch.arange(BATCH) % 10
    losses = {way: F.cross_entropy(last.eval()(x), labels, reduction="none") for way, x in features.items()}
    for what, values in (("features", features), ("losses", losses)):
        plain = values[PLAIN]
        for way in list(values)[1:]:
            scale = plain.abs().max() if what == "features" else plain
            off = float(((values[way] - plain).abs() / scale).max())
            yield from compared("prefix", f"{name}: {what} differ by", "of the plain ones", {way: [off]})

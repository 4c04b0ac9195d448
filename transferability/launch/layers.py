"""What `layers` prints: the layers of a network, what each is and costs, and how long it takes on this machine."""

import difflib
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from transferability.draws import normal
from transferability.files import Refused
from transferability.names import counted
from transferability.networks.caffenet import Architecture, caffenet, cnn
from transferability.networks.chain import Chain
from transferability.networks.cut import chain
from transferability.networks.facts import layer_facts
from transferability.networks.layers import Layer, build, draw
from transferability.networks.origin import known_networks
from transferability.results.table import lines_of, write_lines
from transferability.runs.status import aligned
from transferability.study import load_study

CROP = 224  # pixels, of networks that are found by name
MOST_ROUNDS, FEWEST_ROUNDS, ENOUGH_SECONDS = 9, 3, 10.0  # how often the layers are timed
HEADINGS = ("n", "layer", "output", "parameters", "MFLOP", "ms")


class TimedLayer(NamedTuple):
    """What a layer is and costs, for one image: a line of the CSV, whose columns are these fields.

    network: a word for people. crop: pixels. kind: convolutional, fully connected or other, as most of its weights are.
    shape: of its output, as 64x55x55. parameters, buffers: how many numbers. operations: floating-point operations of
    its matrix products, forward, two a multiplication. milliseconds: its forward pass in evaluation, per image of a
    batch of `batch`, with `threads` threads.
    """

    network: str
    crop: int
    n: int
    layer: str
    kind: str
    shape: str
    parameters: int
    buffers: int
    operations: int
    milliseconds: float
    batch: int
    threads: int


# ------------------------------------------------------------------------------------------ which network


NAMED = {"caffenet": caffenet} | {f"cnn-{kind.lower()}": partial(cnn, kind) for kind in "FMS"}


def network_of(text: str, crop: int | None, points: bool) -> Architecture | Chain:
    """The network that is named: one of NAMED, torchvision:NAME, timm:NAME, or that of an experiment file.

    crop: pixels; None: the file's, or 224, CaffeNet's 227. points: every point at which it can be cut ends a layer.
    """
    if text.endswith(".py") or Path(text).is_file():
        network = load_study(text).architecture
    elif text in NAMED:
        network = NAMED[text]()
    elif ":" in text:
        return chain(text, crop or CROP, "points" if points else "blocks")
    else:
        known = {name.partition(":")[2]: name for name in reversed(known_networks())} | {name: name for name in NAMED}
        nearest = ", ".join(known[name] for name in difflib.get_close_matches(text, known, 3, 0.4))
        raise Refused(
            f"no network {text!r}; write {', '.join(NAMED)}, torchvision:NAME, timm:NAME or an experiment file"
            + (f"; the nearest names are {nearest}" if nearest else "")
        )
    if isinstance(network, Chain):
        asked = "points" if points else network.layers
        return chain(network.network, crop or network.crop, asked, **dict(network.options))
    if points:
        raise Refused(f"--points: the layers of {network.name} are given one by one; leave --points out")
    return replace(network, crop=crop or network.crop)


# ------------------------------------------------------------------------------------------ time


def timed_layers(network: Architecture | Chain, classes: int, batch: int) -> list[TimedLayer]:
    """Every layer of the network, bottom to top, with its time on this machine. Refused where images are too small."""
    facts = layer_facts(network, classes)
    layers = []
    for name, layer in build(network, classes):
        draw(network, name, layer, classes, "he", "layers")
        layers.append(layer.eval())
    images = normal((batch, 3, network.crop, network.crop), 1.0, "layers").to(memory_format=torch.channels_last)
    medians = [statistics.median(seconds) for seconds in zip(*_rounds(layers, images), strict=True)]
    return [
        TimedLayer(
            network.name,
            network.crop,
            n,
            fact.name,
            kind_of(layer),
            "x".join(map(str, fact.shape)),
            fact.parameters,
            fact.buffers,
            fact.operations,
            round(1000 * seconds / batch, 4),
            batch,
            torch.get_num_threads(),
        )
        for n, (fact, layer, seconds) in enumerate(zip(facts, layers, medians, strict=True), 1)
    ]


@torch.no_grad()
def _rounds(
    layers: Sequence[Layer], images: Tensor, clock: Callable[[], float] = time.perf_counter
) -> list[list[float]]:
    """Seconds of each layer, in several rounds through all of them: what slows the machine meets all layers alike."""
    rounds: list[list[float]] = []
    begin = clock()
    for number in range(MOST_ROUNDS + 1):
        if number > FEWEST_ROUNDS and clock() - begin > ENOUGH_SECONDS:
            break
        x, seconds = images, []
        for layer in layers:
            start = clock()
            x = layer(x)
            seconds.append(clock() - start)
        rounds.append(seconds)
    return rounds[1:]  # the first one is slower: memory is asked for


def kind_of(layer: Layer) -> str:
    """convolutional or fully connected, as most of a layer's weights are; other where it has none."""
    sizes = {"convolutional": 0, "fully connected": 0}
    for weights in layer.parameters():
        if weights.ndim in (2, 4):
            sizes["fully connected" if weights.ndim == 2 else "convolutional"] += weights.numel()
    return max(sizes, key=lambda kind: sizes[kind]) if any(sizes.values()) else "other"


# ------------------------------------------------------------------------------------------ output


def write_csv(path: Path, layers: Iterable[TimedLayer]) -> None:
    """The table that `plots/layer_times.py` draws."""
    write_lines(path, TimedLayer._fields, [lines_of(layers)])


def table(layers: Sequence[TimedLayer]) -> list[str]:
    """The layers as lines of text, and below them the network's sums and what was measured."""
    rows = [
        (
            str(layer.n),
            layer.layer,
            layer.shape,
            f"{layer.parameters:,}",
            f"{layer.operations / 1e6:,.2f}",
            f"{layer.milliseconds:.3f}",
        )
        for layer in layers
    ]
    parameters, operations, milliseconds = (
        sum(getattr(layer, field) for layer in layers) for field in ("parameters", "operations", "milliseconds")
    )
    total = ("", "sum", "", f"{parameters:,}", f"{operations / 1e6:,.2f}", f"{milliseconds:.3f}")
    first = layers[0]
    threads = counted(first.threads, "thread")
    return [
        *aligned([HEADINGS, *rows, total], right=(0, 3, 4, 5)),
        "",
        f"{first.network}, {first.crop} x {first.crop} pixels. MFLOP, ms: forward, per image; ms: median on this "
        f"machine, batch {first.batch}, {threads}.",
    ]

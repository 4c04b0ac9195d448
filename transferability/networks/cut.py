"""A network cut into layers, which compute what it computes: checked when it is cut."""

import copy
import hashlib
import itertools
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.graph_module import _copy_attr
from torch.nn.modules.batchnorm import _NormBase

from transferability.draws import normal
from transferability.files import Refused, in_words
from transferability.networks.addressed import AddressedDraws
from transferability.networks.blocks import layer_ends
from transferability.networks.chain import Chain, LayerFacts, Top
from transferability.networks.origin import build_network
from transferability.networks.trace import Trace, input_of, trace, without_shared

CHECKED_CLASSES = 10  # classes of the network that is cut to find its layers
SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 299, 384, 512)  # pixels that are tried for a hint

# ------------------------------------------------------------------------------------------ layers


@dataclass(frozen=True)
class Cut:
    """A network's layers: their names, and templates of them, whose weights are not set.

    signature: 16 hexadecimal digits that stand for the network's operations and the shapes of its tensors.
    """

    names: tuple[str, ...]
    templates: tuple["CutLayer", ...]
    signature: str


class CutLayer(nn.Module):
    """A piece of a network, whose tensors keep the names that they have in it. (batch, ...) → (batch, ...).

    state: names of all tensors of the network's state: what else is in a trace is a constant of the network's code.
    evaluation, training_graph: what it computes; None in training: the same. prefix: of the names.
    frozen: its norms are in evaluation mode in training too. is_random: it draws numbers in training. protects: its
    first operation writes into its input, which may be others' too, so it works on a copy.
    """

    dropout = 0.0

    def __init__(
        self, state: Iterable[str], evaluation: nn.Module, training_graph: nn.Module | None = None, prefix: str = ""
    ) -> None:
        super().__init__()
        self.evaluation, self.training_graph, self.prefix = evaluation, training_graph, prefix
        self.state = frozenset(state)
        self.frozen = self.is_random = self.protects = False

    def train(self, mode: bool = True) -> "CutLayer":
        super().train(mode)
        if self.frozen:
            for module in self.modules():
                if isinstance(module, _NormBase):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        graph = self.training_graph if self.training and self.training_graph is not None else self.evaluation
        result: Tensor = graph(x.clone() if self.protects else x)
        return result

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers that a state dict holds, under the names that they have in the network."""
        own = self.evaluation.state_dict(keep_vars=True)
        if self.training_graph is not None:
            own = {**self.training_graph.state_dict(keep_vars=True), **own}
        return {self.prefix + name: value for name, value in own.items() if self.prefix + name in self.state}


def chain(
    network: str | Callable[..., Any],
    crop: int,
    layers: str | Sequence[str] = "blocks",
    top: Top | None = None,
    **options: Any,
) -> Chain:
    """A network as a chain of layers, cut where one tensor is all that flows on.

    network: `torchvision:NAME`, `timm:NAME`, or a function of the number of classes that returns an `nn.Module` with
    one output per class, or, where it cannot be traced, the list of its parts, pairs of a name and an `nn.Module`.
    crop: side of its square input, in pixels.
    layers: "blocks": a layer is a residual block or its like, or a convolution or fully connected layer with what
    follows it; "points": a layer ends wherever the network can be cut; or the names of modules or points, from bottom
    to top: a layer ends where each of them does.
    top: new fully connected layers in place of its own upper ones (`chain.Top`).
    options: further arguments for torchvision, timm or the function.
    Refused, in one line, where it cannot be built or cut.
    """
    asked = Chain(network, crop, layers, options, top)
    found = cut(asked)
    return replace(asked, layer_names=found.names, signature=found.signature)


@lru_cache(maxsize=16)
def cut(chain: Chain, classes: int = CHECKED_CLASSES) -> Cut:
    """The layers of the network with `classes` outputs; Refused where it cannot be built or cut."""
    built = build_network(chain, classes)
    if isinstance(built, list):
        return _cut_parts(chain, built)
    state = frozenset(built.state_dict())
    evaluation, training = trace(built, False, chain.name), trace(built, True, chain.name)
    names = [name for name in evaluation.points if name in training.points]
    if not names or names[-1] != list(evaluation.points)[-1] or names[-1] != list(training.points)[-1]:
        raise Refused(
            f"{chain.name} puts out something else in training than in evaluation; build it without its further outputs"
        )
    names = without_shared(evaluation, training, built, names)
    chosen = layer_ends(chain, evaluation, built, names)
    ends = list(chosen.values())
    same = evaluation.graph.python_code("self").src == training.graph.python_code("self").src
    templates = []
    for before, end in zip([None, *ends], ends, strict=False):
        pieces = [
            fx.GraphModule(built, _piece(found, found.points.get(before or ""), found.points[end]))
            for found in ([evaluation] if same else [evaluation, training])
        ]
        templates.append(CutLayer(state, pieces[0], pieces[1] if len(pieces) > 1 else None))
    _give_constants(built, templates)
    try:
        copy.deepcopy(templates)
    except Exception as error:
        raise Refused(f"{chain.name}: its layers cannot be copied ({in_words(error)})") from None
    return Cut(tuple(chosen), tuple(templates), _signature(templates))


def _shared_path(name: str, other: str) -> int:
    """How many modules, from the outside in, two tensors are both in."""
    pairs = zip(name.split("."), other.split("."), strict=False)
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _give_constants(network: nn.Module, layers: Sequence[CutLayer]) -> None:
    """Gives each buffer that the trace has no use for (its values are constants there) to the layer nearest by name."""
    claimed = {name for layer in layers for name in layer.tensors()}
    for name, buffer in network.named_buffers():
        if name in claimed or name not in layers[0].state:
            continue

        def nearness(layer: CutLayer, name: str = name) -> int:
            return max((_shared_path(name, other) for other in layer.tensors()), default=0)

        owner = max(layers, key=nearness)
        _copy_attr(network, owner.evaluation, name)
        assert name in owner.tensors(), buffer.shape


def _cut_parts(chain: Chain, parts: list[tuple[str, nn.Module]]) -> Cut:
    if chain.layers not in ("blocks", "points"):
        raise Refused(f"{chain.name} is a list of parts, which are its layers; leave `layers` out")
    names = [name for name, _ in parts]
    if len(set(names)) < len(names):
        raise Refused(f"{chain.name}: two parts have the same name; give each a name of its own")
    if unfit := [name for name in names if not name or "." in name]:
        raise Refused(f"{chain.name}: a part is named {unfit[0]!r}; give it a name without dots")
    owners: dict[int, str] = {}
    for name, part in parts:
        for tensor in (*part.parameters(), *part.buffers()):
            if owners.setdefault(id(tensor), name) != name:
                raise Refused(f"{chain.name}: parts {owners[id(tensor)]} and {name} share weights; make them one part")
    state = [f"{name}.{key}" for name, part in parts for key in part.state_dict()]
    templates = [CutLayer(state, part, prefix=f"{name}.") for name, part in parts]
    return Cut(tuple(names), tuple(templates), _signature(templates))


def _signature(layers: Sequence[CutLayer]) -> str:
    lines = []
    for layer in layers:
        lines += [f"{name} {tuple(value.shape)}" for name, value in layer.tensors().items()]
        for graph in (layer.evaluation, layer.training_graph):
            if not isinstance(graph, fx.GraphModule):
                lines.append(repr(graph))
                continue
            modules = dict(graph.named_modules())
            for node in graph.graph.nodes:
                target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
                what = module_text(modules[target]) if node.op == "call_module" else ""
                lines.append(f"{node.op} {target} {what} {node.args} {node.kwargs}")
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()


def module_text(module: nn.Module) -> str:
    """A module as text, the same under every version of torch: until 2.14 or so, norms did not print their `bias`."""
    if not isinstance(module, _NormBase | nn.GroupNorm | nn.LayerNorm):
        return repr(module)
    return re.sub(r"affine=(True|False)(?!, bias=)", r"affine=\1, bias=\1", repr(module))


def _piece(found: Trace, before: fx.Node | None, end: fx.Node) -> fx.Graph:
    """The part of a trace that computes `end` out of the value of `before` (None: of the network's input)."""
    nodes = list(found.graph.nodes)
    before = before or input_of(found.graph)
    piece = fx.Graph()
    copies = {before: piece.placeholder("x")}

    def copied(node: fx.Node) -> fx.Node:
        if node not in copies:  # what depends on weights alone is copied where it is needed
            copies[node] = piece.node_copy(node, copied)
        return copies[node]

    for node in nodes[nodes.index(before) + 1 : nodes.index(end) + 1]:
        if node in found.dependent:
            copied(node)
    piece.output(copies[end])
    return piece


# ------------------------------------------------------------------------------------------ promise 10


@lru_cache(maxsize=16)
def checked_layers(chain: Chain) -> tuple[CutLayer, ...]:
    """The chain's layers, drawn at a fixed address, after they were compared with the network; each knows what it does.

    Refused, by name: images too small for the network, an output that is no class score, a layer that computes
    something else than the network does, in evaluation or in training; draws that cannot be addressed; frozen layers
    whose buffers training would move.
    """
    layers = drawn_layers(chain, CHECKED_CLASSES, "check")
    images = normal((3, 3, chain.crop, chain.crop), 1.0, "check", chain.crop).to(memory_format=torch.channels_last)
    network = whole(chain, CHECKED_CLASSES, "check")
    state = network.state_dict()
    if any(not torch.equal(value, state[name]) for layer in layers for name, value in layer.tensors().items()):
        raise Refused(f"{chain.name}: two first draws of its weights differ; draw them by torch's functions alone")
    rows = torch.tensor([4, 0, 7])
    for training in (False, True):
        expected = _seen(chain, network.train(training), images, rows)
        _refuse_no_scores(chain, expected)
        x = images
        with torch.no_grad(), AddressedDraws(rows, "check") as draws:
            for name, layer in zip(cut(chain).names, layers, strict=True):
                x = _inspected(chain, name, layer.train(training), x, draws)
        if draws.count and not training:
            raise Refused(f"{chain.name} draws numbers in evaluation too; hand `self.training` on to its dropout")
        if not torch.equal(x, expected):
            raise Refused(f"{chain.name}: its layers, one after the other, do not compute what it computes")
    _refuse_other_buffers(chain, network, layers)
    _refuse_unaddressed(chain, layers, images, rows)
    return layers


def _seen(chain: Chain, network: nn.Module, images: Tensor, rows: Tensor) -> Tensor:
    """The network's output. Refused, with a size that it takes, where it cannot take the images."""
    try:
        with torch.no_grad(), AddressedDraws(rows, "check"):
            output: Tensor = network(images)
        return output
    except Refused as error:
        raise Refused(f"{chain.name}: {error}") from None
    except Exception as error:
        takes = next((size for size in SIZES if size > chain.crop and _takes(chain, size)), None)
        hint = f"; it takes {takes}" if takes else ""
        raise Refused(
            f"{chain.name} cannot take images of {chain.crop} x {chain.crop} pixels ({in_words(error)}){hint}"
        ) from None


def _takes(chain: Chain, size: int) -> bool:
    with suppress(Exception), torch.no_grad():
        whole(replace(chain, crop=size), CHECKED_CLASSES, "check").eval()(torch.zeros(2, 3, size, size))
        return True
    return False


def _refuse_no_scores(chain: Chain, output: Any) -> None:
    if not isinstance(output, Tensor):
        raise Refused(f"{chain.name} puts out {type(output).__name__}, not one tensor of class scores")
    if output.shape != (3, CHECKED_CLASSES):
        raise Refused(
            f"{chain.name} puts out {tuple(output.shape)} for 3 images and {CHECKED_CLASSES} classes, not class scores "
            f"(3, {CHECKED_CLASSES})"
        )


def _inspected(chain: Chain, name: str, layer: CutLayer, x: Tensor, draws: AddressedDraws) -> Tensor:
    """A layer's output. Notes in the layer whether it draws numbers, and whether it writes into its input."""
    before, drawn = x.clone(), draws.count
    output = layer(x)
    layer.protects |= not torch.equal(before, x)
    layer.is_random |= draws.count > drawn
    if not isinstance(output, Tensor):
        raise Refused(f"{chain.name}: layer {name} puts out {type(output).__name__}, not one tensor")
    return output


def _refuse_other_buffers(chain: Chain, network: nn.Module, layers: Sequence[CutLayer]) -> None:
    buffers = {name: value for layer in layers for name, value in layer.tensors().items()}
    for name, value in network.state_dict().items():
        if name not in buffers:
            raise Refused(f"{chain.name}: {name} belongs to no layer")
        if not torch.equal(value, buffers[name]):
            raise Refused(f"{chain.name}: training moves {name} in the network and not in its layer")


def _refuse_unaddressed(chain: Chain, layers: Sequence[CutLayer], images: Tensor, rows: Tensor) -> None:
    """Frozen layers keep their buffers; and what a layer draws for an image does not depend on its neighbours."""
    turned = torch.tensor([2, 0, 1])
    for name, layer in zip(cut(chain).names, layers, strict=True):
        frozen = copy.deepcopy(layer)
        frozen.frozen = True
        before = {key: value.clone() for key, value in frozen.tensors().items()}
        with torch.no_grad(), AddressedDraws(rows, name):
            output = frozen.train()(images.clone())
        moved = [key for key, value in frozen.tensors().items() if not torch.equal(value, before[key])]
        if moved:
            raise Refused(f"{chain.name}: training moves {moved[0]} of layer {name} although it is frozen")
        if layer.is_random:
            with torch.no_grad(), AddressedDraws(rows[turned], name):
                other = frozen(images[turned].clone())
            if not torch.allclose(other, output[turned], rtol=1e-3, atol=1e-5):
                raise Refused(
                    f"{chain.name}: the numbers that layer {name} draws in training (dropout or its like) cannot be "
                    "addressed by image; leave its dropout out"
                )
        images = output


# ------------------------------------------------------------------------------------------ layers with weights


def whole(chain: Chain, classes: int, *address: str | int) -> nn.Module:
    """The network in one piece, drawn at `address`, channels last."""
    built = build_network(chain, classes, *address)
    network = nn.Sequential(OrderedDict(built)) if isinstance(built, list) else built
    set_channels_last(network)
    return network


def set_channels_last(module: nn.Module) -> None:
    """Lays out weights of four dimensions channels last. `Module.to` refuses buffers of five, as Swin has."""
    for value in (*module.parameters(), *module.buffers()):
        if value.dim() == 4:
            value.data = value.data.to(memory_format=torch.channels_last)


@torch.no_grad()
def drawn_layers(chain: Chain, classes: int, *address: str | int) -> tuple[CutLayer, ...]:
    """All layers, with the network's own first weights, drawn at `address`."""
    weights = drawn_weights(chain, classes, *address)
    layers = []
    for template in cut(chain, classes).templates:
        layer = copy.deepcopy(template)
        set_channels_last(layer)
        for name, value in layer.tensors().items():
            value.copy_(weights[name])
        layers.append(layer)
    return tuple(layers)


@lru_cache(maxsize=1)  # the layers of a network are set one after the other
def drawn_weights(chain: Chain, classes: int, *address: str | int) -> dict[str, Tensor]:
    """The state of the network with `classes` outputs as its own code draws it, with draws at `address`."""
    built = build_network(chain, classes, *address)
    parts = built if isinstance(built, list) else [("", built)]
    return {
        (f"{part}." if part else "") + name: value
        for part, module in parts
        for name, value in module.state_dict().items()
    }


def empty_layers(chain: Chain, classes: int) -> Iterator[tuple[str, CutLayer]]:
    """The named layers with `classes` outputs, bottom to top, checked; their weights are to be set."""
    names, templates = cut(chain, classes).names, cut(chain, classes).templates
    if classes != CHECKED_CLASSES and cut(chain, classes).signature == cut(chain).signature:
        raise Refused(f"{chain.name} has as many outputs for {classes} classes as for {CHECKED_CLASSES}")
    for name, template, known in zip(names, templates, checked_layers(chain), strict=True):
        layer = copy.deepcopy(template)
        set_channels_last(layer)
        layer.is_random, layer.protects = known.is_random, known.protects
        yield name, layer


def measured_facts(chain: Chain, classes: int) -> tuple[LayerFacts, ...]:
    """What each layer is and costs, measured; `facts.layer_facts` keeps it."""
    from torch.utils.flop_counter import FlopCounterMode  # it loads triton: half a second

    checked_layers(chain)
    x = torch.zeros(2, 3, chain.crop, chain.crop).to(memory_format=torch.channels_last)
    measured = []
    for name, layer in zip(cut(chain, classes).names, drawn_layers(chain, classes, "check"), strict=True):
        layer.train()
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        counter = FlopCounterMode(display=False)
        weights = {value.untyped_storage().data_ptr() for value in layer.tensors().values()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), counter:
            output = layer(x.clone().requires_grad_())
        parameters = {id(value): value.numel() for value in layer.parameters()}
        measured.append(
            LayerFacts(
                name,
                tuple(output.shape[1:]),
                sum(parameters.values()),
                sum(value.numel() for value in layer.tensors().values() if not isinstance(value, nn.Parameter)),
                counter.get_total_flops() // len(x),
                sum(size for place, size in kept.items() if place not in weights) // (4 * len(x)),
            )
        )
        x = output.detach()
    return tuple(measured)

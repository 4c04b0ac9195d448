"""Which of the points at which a network can be cut end a layer: blocks, every point, or the user's list of names."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from transferability.files import Refused
from transferability.networks.chain import Chain
from transferability.networks.trace import Trace, input_of, paths_of, point_name, tensors_of, unique

# Modules whose children are no unit of thought: a block is never one of these.
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def layer_ends(chain: Chain, traced: Trace, network: nn.Module, names: list[str]) -> dict[str, str]:
    """Name of each layer → the point at which it ends, from bottom to top; the last ends at the output."""
    place = {node: number for number, node in enumerate(traced.graph.nodes)}
    has_weights = _weighty_nodes(traced.graph, network)
    pieces: list[tuple[str, list[fx.Node]]] = []
    start = 0
    nodes = list(traced.graph.nodes)
    for name in names:
        end = place[traced.points[name]]
        pieces.append((name, [node for node in nodes[start : end + 1] if node in traced.dependent]))
        start = end + 1
    if not pieces or not has_weights:
        raise Refused(f"{chain.name} cannot be cut: no point of it lets a single value through, or it has no weights")
    if chain.layers == "points":
        chosen = {name: name for name, _ in pieces}
        # What comes behind the last weights is the last layer's: it gives the classes.
        last = max(i for i, (_, part) in enumerate(pieces) if any(node in has_weights for node in part))
        kept = list(chosen)[: last + 1]
        return {name: (name if name != kept[-1] else pieces[-1][0]) for name in kept}
    if chain.layers == "blocks":
        return _blocks(pieces, has_weights, _meeting_points(traced.graph))
    return _named(chain, pieces)


def _weighty_nodes(graph: fx.Graph, network: nn.Module) -> set[fx.Node]:
    """The nodes that multiply by a matrix or a kernel of weights: convolutions, fully connected layers."""
    weighty = set()
    for node in graph.nodes:
        word = str(getattr(node.target, "__name__", node.target))
        multiplies = node.op == "call_module" or any(kind in word for kind in ("conv", "linear", "mm", "matmul"))
        if multiplies and any(tensor.is_floating_point() and tensor.ndim >= 2 for tensor in tensors_of(node, network)):
            weighty.add(node)
    return weighty


@dataclass
class _Group:
    """Pieces that become one layer. block: path of the block that they are; None: what lies between blocks."""

    block: str | None
    end: str
    weighty: list[fx.Node]


def _blocks(
    pieces: list[tuple[str, list[fx.Node]]], has_weights: set[fx.Node], meeting: set[fx.Node]
) -> dict[str, str]:
    """The layers by blocks.

    Where branches meet (a residual connection, a concatenation), the innermost module around them makes a type of
    block; a block is an outermost module of such a type. Between blocks, each convolution or fully connected layer
    begins a layer, which takes along what follows it (norm, ReLU, pooling, dropout). What has no weights belongs to the
    layer below it.
    """
    types = set()
    for _, nodes in pieces:
        if meeting.intersection(nodes):
            common = _common(nodes)
            if common and common[-1][1] not in CONTAINERS:
                types.add(common[-1][1])
    groups: list[_Group] = []
    for name, nodes in pieces:
        block = next((path for path, kind in _common(nodes) if kind in types), None)
        weighty = [node for node in nodes if node in has_weights]
        current = groups[-1] if groups else None
        if current is None or current.block != block or (block is None and weighty and current.weighty):
            groups.append(_Group(block, name, weighty))
        else:
            current.end, current.weighty = name, current.weighty + weighty
    layers: dict[str, str] = {}
    for group in groups:
        if not group.weighty and layers:
            layers[list(layers)[-1]] = group.end
            continue
        name = group.block or (point_name(group.weighty[0]) if group.weighty else group.end)
        layers[unique(name, layers)] = group.end
    return layers


def _meeting_points(graph: fx.Graph) -> set[fx.Node]:
    """The nodes that join two tensors that depend on the input: where branches meet. Sizes of tensors are no branch."""
    tensors: set[fx.Node] = {input_of(graph)}
    meeting = set()
    for node in graph.nodes:
        operands = {argument for argument in node.all_input_nodes if argument in tensors}
        asks = node.op == "call_method" and node.target in ("size", "dim", "numel")
        asks |= node.target is getattr and node.args[1] in ("shape", "ndim", "device", "dtype")
        if operands and not asks:
            tensors.add(node)
        if len(operands) > 1:
            meeting.add(node)
    return meeting


def _common(nodes: Sequence[fx.Node]) -> list[tuple[str, Any]]:
    """(path, type) of the modules around all of these nodes, outermost first, the network itself left out."""
    stacks = [list(paths_of(node).items()) for node in nodes]
    common = []
    for level in zip(*stacks, strict=False):
        if len({path for path, _ in level}) > 1:
            break
        if level[0][0]:
            common.append(level[0])
    return common


def _where_all_are_listed(chain: Chain) -> str:
    if isinstance(chain.network, str):
        return f"`transferability layers {chain.network} --points` lists all"
    return "with layers='points', `transferability layers EXPERIMENT` lists all"


def _named(chain: Chain, pieces: list[tuple[str, list[fx.Node]]]) -> dict[str, str]:
    """The layers that the user has listed: each ends where the module, or the point, of its name ends."""
    ends: dict[str, int] = {}
    for number, (point, nodes) in enumerate(pieces):
        last = nodes[-1]
        around = [*paths_of(last), *([str(last.target)] if last.op == "call_module" else []), point]
        ends |= dict.fromkeys(filter(None, around), number)
    layers: dict[str, str] = {}
    previous = -1
    for name in chain.layers:
        if name not in ends:
            nearest = difflib.get_close_matches(name, ends, 3, 0.4)
            raise Refused(
                f"{chain.name}: no layer can end at {name!r}"
                + (f"; the nearest names are {', '.join(nearest)}" if nearest else "")
                + f" ({_where_all_are_listed(chain)})"
            )
        if ends[name] <= previous:
            raise Refused(f"{chain.name}: layer {name!r} ends below the one before it; list them from bottom to top")
        previous = ends[name]
        layers[name] = pieces[previous][0]
    layers[list(layers)[-1]] = pieces[-1][0]
    return layers

"""New fully connected layers on top of a network, in place of its own upper layers."""

import difflib

import torch
from torch import Tensor, fx, nn

from transferability.files import Refused
from transferability.networks.chain import Top
from transferability.networks.trace import Trace, trace

OUTPUT = "output"


def is_of_top(name: str) -> bool:
    """Whether a tensor of a network with a top belongs to the top, by its name in the network."""
    first = name.partition(".")[0]
    return first == OUTPUT or (first.startswith("top") and first[3:].isdigit())


def with_top(network: nn.Module, top: Top, crop: int, classes: int, name: str) -> nn.Module:
    """The network up to `top.after`, then the new layers; the tensors below keep their names.

    Refused: a point that there is not, a network that computes something else in training than in evaluation.
    """
    found, in_training = trace(network, False, name), trace(network, True, name)
    end = _end(network, found, top.after, name)
    graph = _up_to(found, end)
    training = _up_to(in_training, _end(network, in_training, top.after, name))
    if graph.python_code("self").src != training.python_code("self").src:
        raise Refused(f"{name}: below its top it computes something else in training than in evaluation")
    features = _features(network, _up_to(found, end), crop)  # a graph belongs to one module
    modules: dict[str, nn.Module] = {}
    if features.ndim == 4:
        modules |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    width = features.shape[-1] if features.ndim == 3 else features.shape[1]
    for number, outputs in enumerate(top.hidden, 1):
        modules |= {
            f"top{number}": nn.Linear(width, outputs),
            f"relu{number}": nn.ReLU(inplace=True),
            f"dropout{number}": nn.Dropout(top.dropout),
        }
        width = outputs
    modules[OUTPUT] = nn.Linear(width, classes)
    return _assembled(network, graph, modules, features.ndim == 3, name)


def _end(network: nn.Module, found: Trace, after: str, name: str) -> fx.Node:
    """The node at which the new layers begin: the point, or the last point of the module, of this name."""
    if not after:
        nodes = list(found.graph.nodes)
        modules = dict(network.named_modules())
        called = [node for node in nodes if node.op == "call_module"]
        weighted = [node for node in called if list(modules[str(node.target)].parameters())]
        below = [node for node in found.points.values() if nodes.index(node) < nodes.index(weighted[-1])]
        if not below:
            raise Refused(f"{name}: there is nothing below its classifier; name what its top stands on")
        return below[-1]
    within = [node for point, node in found.points.items() if point == after or point.startswith(f"{after}.")]
    if not within:
        nearest = ", ".join(difflib.get_close_matches(after, found.points, 3, 0.4))
        hint = f"; the nearest points are {nearest}" if nearest else ""
        raise Refused(f"{name} cannot be cut after {after!r}{hint}")
    return within[-1]


def _up_to(found: Trace, end: fx.Node) -> fx.Graph:
    """The graph that puts out the value of `end`."""
    needed, left = {end}, [end]
    while left:
        new = set(left.pop().all_input_nodes) - needed
        needed |= new
        left += new
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in found.graph.nodes:
        if node in needed:
            copies[node] = graph.node_copy(node, lambda used: copies[used])
    graph.output(copies[end])
    return graph


def _features(network: nn.Module, graph: fx.Graph, crop: int) -> Tensor:
    """What the new layers stand on, of two images. Refused: what is no map, no vector and no tokens."""
    trunk = fx.GraphModule(network, graph).eval()
    with torch.no_grad():
        features = trunk(torch.zeros(2, 3, crop, crop))
    if not isinstance(features, Tensor) or features.ndim not in (2, 3, 4):
        raise Refused("a top stands on a map, a vector or tokens, not on what is there")
    return features


def _assembled(
    network: nn.Module, graph: fx.Graph, modules: dict[str, nn.Module], has_tokens: bool, name: str
) -> fx.GraphModule:
    """The graph with the modules behind it, one after the other."""
    (output,) = (node for node in graph.nodes if node.op == "output")
    value = output.args[0]
    with graph.inserting_before(output):
        if has_tokens:
            value = graph.call_method("mean", (value, 1))
        for place, module in modules.items():
            if hasattr(network, place):
                raise Refused(f"{name} has a part named {place!r}, as its top would have; name that part differently")
            network.add_module(place, module)
            value = graph.call_module(place, (value,))
    output.args = (value,)
    return fx.GraphModule(network, graph, class_name="WithTop")

"""The graph of a network, traced by `torch.fx`, and the points at which it can be cut.

A network can be cut where a single value that depends on the input is still needed: everything later depends on
everything earlier through that value alone.
"""

import inspect
import linecache
import operator
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase

from transferability.files import Refused, in_words


class Tracer(fx.Tracer):
    """Traces a network down to torch's own modules, norms with statistics, and what timm says cannot be traced."""

    def __init__(self) -> None:
        self.whole: tuple[type, ...] = (_NormBase,)
        functions: tuple[Callable[..., Any], ...] = ()
        if "timm" in sys.modules:
            from timm import layers

            self.whole += tuple(layers.get_notrace_modules())  # type: ignore[attr-defined]
            functions = tuple(layers.get_notrace_functions())  # type: ignore[attr-defined]
        super().__init__(autowrap_functions=functions)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = isinstance(m, self.whole) or type(m).__name__ == "StochasticDepth"  # it asks for its mode
        return whole or super().is_leaf_module(m, module_qualified_name)


@dataclass(frozen=True)
class Trace:
    """A traced network, in one mode.

    dependent: the nodes whose value depends on the network's input. points: name → the node at which the network can be
    cut, from bottom to top.
    """

    graph: fx.Graph
    dependent: set[fx.Node]
    points: dict[str, fx.Node]


def trace(network: nn.Module, training: bool, name: str) -> Trace:
    """The network's trace. Refused, with the line of its code that is the reason, if it cannot be traced."""
    network.train(training)
    tracer = Tracer()
    try:
        # Arguments that need not be given are not: a chain hands on one value.
        arguments = inspect.signature(network.forward).parameters.values()
        defaults = {argument.name: argument.default for argument in arguments if argument.default is not argument.empty}
        # A network with a new top is its own trace, which still knows the modules that its nodes came from.
        graph = network.graph if isinstance(network, fx.GraphModule) else tracer.trace(network, concrete_args=defaults)
    except Exception as error:
        raise Refused(f"{name} cannot be cut: {_culprit(error)}; give it as a list of named parts") from None
    (output,) = (node for node in graph.nodes if node.op == "output")
    if not isinstance(output.args[0], fx.Node):
        count = len(output.args[0]) if isinstance(output.args[0], (tuple, list, dict)) else "no"
        raise Refused(f"{name} puts out {count} values in {'training' if training else 'evaluation'}, not class scores")
    dependent = _depends_on_input(graph)
    return Trace(graph, dependent, _points(graph, dependent))


def _culprit(error: Exception) -> str:
    """The line of the network's code that cannot be traced, as "file:line: `code` (reason)"."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/torch/" not in frame.filename and frame.filename != __file__ and not frame.filename.startswith("<")
    ]
    reason = in_words(error)
    if not frames:
        return reason
    line = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
    return f"{frames[-1].filename}:{frames[-1].lineno}: `{line}` ({reason})"


def _depends_on_input(graph: fx.Graph) -> set[fx.Node]:
    """The nodes whose value depends on the network's input. What depends on weights alone can be had anywhere."""
    dependent: set[fx.Node] = {input_of(graph)}
    for node in graph.nodes:
        if any(argument in dependent for argument in node.all_input_nodes):
            dependent.add(node)
    return dependent


def input_of(graph: fx.Graph) -> fx.Node:
    node: fx.Node = next(node for node in graph.nodes if node.op == "placeholder")
    return node


def _points(graph: fx.Graph, dependent: set[fx.Node]) -> dict[str, fx.Node]:
    """Name → node, of each place where one value is all that flows on, the output's value included."""
    nodes = list(graph.nodes)
    last_use = {argument: place for place, node in enumerate(nodes) for argument in node.all_input_nodes}
    points: dict[str, fx.Node] = {}
    live: set[fx.Node] = set()
    for place, node in enumerate(nodes):
        if node in dependent:
            live.add(node)
        live = {value for value in live if last_use.get(value, -1) > place}
        if live == {node} and node.op not in ("placeholder", "output") and not _is_several(node):
            points[unique(point_name(node), points)] = node
    return points


def _is_several(node: fx.Node) -> bool:
    """Whether a node's value is a tuple of tensors: its name says so, or something is taken from it by number."""
    if point_name(node).rpartition(".")[2] in ("chunk", "split", "tensor_split", "unbind") and node.op != "call_module":
        return True
    return any(user.target is operator.getitem and type(user.args[1]) is int for user in node.users)


def unique(name: str, taken: Iterable[str]) -> str:
    names, count = set(taken), 1
    while (numbered := name if count == 1 else f"{name}_{count}") in names:
        count += 1
    return numbered


def paths_of(node: fx.Node) -> dict[str, Any]:
    """Path → type of the modules in whose code a node is, outermost first; without a module that the node calls."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = {str(entry[0]): entry[1] for entry in stack.values()}
    if node.op == "call_module":
        paths.pop(str(node.target), None)
    return paths


def point_name(node: fx.Node) -> str:
    if node.op == "call_module":
        return str(node.target)
    word = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "value")
    return ".".join([*list(paths_of(node))[-1:], word])


def without_shared(evaluation: Trace, training: Trace, network: nn.Module, names: list[str]) -> list[str]:
    """`names` without the points between two uses of the same weights: the layers would no longer share them."""
    between: set[str] = set()
    for found in (evaluation, training):
        place = {node: number for number, node in enumerate(found.graph.nodes)}
        uses: dict[int, list[int]] = {}
        for node, number in place.items():
            for tensor in tensors_of(node, network):
                uses.setdefault(id(tensor), []).append(number)
        for numbers in uses.values():
            between |= {name for name, node in found.points.items() if min(numbers) <= place[node] < max(numbers)}
    return [name for name in names if name not in between]


def tensors_of(node: fx.Node, network: nn.Module) -> list[Tensor]:
    """The tensors of the network that a node uses."""
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        return [*module.parameters(), *module.buffers()]
    if node.op == "get_attr":
        return []  # counted where it is used
    return [_attribute(network, str(argument.target)) for argument in node.all_input_nodes if argument.op == "get_attr"]


def _attribute(network: nn.Module, path: str) -> Any:
    owner, _, name = path.rpartition(".")
    return getattr(network.get_submodule(owner), name)

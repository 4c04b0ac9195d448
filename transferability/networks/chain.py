"""Any network as a chain of named layers. Data only: `cut.py` builds the network and finds where it can be cut."""

import inspect
import pickle
import re
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferability.files import Refused


@dataclass(frozen=True)
class LayerFacts:
    """What a layer is and costs, for one image.

    shape: of its output, without the batch. parameters, buffers: how many numbers. operations: floating-point
    operations of its matrix products, forward, two a multiplication. kept: numbers, in the recipe's precision, that its
    backward pass needs; kept_bytes: what it needs besides, whatever the precision.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    buffers: int
    operations: int
    kept: int
    kept_bytes: int = 0


@dataclass(frozen=True)
class Top:
    """New fully connected layers in place of a network's own upper layers: top1, top2, …, output.

    hidden: outputs of each hidden layer, behind which are a ReLU and dropout; (): the output alone. dropout: share of
    these outputs that is dropped in training. after: the layer or point of the network that they stand on, by name;
    "": what is before its classifier. A map is averaged to one number per channel, tokens are averaged.
    """

    hidden: tuple[int, ...] = (512, 512)
    dropout: float = 0.5
    after: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if not all(type(outputs) is int and outputs > 0 for outputs in self.hidden):
            raise Refused(f"Top: hidden is {self.hidden!r}; write the outputs of each hidden layer, as (512, 512)")
        if not 0 <= self.dropout < 1:
            raise Refused(f"Top: dropout is {self.dropout!r}; write a share from 0 to below 1")


@dataclass(frozen=True)
class Chain:
    """A network of torchvision, of timm or of one's own, as a chain of layers. `networks.cut.chain` makes it.

    network: `torchvision:NAME`, `timm:NAME`, or a function of the number of classes.
    crop: side of its square input, in pixels; the recipe's has to be the same.
    layers: what was asked for: "blocks", "points", or names of modules or points.
    options: further arguments for torchvision, timm or the function.
    top: new fully connected layers in place of its own upper ones; None: it stays as it is.
    layer_names: names of the layers, bottom to top; found by `networks.cut.chain`.
    signature: 16 hexadecimal digits that stand for the network's operations and the shapes of its tensors; likewise.
    """

    network: str | Callable[..., Any]
    crop: int
    layers: str | Sequence[str] = "blocks"
    options: Mapping[str, Any] | Sequence[tuple[str, Any]] = ()
    top: Top | None = None
    layer_names: tuple[str, ...] = field(default=(), compare=False)
    signature: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if type(self.crop) is not int or self.crop < 1:
            raise Refused(f"{self.name}: crop is {self.crop!r}; write a whole number from 1 up")
        if not isinstance(self.layers, str):
            object.__setattr__(self, "layers", tuple(self.layers))
        elif self.layers not in ("blocks", "points"):
            raise Refused(f"{self.name}: layers is {self.layers!r}; write 'blocks', 'points' or a list of names")
        options: dict[str, Any] = dict(self.options)
        for name, value in options.items():
            if type(value).__hash__ is None:  # it could change after it was looked at
                raise Refused(f"{self.name}: {name} is a {type(value).__name__}; hand on a tuple, or build it inside")
        object.__setattr__(self, "options", tuple(sorted(options.items())))

    def __reduce__(self) -> Any:
        """For worker processes: a function of an experiment file is found in that file again."""
        function: Any = self.network
        rest = (self.crop, self.layers, self.options, self.top, self.layer_names, self.signature)
        if getattr(function, "__module__", "") == "<run_path>" and function.__qualname__.isidentifier():
            return _of_file, (_file_of(function), function.__name__, *rest)
        try:
            pickle.dumps(function)
        except Exception:  # which one depends on what the function is
            raise Refused(
                f"{self.name}: worker processes cannot find it again; define it by `def` at the top level of a file, "
                "and hand its further arguments to `chain`"
            ) from None
        return Chain, (function, *rest)

    @property
    def name(self) -> str:
        """A word for people: resnet18, or the function's name."""
        if isinstance(self.network, str):
            return self.network.partition(":")[2] or self.network
        return getattr(self.network, "__name__", "network")

    @property
    def depth(self) -> int:
        return len(self.layer_names)

    @property
    def record(self) -> dict[str, Any]:
        """What a network's record says of it."""
        top = {} if self.top is None else {"top": [list(self.top.hidden), self.top.dropout, self.top.after]}
        return {
            **top,
            "crop": self.crop,
            "network": self.network if isinstance(self.network, str) else self.name,
            "options": {name: _spelled(value) for name, value in dict(self.options).items()},
            "layers": list(self.layer_names),
            "signature": self.signature,
        }

    def refuse_recipe(self, initialisation: str) -> None:
        """Refuses the paper's initialisation: such a network's own code draws its first weights."""
        if initialisation == "paper":
            raise Refused(
                f"{self.name}: its first weights are its own code's; leave initialisation 'paper' out of the recipe"
            )


def _spelled(value: object) -> str:
    """A value as its code spells it, without the place in memory that functions and others give."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _file_of(function: Any) -> str:
    """The experiment file that defines a function or a class."""
    for member in (inspect.unwrap(function), *vars(function).values()):
        if code := getattr(member, "__code__", None):
            return str(code.co_filename)
    raise Refused(f"{function.__name__}: worker processes cannot find it again; call it in a function of its file")


def _of_file(file: str, function: str, *rest: Any) -> Chain:
    folder = str(Path(file).parent.resolve())
    sys.path.insert(0, folder)
    try:
        return Chain(runpy.run_path(file)[function], *rest)
    finally:
        sys.path.remove(folder)

"""Draws in anybody's code, made functions of an address: initial weights, dropout, stochastic depth and their like."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from transferability.draws import kept_units, mask_key, numpy_generator
from transferability.files import Refused

aten = torch.ops.aten


def _is_random(operation: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in operation.tags


class AddressedDraws(TorchDispatchMode):
    """Within it, dropout, stochastic depth and their like in anybody's code draw by address.

    What they draw for an image is a function of (address, how many draws were before it, the image's row in the global
    batch). The first dimension of what is drawn has to be the images, or a multiple of them (windows of each image).
    rows: (batch,) int64. Refused: other kinds of draws, and attention that drops within a kernel of its own.
    count: draws so far.
    """

    def __init__(self, rows: Tensor, *address: str | int) -> None:
        super().__init__()
        self.rows, self.address, self.count = rows, address, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not _is_random(func):
            return func(*args, **kwargs)
        if func is aten.bernoulli_.float:
            return args[0].copy_(self.mask(args[0], args[1] if len(args) > 1 else 0.5))
        if func is aten.bernoulli.p:
            return self.mask(args[0], args[1])
        if func is aten.native_dropout.default:
            x, p, training = args
            if training is False:
                return x.clone(), torch.ones_like(x, dtype=torch.bool)
            kept = self.mask(x, 1 - p)
            return x * kept * (1 / (1 - p) if p < 1 else 0.0), kept.bool()
        names = [argument.name for argument in func._schema.arguments]
        if "dropout_p" in names:
            values = dict(zip(names, args, strict=False)) | kwargs
            if not values.get("dropout_p", 0.0):
                return func(*args, **kwargs)
            raise Refused(f"attention with dropout inside ({func.__name__}) cannot be addressed; leave its dropout out")
        raise Refused(f"{func.__name__} draws numbers that cannot be addressed; dropout and stochastic depth can")

    def mask(self, x: Tensor, p: float) -> Tensor:
        """Like `x`: 1 with probability `p`, else 0."""
        pieces, rest = divmod(x.shape[0] if x.ndim else 0, len(self.rows))
        if rest or not pieces:
            raise Refused(f"numbers of the shape {tuple(x.shape)} are drawn, which cannot be addressed by image")
        self.count += 1
        low, high = mask_key(*self.address, self.count)
        width = pieces * x[0].numel()
        columns = torch.arange(width, dtype=torch.int32, device=x.device)
        kept = kept_units(self.rows.to(x.device, torch.int32), columns, 1 - p, low, high)
        return kept.view(x.shape).to(x.dtype)


class InitialDraws(TorchDispatchMode):
    """Within it, the first weights that anybody's code draws are functions of the address and of how many draws were
    before. Without an address nothing is drawn: each number is its distribution's mean. Refused: other kinds of draws.
    """

    def __init__(self, *address: str | int) -> None:
        super().__init__()
        self.address, self.count = address, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not _is_random(func):
            return func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        makers = {"randn": "normal_", "rand": "uniform_", "randn_like": "normal_", "rand_like": "uniform_"}
        if name in makers:
            empty = torch.empty_like if name.endswith("_like") else torch.empty
            return self.filled(empty(*args, **kwargs), makers[name], 0.0, 1.0)
        if name in ("normal_", "uniform_"):
            values = dict(zip(("x", "first", "second"), args, strict=False))
            first = kwargs.get("mean", kwargs.get("from", values.get("first", 0.0)))
            second = kwargs.get("std", kwargs.get("to", values.get("second", 1.0)))
            return self.filled(args[0], name, first, second)
        if not self.address:
            return func(*args, **kwargs)
        raise Refused(f"its first weights are drawn by {func.__name__}; draw them by normal_, uniform_ or their like")

    def filled(self, x: Tensor, name: str, first: float, second: float) -> Tensor:
        """`x`, filled with draws: Gaussian with mean and deviation, or uniform between two numbers."""
        self.count += 1
        if not self.address:
            return x.fill_(first if name == "normal_" else (first + second) / 2)  # some draw until nothing is far off
        generator = numpy_generator("initial", *self.address, self.count)
        if name == "normal_":
            drawn = generator.standard_normal(tuple(x.shape), dtype=np.float32) * np.float32(second) + np.float32(first)
        else:
            drawn = generator.random(tuple(x.shape), dtype=np.float32) * np.float32(second - first) + np.float32(first)
        return x.copy_(torch.from_numpy(np.asarray(drawn)))

"""Random draws that are addressed, not consumed: each is a pure function of (seed, owner, step, global row).

An address is any sequence of words and numbers; `key` turns it into 64 bits. So the grouping into fleets, the
number of processes, and stopping and resuming change no draw, and no generator state has to be saved.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor


def key(*address: str | int) -> int:
    """64 bits that stand for an address. Different addresses give unrelated keys."""
    text = "\x1f".join(str(word) for word in address)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def numpy_generator(*address: str | int) -> np.random.Generator:
    """A NumPy generator that starts at an address."""
    return np.random.Generator(np.random.Philox(key=key(*address)))


def torch_generator(*address: str | int) -> torch.Generator:
    """A CPU generator that starts at an address. Weights are drawn on the CPU, the same for every device."""
    return torch.Generator().manual_seed(key(*address))


def _signed(bits: int) -> int:
    """The low 32 bits as a signed number, which is what int32 tensors hold."""
    bits &= 0xFFFFFFFF
    return bits - (1 << 32) if bits >= 1 << 31 else bits


def _mixed(x: Tensor) -> Tensor:
    """Finaliser of MurmurHash3 (Appleby; constants by Stafford), in place, on int32: every bit moves every bit."""
    x ^= (x >> 16) & 0xFFFF  # int32 shifts keep the sign: mask it off
    x *= _signed(0x85EBCA6B)
    x ^= (x >> 13) & 0x7FFFF
    x *= _signed(0xC2B2AE35)
    x ^= (x >> 16) & 0xFFFF
    return x


def dropout(x: Tensor, p: float, rows: Tensor, *address: str | int) -> Tensor:
    """Dropout (Srivastava et al. 2014): units of `x` are zeroed with probability `p`, the others divided by 1 - p.

    x: (batch, ...) float. rows: (batch,) int64, the rows' places in the global batch. Whether a unit is kept is
    a function of the address, its row and its column alone: the same on every device and in every process, and
    whatever else is in the batch. Two rounds of a 32-bit hash, with 64 bits of key.
    """
    width = x[0].numel()
    bits = key(*address)
    column = torch.arange(width, dtype=torch.int32, device=x.device)
    counter = rows.to(torch.int32).unsqueeze(1) * width + column
    counter ^= _signed(bits)
    hashed = _mixed(counter)
    hashed += _signed(bits >> 32)
    kept = _mixed(hashed) >= _signed(round(p * 2**32) - 2**31)
    # A product, not a selection: a NaN that the network makes must not be hidden.
    return x * kept.view_as(x).to(x.dtype).mul_(1 / (1 - p))

"""Networks as ordered, named layers."""

from transferability.networks.caffenet import Architecture, Conv, Linear, caffenet, small_caffenet
from transferability.networks.chain import Chain

__all__ = ["Architecture", "Chain", "Conv", "Linear", "caffenet", "small_caffenet"]

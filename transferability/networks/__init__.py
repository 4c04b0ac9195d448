"""Networks as ordered, named layers."""

from transferability.networks.caffenet import Architecture, Conv, Linear, caffenet, small_caffenet

__all__ = ["Architecture", "Conv", "Linear", "caffenet", "small_caffenet"]

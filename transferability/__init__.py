"""How transferable are the features of layer n? (Yosinski et al., NIPS 2014), as software."""

import os

__version__ = "0.1.0"


def available_cores() -> int:
    """How many cores this process may use; where the system does not say, how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""How transferable are the features of layer n? (Yosinski et al., NIPS 2014), as software.

For notebooks and programs: the functions of `transferability/api.py`, which docs/api.md shows. They are loaded when
they are asked for, so that `import transferability` takes no time.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transferability.api import (
        FIGURES,
        OpenStudy,
        Refused,
        answers,
        differences,
        export,
        figure,
        figures,
        load_network,
        load_readout,
        means,
        open_study,
        paper_results,
        read_results,
        sentence,
        summary,
    )

__all__ = [
    "FIGURES",
    "OpenStudy",
    "Refused",
    "answers",
    "differences",
    "export",
    "figure",
    "figures",
    "load_network",
    "load_readout",
    "means",
    "open_study",
    "paper_results",
    "read_results",
    "sentence",
    "summary",
]
__version__ = "0.1.0"


def available_cores() -> int:
    """How many cores this process may use; where the system does not say, how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from transferability import api

    return getattr(api, name)

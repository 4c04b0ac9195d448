"""What came of a study: the results table, its statistics, the paper's claims. For notebooks, its main functions:

    from transferability.results import networks, print_table, read_results, summary

They are imported when they are asked for: collecting 10,000 results does not wait for pandas.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "read_results": "table",
    "networks": "statistics",
    "summary": "statistics",
    "means_by_n": "statistics",
    "print_table": "show",
    "print_claims": "claims",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

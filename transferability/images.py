"""Packed images."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageClass:
    """One class of a data set. `group` is 'man-made', 'natural' or '' (unknown)."""

    index: int
    id: str
    name: str
    group: str

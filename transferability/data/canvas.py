"""What the demo images are painted on: coordinates, antialiased shapes, noise, and addressed random numbers.

Everything is float64 on a fine grid of 64 x 64 points. A shape is a *coverage*: for each point, how much of it the
shape covers, 0 to 1. Random numbers are raw Philox doubles, so that they are the same for every version of NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIZE = 32  # pixels a side
SUPER = 2  # fine pixels per pixel and side; edges are antialiased on the fine grid as well
FINE = SIZE * SUPER
PIXEL = 2.0 / FINE  # side of a fine pixel: both axes of the image run from -1 to 1, y upwards
AXIS = (np.arange(FINE) + 0.5) * PIXEL - 1.0
X, Y = np.meshgrid(AXIS, AXIS)
TAU = 2.0 * np.pi

Array = NDArray[np.float64]
BACK, INK, INK2, INK3, DARK, LIGHT = range(6)  # entries of a palette
Layers = list[tuple[Array, int]]


class Dice:
    """The random numbers of one image, addressed by (class, number)."""

    def __init__(self, class_index: int, number: int) -> None:
        key = np.array([class_index, number], dtype=np.uint64)
        self._random = np.random.Generator(np.random.Philox(key=key)).random

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self._random())

    def many(self, count: int, low: float, high: float) -> Array:
        return low + (high - low) * self._random(count)

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self._random() * (high - low + 1))

    def chance(self, p: float) -> bool:
        return bool(self._random() < p)


@dataclass(frozen=True)
class Canvas:
    """The subject's own coordinates at every fine pixel, (64, 64) float64, and the way to the image's."""

    x: Array
    y: Array
    matrix: Array  # (2, 2): image = matrix @ subject + shift
    shift: Array  # (2,)
    size: float  # length in the image of a unit of the subject

    def cover(self, distance: Array) -> Array:
        """Coverage, antialiased, of the region where a signed distance (in the subject's units) is negative."""
        return np.clip(0.5 - distance * (self.size / PIXEL), 0.0, 1.0)

    def stripes(self, u: Array, period: float, width: float) -> Array:
        """Coverage of stripes of this width and period along the coordinate u."""
        return self.cover(np.abs(u - period * np.round(u / period)) - 0.5 * width)

    def strokes(self, lines: Sequence[Sequence[float]]) -> Array:
        """Coverage of tapered round strokes, each (x0, y0, x1, y1, radius0, radius1) in the subject's units.

        Each is evaluated in its own bounding box only, which makes branching things affordable.
        """
        table = np.asarray(lines, dtype=np.float64)
        starts = table[:, 0:2] @ self.matrix.T + self.shift
        ends = table[:, 2:4] @ self.matrix.T + self.shift
        radii = np.maximum(table[:, 4:6] * self.size, 0.35 * PIXEL)
        reach = radii.max(axis=1, keepdims=True) + PIXEL
        first = np.floor((np.minimum(starts, ends) - reach + 1.0) / PIXEL)
        last = np.ceil((np.maximum(starts, ends) + reach + 1.0) / PIXEL)
        low, high = (np.clip(edge, 0, FINE).astype(int).tolist() for edge in (first, last))
        mask = np.zeros((FINE, FINE))
        rows = zip(starts.tolist(), ends.tolist(), radii.tolist(), low, high, strict=True)
        for (px, py), (qx, qy), (r0, r1), (x0, y0), (x1, y1) in rows:
            if x0 >= x1 or y0 >= y1:
                continue
            dx, dy = qx - px, qy - py
            ax, ay = AXIS[x0:x1] - px, (AXIS[y0:y1] - py)[:, None]
            length2 = dx * dx + dy * dy
            if length2 > 1e-12:
                t = np.clip(ax * (dx / length2) + ay * (dy / length2), 0.0, 1.0)
                distance = np.sqrt((ax - t * dx) ** 2 + (ay - t * dy) ** 2) - (r0 + t * (r1 - r0))
            else:
                distance = np.sqrt(ax * ax + ay * ay) - r0
            view = mask[y0:y1, x0:x1]
            np.maximum(view, np.clip(0.5 - distance / PIXEL, 0.0, 1.0), out=view)
        return mask


def _spline_basis(cells: int) -> Array:
    """(64, cells + 3): cubic B-splines over the image, to spread a coarse lattice of numbers smoothly."""
    position = (AXIS + 1.0) * 0.5 * cells
    t = np.abs(position[:, None] - np.arange(-1, cells + 2)[None, :])
    near = 2.0 / 3.0 - t * t + 0.5 * t**3
    far = np.maximum(2.0 - t, 0.0) ** 3 / 6.0
    basis: Array = np.where(t < 1.0, near, far)
    return basis


_BASES = {cells: _spline_basis(cells) for cells in (1, 2, 3, 4, 5, 6, 8, 10, 14, 20)}


def noise(dice: Dice, cells: int) -> Array:
    """(64, 64) smooth noise, about `cells` bumps across the image: mean 0, standard deviation about 0.5."""
    basis = _BASES[cells]
    side = basis.shape[1]
    return 1.8 * (basis @ dice.many(side * side, -1.0, 1.0).reshape(side, side) @ basis.T)


def smooth(v: Array, low: float, high: float) -> Array:
    t = np.clip((v - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def xor(a: Array, b: Array) -> Array:
    return a + b - 2.0 * a * b


def fold(angle: Array, count: int) -> Array:
    """The angle to the nearest of `count` evenly spaced rays."""
    wedge = TAU / count
    return angle - wedge * np.round(angle / wedge)


def polar(c: Canvas) -> tuple[Array, Array]:
    return np.sqrt(c.x * c.x + c.y * c.y), np.arctan2(c.y, c.x)


def hashed(dice: Dice, *cells: Array) -> Array:
    """One random number in [0, 1) per cell of an integer lattice, looked up in a table of this image."""
    index = cells[0].astype(np.int64) * 7
    if len(cells) > 1:
        index = index + cells[1].astype(np.int64) * 29
    return dice.many(97, 0.0, 1.0)[index % 97]


def scatter(dice: Dice, c: Canvas, spacing: float, jitter: float) -> Array:
    """(N, 2) points in the image's frame, one per cell of a jittered lattice that covers the image."""
    pitch = spacing * c.size
    half = int(np.ceil(1.0 / pitch)) + 1
    grid = np.arange(-half, half + 1)
    gx, gy = np.meshgrid(grid, grid)
    gx = gx + 0.5 * (gy % 2)
    points = np.stack([gx.ravel(), gy.ravel()], axis=1) + dice.many(2 * gx.size, -jitter, jitter).reshape(-1, 2)
    points = points * pitch + c.shift
    near: Array = points[np.abs(points).max(axis=1) < 1.0 + 1.3 * pitch]
    return near


def voronoi(points: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Distances to the nearest and second nearest point (image's units), index of the nearest: (64, 64)."""
    first = np.full((FINE, FINE), 1e9)
    second = np.full((FINE, FINE), 1e9)
    index = np.zeros((FINE, FINE), dtype=np.int64)
    for i, (px, py) in enumerate(points.tolist()):
        distance = ((AXIS - px) ** 2)[None, :] + ((AXIS - py) ** 2)[:, None]
        np.minimum(second, np.maximum(first, distance), out=second)
        np.copyto(index, i, where=distance < first)
        np.minimum(first, distance, out=first)
    return np.sqrt(first), np.sqrt(second), index

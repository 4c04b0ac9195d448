"""Demo pictures, drawn by the package itself: 40 classes at 32x32 pixels, 20 man-made and 20 natural.

They stand in for photographs where a study has to run in minutes. Man-made classes are straight, regular and
periodic; natural ones branch, wander and vary. Pose, scale, palette, background, light, blur and noise are
drawn from the same distributions for every class: neither colour nor any single pixel gives a class away.

A picture is a pure function of (class, number). The same bytes come out on every machine: random numbers are
raw Philox doubles (no NumPy distribution, whose streams may change between versions), arithmetic is float64,
and it is rounded to bytes once, at the end, so last-bit differences between processors' sines do not show.

How one is drawn: a pose (rotation, scale, shear, position) makes a `Canvas`; the painter of the class returns
layers, each a coverage in [0, 1] and the palette entry that it is painted in; `draw` lays them over a
background, adds clutter, light, blur and noise, and reduces the fine grid to 32x32. Painters see no colour.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from transferability.files import write_atomically

SIZE = 32  # pixels a side
TRAIN_PER_CLASS = 250
VAL_PER_CLASS = 200  # 20 classes a half: 4,000 validation images
TRAIN_NUMBERS = range(TRAIN_PER_CLASS)
VAL_NUMBERS = range(1_000_000, 1_000_000 + VAL_PER_CLASS)  # far from any number of training pictures

# What makes the classes harder to tell apart. `hardness` multiplies the first three.
NOISE = 0.022  # amplitude of the pixel noise, as a part of full scale
CLUTTER = 0.7  # mean number of faint strokes behind the subject
OCCLUDERS = 0.15  # mean number of blobs and bars in front of it
BACKGROUND = 0.55  # how strongly smooth noise and gradients mottle the background, 0 to 1
CONTRAST = (0.27, 0.54)  # difference in lightness (OKLab) of subject and background
CHROMA = (0.02, 0.14)  # colourfulness (OKLab) of the palette
BLUR = (0.35, 0.95)  # standard deviation, in pixels
SCALE = (0.70, 1.25)  # size of the subject, relative to the class's usual one
APART = 1.1  # strength of each group's own nuisance: straight shadows, or mottle and wobbling outlines
UPRIGHT = 0.15  # greatest tilt, in radians, of man-made things, which are built along two directions; natural ones turn
SHIFT = 0.28  # greatest displacement of the subject's middle; the picture reaches from -1 to 1

_SUPER = 2  # fine pixels per pixel and side; edges are antialiased on the fine grid as well
_FINE = SIZE * _SUPER
_PIXEL = 2.0 / _FINE  # side of a fine pixel; the picture reaches from -1 to 1, y upwards
_AXIS = (np.arange(_FINE) + 0.5) * _PIXEL - 1.0
_X, _Y = np.meshgrid(_AXIS, _AXIS)
_TAU = 2.0 * np.pi

Array = NDArray[np.float64]
BACK, INK, INK2, INK3, DARK, LIGHT = range(6)  # entries of a palette
Layers = list[tuple[Array, int]]


class DemoClass(NamedTuple):
    id: str
    name: str
    group: str  # 'man-made' | 'natural'


class Dice:
    """The random numbers of one picture, addressed by (class, number)."""

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
    """The subject's own coordinates at every fine pixel, (64, 64) float64, and the way to the picture's."""

    x: Array
    y: Array
    matrix: Array  # (2, 2): picture = matrix @ subject + shift
    shift: Array  # (2,)
    size: float  # length in the picture of a unit of the subject

    def cover(self, distance: Array) -> Array:
        """Coverage, antialiased, of where a signed distance (in the subject's units) is negative."""
        return np.clip(0.5 - distance * (self.size / _PIXEL), 0.0, 1.0)

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
        radii = np.maximum(table[:, 4:6] * self.size, 0.35 * _PIXEL)
        reach = radii.max(axis=1, keepdims=True) + _PIXEL
        first = np.floor((np.minimum(starts, ends) - reach + 1.0) / _PIXEL)
        last = np.ceil((np.maximum(starts, ends) + reach + 1.0) / _PIXEL)
        low, high = (np.clip(edge, 0, _FINE).astype(int).tolist() for edge in (first, last))
        mask = np.zeros((_FINE, _FINE))
        rows = zip(starts.tolist(), ends.tolist(), radii.tolist(), low, high, strict=True)
        for (px, py), (qx, qy), (r0, r1), (x0, y0), (x1, y1) in rows:
            if x0 >= x1 or y0 >= y1:
                continue
            dx, dy = qx - px, qy - py
            ax, ay = _AXIS[x0:x1] - px, (_AXIS[y0:y1] - py)[:, None]
            length2 = dx * dx + dy * dy
            if length2 > 1e-12:
                t = np.clip(ax * (dx / length2) + ay * (dy / length2), 0.0, 1.0)
                distance = np.sqrt((ax - t * dx) ** 2 + (ay - t * dy) ** 2) - (r0 + t * (r1 - r0))
            else:
                distance = np.sqrt(ax * ax + ay * ay) - r0
            view = mask[y0:y1, x0:x1]
            np.maximum(view, np.clip(0.5 - distance / _PIXEL, 0.0, 1.0), out=view)
        return mask


def _spline_basis(cells: int) -> Array:
    """(64, cells + 3): cubic B-splines over the picture, to spread a coarse lattice of numbers smoothly."""
    position = (_AXIS + 1.0) * 0.5 * cells
    t = np.abs(position[:, None] - np.arange(-1, cells + 2)[None, :])
    near = 2.0 / 3.0 - t * t + 0.5 * t**3
    far = np.maximum(2.0 - t, 0.0) ** 3 / 6.0
    basis: Array = np.where(t < 1.0, near, far)
    return basis


_BASES = {cells: _spline_basis(cells) for cells in (1, 2, 3, 4, 5, 6, 8, 10, 14, 20)}


def _noise(dice: Dice, cells: int) -> Array:
    """(64, 64) smooth noise, about `cells` bumps across the picture: mean 0, standard deviation about 0.5."""
    basis = _BASES[cells]
    side = basis.shape[1]
    return 1.8 * (basis @ dice.many(side * side, -1.0, 1.0).reshape(side, side) @ basis.T)


def _smooth(v: Array, low: float, high: float) -> Array:
    t = np.clip((v - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _xor(a: Array, b: Array) -> Array:
    return a + b - 2.0 * a * b


def _fold(angle: Array, count: int) -> Array:
    """The angle to the nearest of `count` evenly spaced rays."""
    wedge = _TAU / count
    return angle - wedge * np.round(angle / wedge)


def _polar(c: Canvas) -> tuple[Array, Array]:
    return np.sqrt(c.x * c.x + c.y * c.y), np.arctan2(c.y, c.x)


def _hashed(dice: Dice, *cells: Array) -> Array:
    """One random number in [0, 1) per cell of an integer lattice, looked up in a table of this picture."""
    index = cells[0].astype(np.int64) * 7
    if len(cells) > 1:
        index = index + cells[1].astype(np.int64) * 29
    return dice.many(97, 0.0, 1.0)[index % 97]


def _scatter(dice: Dice, c: Canvas, spacing: float, jitter: float) -> Array:
    """(N, 2) points in the picture's frame, one per cell of a jittered lattice that covers the picture."""
    pitch = spacing * c.size
    half = int(np.ceil(1.0 / pitch)) + 1
    grid = np.arange(-half, half + 1)
    gx, gy = np.meshgrid(grid, grid)
    gx = gx + 0.5 * (gy % 2)
    points = np.stack([gx.ravel(), gy.ravel()], axis=1) + dice.many(2 * gx.size, -jitter, jitter).reshape(-1, 2)
    points = points * pitch + c.shift
    near: Array = points[np.abs(points).max(axis=1) < 1.0 + 1.3 * pitch]
    return near


def _voronoi(points: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Distances to the nearest and second nearest point (picture's units), index of the nearest: (64, 64)."""
    first = np.full((_FINE, _FINE), 1e9)
    second = np.full((_FINE, _FINE), 1e9)
    index = np.zeros((_FINE, _FINE), dtype=np.int64)
    for i, (px, py) in enumerate(points.tolist()):
        distance = ((_AXIS - px) ** 2)[None, :] + ((_AXIS - py) ** 2)[:, None]
        np.minimum(second, np.maximum(first, distance), out=second)
        np.copyto(index, i, where=distance < first)
        np.minimum(first, distance, out=first)
    return np.sqrt(first), np.sqrt(second), index


# --- man-made -----------------------------------------------------------------------------------------------


def _gear(d: Dice, c: Canvas) -> Layers:
    r, a = _polar(c)
    teeth, depth = d.whole(7, 12), d.between(0.09, 0.14)
    body = r - (0.66 + depth * np.clip(2.2 * np.cos(teeth * a), -1.0, 1.0))
    hole = d.between(0.14, 0.26)
    body = np.maximum(body, hole - r)
    layers = [(c.cover(body), INK)]
    style = d.whole(0, 2)
    if style == 1:  # drilled
        holes = d.whole(4, 6)
        b = _fold(a, holes)
        drilled = np.sqrt((r * np.cos(b) - 0.41) ** 2 + (r * np.sin(b)) ** 2) - 0.095
        layers = [(c.cover(np.maximum(body, -drilled)), INK)]
    elif style == 2:  # with a hub in another colour
        layers.append((c.cover(np.maximum(r - hole - 0.16, hole - r)), INK2))
    return layers


def _bricks(d: Dice, c: Canvas) -> Layers:
    height = d.between(0.3, 0.44)
    width, mortar = height * d.between(1.8, 2.4), height * d.between(0.18, 0.28)
    row = np.floor(c.y / height)
    x = c.x + 0.5 * width * (row % 2)
    column = np.floor(x / width)
    inside = np.maximum(
        np.abs(x - (column + 0.5) * width) - 0.5 * (width - mortar),
        np.abs(c.y - (row + 0.5) * height) - 0.5 * (height - mortar),
    )
    brick = c.cover(inside)
    return [(brick, INK), (brick * 0.45 * _hashed(d, row, column), INK2)]


def _grating(d: Dice, c: Canvas) -> Layers:
    period = d.between(0.2, 0.42)
    layers = [(c.stripes(c.x, period, period * d.between(0.35, 0.65)), INK)]
    if d.chance(0.4):  # every second bar in another colour
        layers.append((c.stripes(c.x, 2 * period, period * 0.3), INK2))
    return layers


# Letters of 3x5 dots: an octal digit a row, from the top (A is 2 5 7 5 5)
_FONT = "25755 65656 34443 74647 74644 55755 56465 44447 57755 75557 65644 34216 72222 55557 55255 71247"
_LETTERS = np.array([[[int(row) >> bit & 1 for bit in (2, 1, 0)] for row in rows] for rows in _FONT.split()])


def _lettering(d: Dice, c: Canvas) -> Layers:
    dot = d.between(0.085, 0.12)
    leading = d.whole(6, 7)
    u, v = c.x / dot + 400, 400 - c.y / dot
    column, row = np.floor(u / 4), np.floor(v / leading)
    i, j = (v - leading * row).astype(np.int64), (u - 4 * column).astype(np.int64)
    letter = (_hashed(d, row, column) * (len(_LETTERS) + 2)).astype(np.int64)  # two in eighteen are blanks
    ink = (i < 5) & (j < 3) & (letter < len(_LETTERS))
    return [(np.where(ink, _LETTERS[letter % len(_LETTERS), i % 5, j % 3], 0).astype(np.float64), INK)]


def _polygons(d: Dice, c: Canvas) -> Layers:
    r, a = _polar(c)
    sides = d.whole(3, 6)
    apothem = r * np.cos(_fold(a, sides))
    outer = 0.5 if sides == 3 else 0.8
    rings = d.whole(2, 3)
    period = outer / rings
    width = period * d.between(0.4, 0.6)
    gaps = np.abs(apothem - period * np.round(apothem / period)) - 0.5 * width
    layers = [(c.cover(np.maximum(apothem - outer, -gaps)), INK)]
    if d.chance(0.5):
        layers.append((c.cover(apothem - 0.5 * width), INK2))
    return layers


def _plaid(d: Dice, c: Canvas) -> Layers:
    period = d.between(0.6, 0.9)
    broad, thin = period * d.between(0.35, 0.5), period * d.between(0.08, 0.13)
    offset = period * d.between(0.4, 0.6)
    layers: Layers = []
    for u in (c.x, c.y):
        layers.append((0.55 * c.stripes(u, period, broad), INK))
    for u in (c.x, c.y):
        layers.append((0.8 * c.stripes(u + offset, period, thin), INK2))
    return layers


def _checkers(d: Dice, c: Canvas) -> Layers:
    side = d.between(0.22, 0.38)
    x, y = c.x, c.y * d.between(0.8, 1.25)
    return [(_xor(c.stripes(x, 2 * side, side), c.stripes(y, 2 * side, side)), INK)]


def _wheel(d: Dice, c: Canvas) -> Layers:
    r, a = _polar(c)
    spokes = d.whole(5, 10)
    rim = d.between(0.09, 0.16)
    b = _fold(a, spokes)
    spoke = np.maximum(np.abs(r * np.sin(b)) - d.between(0.025, 0.045), r - 0.75)
    layers = [
        (c.cover(np.minimum(np.abs(r - 0.78) - 0.5 * rim, spoke)), INK),
        (c.cover(r - d.between(0.12, 0.2)), INK),
    ]
    if d.chance(0.5):
        layers.append((c.cover(np.abs(r - 0.78 - 0.5 * rim) - 0.04), INK2))
    return layers


def _ladder(d: Dice, c: Canvas) -> Layers:
    half, period = d.between(0.26, 0.42), d.between(0.26, 0.4)
    x = c.x * (1.0 + d.between(0.0, 0.25) * np.clip(c.y, -1.5, 1.5))  # leaning away
    rail, rung = d.between(0.05, 0.085), d.between(0.09, 0.13)
    rungs = np.minimum(c.stripes(c.y, period, rung), c.cover(np.abs(x) - half))
    return [(rungs, INK2 if d.chance(0.4) else INK), (c.cover(np.abs(np.abs(x) - half) - rail), INK)]


def _arcade(d: Dice, c: Canvas) -> Layers:
    width = d.between(0.55, 0.8)
    storey = width * d.between(1.3, 1.7)
    opening = 0.5 * width * d.between(0.55, 0.72)
    x = np.abs(c.x - width * np.round(c.x / width))
    y = c.y - storey * np.floor(c.y / storey)
    spring = storey * d.between(0.42, 0.52)
    arch = np.where(y < spring, x - opening, np.sqrt(x * x + (y - spring) ** 2) - opening)
    arch = np.maximum(arch, 0.1 * storey - y)
    wall = c.cover(-arch)
    line = c.cover(np.abs(y - 0.05 * storey) - 0.05 * storey)
    rim = c.cover(np.abs(arch - 0.05) - 0.035) if d.chance(0.5) else 0.0 * arch
    return [(wall, INK), (np.maximum(line, rim), INK2)]


def _circuit(d: Dice, c: Canvas) -> Layers:
    pitch = d.between(0.24, 0.32)
    half = 0.5 * pitch * d.between(0.28, 0.42)
    lines: list[tuple[float, ...]] = []
    pads: list[tuple[float, ...]] = []
    steps = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
    for lane in range(-4, 5):
        i, j, heading = d.whole(-5, -1), lane, 0
        pads.append((i * pitch, j * pitch, i * pitch, j * pitch, 2.1 * half, 2.1 * half))
        for _ in range(d.whole(2, 3)):  # straight, then a bend of 45 degrees, as routed boards do
            length = d.whole(1, 3)
            di, dj = steps[heading % 8]
            lines.append((i * pitch, j * pitch, (i + length * di) * pitch, (j + length * dj) * pitch, half, half))
            i, j = i + length * di, j + length * dj
            heading = d.whole(-1, 1) if heading == 0 else 0
        pads.append((i * pitch, j * pitch, i * pitch, j * pitch, 2.1 * half, 2.1 * half))
    return [(c.strokes(lines), INK), (c.strokes(pads), INK2)]


def _crosses(d: Dice, c: Canvas) -> Layers:
    pitch = d.between(0.5, 0.75)
    arm, half = pitch * d.between(0.34, 0.42), pitch * d.between(0.08, 0.12)
    row = np.round(c.y / pitch)
    shifted = c.x + 0.5 * pitch * (row % 2) * (1 if d.chance(0.5) else 0)
    x, y = np.abs(shifted - pitch * np.round(shifted / pitch)), np.abs(c.y - pitch * row)
    plus = np.minimum(np.maximum(x - arm, y - half), np.maximum(x - half, y - arm))
    return [(c.cover(plus), INK)]


def _chain(d: Dice, c: Canvas) -> Layers:
    pitch = d.between(0.5, 0.66)
    y = c.y - d.between(-0.25, 0.25) * c.x * c.x
    half, thick = pitch * d.between(0.30, 0.38), pitch * d.between(0.09, 0.13)
    flat = c.x - 2 * pitch * np.round(c.x / (2 * pitch))
    edge = c.x + pitch - 2 * pitch * np.round((c.x + pitch) / (2 * pitch))
    reach = 0.62 * pitch - half + 0.5 * pitch * 0.3
    ring = np.sqrt(np.maximum(np.abs(flat) - reach, 0.0) ** 2 + y * y) - half
    rod = np.sqrt(np.maximum(np.abs(edge) - 0.5 * pitch, 0.0) ** 2 + y * y) - 1.1 * thick
    return [(c.cover(np.abs(ring) - thick), INK), (c.cover(rod), INK2 if d.chance(0.6) else INK)]


def _key(d: Dice, c: Canvas) -> Layers:
    bow, thick = d.between(0.26, 0.34), d.between(0.08, 0.12)
    x, y = c.x + 0.55, c.y
    if d.chance(0.4):  # a square or lozenge bow
        turned = d.chance(0.5)
        ring = (np.abs(x) + np.abs(y)) * 0.75 - bow if turned else np.maximum(np.abs(x), np.abs(y)) - 0.88 * bow
    else:
        ring = np.sqrt(x * x + y * y) - bow
    body = np.abs(ring) - thick
    body = np.minimum(body, np.maximum(np.abs(c.y) - 0.07, np.maximum(-0.55 + bow - c.x, c.x - 0.9)))
    position = 0.85
    for _ in range(d.whole(2, 3)):
        length = d.between(0.22, 0.38)
        tooth = np.maximum(np.abs(c.x - position + 0.055) - 0.06, np.maximum(c.y - 0.0, -length - c.y))
        body = np.minimum(body, tooth)
        position -= d.between(0.18, 0.23)
    return [(c.cover(body), INK)]


def _chevrons(d: Dice, c: Canvas) -> Layers:
    wave, period = d.between(0.65, 1.1), d.between(0.38, 0.6)
    u = c.y + d.between(0.7, 1.1) * np.abs(c.x - wave * np.round(c.x / wave))
    slope = 1.35  # the distance across a slanting stripe is shorter than along y
    layers = [(c.stripes(u / slope, period / slope, period / slope * d.between(0.4, 0.6)), INK)]
    if d.chance(0.3):
        layers.append((c.stripes(u / slope, 2 * period / slope, period / slope * 0.35), INK2))
    return layers


def _skyline(d: Dice, c: Canvas) -> Layers:
    layers: Layers = []
    for colour, rise in ((INK2, 0.35), (INK, -0.05)):
        width = d.between(0.34, 0.5)
        u = c.x / width + d.between(0.0, 1.0) + 50.0
        column = np.floor(u)
        top = rise - 0.2 + 0.75 * _hashed(d, column)
        tower = c.cover(np.maximum(c.y - top, (np.abs(u - column - 0.5) - 0.46) * width))
        layers.append((tower, colour))
    pane = d.between(0.13, 0.18)
    lit = np.minimum(c.stripes(c.x, pane, 0.5 * pane), c.stripes(c.y, 1.4 * pane, 0.7 * pane))
    lit = lit * (_hashed(d, np.floor(c.x / pane), np.floor(c.y / pane)) < 0.8)
    layers.append((layers[-1][0] * lit, BACK))
    return layers


def _truss(d: Dice, c: Canvas) -> Layers:
    half, bay = d.between(0.3, 0.45), d.between(0.5, 0.75)
    bar = d.between(0.035, 0.055)
    chords = np.abs(np.abs(c.y) - half) - 1.4 * bar
    saw = c.x / bay - np.floor(c.x / bay)
    zigzag = np.abs(2.0 * saw - 1.0) * 2.0 - 1.0  # 1 at the joints, -1 in the middle of a bay
    slope = np.sqrt(1.0 + (4.0 * half / bay) ** 2)
    webs = np.abs(c.y - half * zigzag) / slope - bar
    if d.chance(0.5):
        webs = np.minimum(webs, np.abs(c.y + half * zigzag) / slope - bar)  # crossed diagonals
    if d.chance(0.5):
        webs = np.minimum(webs, np.abs(c.x - bay * np.round(c.x / bay)) - bar)
    webs = np.maximum(webs, np.abs(c.y) - half)
    return [(c.cover(webs), INK2 if d.chance(0.4) else INK), (c.cover(chords), INK)]


def _stairs(d: Dice, c: Canvas) -> Layers:
    run = d.between(0.32, 0.5)
    rise = run * d.between(0.7, 0.95)
    slope = rise / run
    step = c.y - rise * np.floor(c.x / run)  # above the tread
    under = slope * c.x - c.y - d.between(0.35, 0.7)  # below the flight
    flight = c.cover(np.maximum(step, 0.75 * under))
    layers: Layers = [(flight, INK)]
    if d.chance(0.6):  # treads in another colour
        layers.append((c.cover(np.abs(step + 0.1 * rise) - 0.14 * rise), INK2))
    if d.chance(0.6):  # a banister: a rail and a post on each step
        height = d.between(0.55, 0.8)
        above = c.y - slope * c.x - rise * 0.5
        rail = np.abs(above - height) * 0.75 - 0.05
        post = np.abs(c.x - run * (np.floor(c.x / run) + 0.5)) - 0.035
        post = np.maximum(post, np.maximum(above - height, -step))
        layers.append((c.cover(np.minimum(rail, post)), INK))
    return layers


def _dartboard(d: Dice, c: Canvas) -> Layers:
    r, a = _polar(c)
    sectors, rings = d.whole(4, 7), d.whole(2, 3)
    width = 0.82 / rings
    sector = c.cover((np.abs(_fold(a, sectors)) - 0.5 * np.pi / sectors) * r)
    ring = c.stripes(r, 2 * width, width)
    disc = c.cover(r - 0.82)
    return [(disc, INK2), (disc * _xor(sector, ring), INK), (c.cover(np.abs(r - 0.86) - 0.05), INK)]


def _weave(d: Dice, c: Canvas) -> Layers:
    cell, strands = d.between(0.58, 0.85), d.whole(2, 3)
    i, j = np.floor(c.x / cell), np.floor(c.y / cell)
    across = (i + j) % 2 == 0
    pitch = cell / strands
    width = pitch * d.between(0.55, 0.72)
    u, v = np.where(across, c.y, c.x), np.where(across, c.x - cell * i, c.y - cell * j)
    strand = c.stripes(u - 0.5 * pitch, pitch, width) * c.cover(np.abs(v - 0.5 * cell) - 0.47 * cell)
    dive = strand * 0.4 * _smooth(np.abs(2.0 * v / cell - 1.0), 0.5, 1.0)  # under the crossing strands
    return [(strand * across, INK), (strand * ~across, INK2 if d.chance(0.5) else INK), (dive, DARK)]


# --- natural ------------------------------------------------------------------------------------------------


def _tree(d: Dice, c: Canvas) -> Layers:
    lines: list[tuple[float, ...]] = []
    tips: list[tuple[float, ...]] = []
    spread = d.between(0.35, 0.6)
    tips_shown = d.chance(0.5)

    def grow(x: float, y: float, angle: float, length: float, radius: float, depth: int) -> None:
        x1, y1 = x + length * np.sin(angle), y + length * np.cos(angle)
        lines.append((x, y, x1, y1, radius, 0.7 * radius))
        if depth == 0:
            tips.append((x1, y1, x1, y1, d.between(0.05, 0.11), 0.0))
            return
        for side in (-1.0, 1.0):
            turn = side * spread * d.between(0.5, 1.4)
            grow(x1, y1, angle + turn, length * d.between(0.62, 0.88), 0.66 * radius, depth - 1)

    grow(0.0, -0.95, d.between(-0.15, 0.15), d.between(0.45, 0.6), d.between(0.06, 0.1), 4)
    layers = [(c.strokes(lines), INK)]
    if tips_shown:
        layers.append((0.85 * c.strokes(tips), INK2))
    return layers


def _leaf(d: Dice, c: Canvas) -> Layers:
    x = c.x - d.between(-0.35, 0.35) * (c.y * c.y - 0.3)
    t = np.clip((c.y + 0.7) / 1.55, 0.0, 1.0)
    wide, skew = d.between(0.34, 0.58), d.between(0.6, 0.85)
    half = wide * np.sin(np.pi * t**skew)
    serration = d.between(0.0, 0.14)
    half = half * (1.0 - serration * (9.0 * t - np.floor(9.0 * t)))
    blade = c.cover(0.85 * (np.abs(x) - half) + 1e-3)
    blade = blade * (t > 0.0) * (t < 1.0)
    spacing = d.between(0.2, 0.28)
    veins = blade * c.stripes((c.y - d.between(0.6, 0.9) * np.abs(x)) * 0.8, spacing, 0.055)
    rib = c.cover(np.maximum(np.abs(x) - 0.035, np.abs(c.y + 0.12) - 0.87))
    return [(blade, INK), (np.maximum(0.8 * veins, rib), INK2)]


def _sunflower(d: Dice, c: Canvas) -> Layers:
    count = d.whole(45, 70)
    k = np.arange(count) + 0.5
    angle = k * (np.pi * (3.0 - np.sqrt(5.0)))  # the golden angle
    radius = 0.9 * np.sqrt(k / count)
    size = (0.9 / np.sqrt(count)) * d.between(0.5, 0.68) * (0.75 + 0.4 * radius)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    seeds = c.strokes(np.stack([x, y, x * 1.04, y * 1.04, size, size], axis=1).tolist())
    layers: Layers = []
    if d.chance(0.5):
        layers.append((c.cover(np.sqrt(c.x * c.x + c.y * c.y) - 0.95), INK2))
    layers.append((seeds, INK))
    return layers


def _cells(d: Dice, c: Canvas) -> Layers:
    points = _scatter(d, c, d.between(0.48, 0.66), 0.36)
    first, second, _ = _voronoi(points)
    unit = c.size
    wall = np.clip(0.5 - ((second - first) * 0.5 - d.between(0.035, 0.06) * unit) / _PIXEL, 0.0, 1.0)
    nucleus = np.clip(0.5 - (first - d.between(0.06, 0.11) * unit) / _PIXEL, 0.0, 1.0)
    return [(wall, INK), (nucleus, INK2 if d.chance(0.5) else INK)]


def _clouds(d: Dice, c: Canvas) -> Layers:
    coarse = 3 if c.size > 0.95 else 4
    field = _noise(d, coarse) + 0.55 * _noise(d, 2 * coarse) + 0.3 * _noise(d, 14) + 0.12 * _noise(d, 20)
    level = d.between(-0.25, 0.15)
    cloud = _smooth(field, level, level + d.between(0.4, 0.8))
    under = cloud * _smooth(_noise(d, coarse) - 0.4 * c.y, 0.0, 1.2)
    return [(cloud, INK), (0.5 * under, INK2)]


def _ripples(d: Dice, c: Canvas) -> Layers:
    wobble = 0.12 * _noise(d, 3)
    period = d.between(0.26, 0.38)
    height = np.zeros((_FINE, _FINE))
    for _ in range(d.whole(1, 2)):
        x, y = c.x - d.between(-0.7, 0.7), (c.y - d.between(-0.7, 0.7)) * d.between(1.0, 1.5)
        r = np.sqrt(x * x + y * y) + wobble
        height += np.cos(_TAU * r / period) * np.exp(-d.between(0.2, 0.7) * r)
    crest = _smooth(height, -0.8, 0.8)
    return [(crest, INK), (0.6 * _smooth(height, 0.45, 1.1), INK2)]


def _leopard(d: Dice, c: Canvas) -> Layers:
    points = _scatter(d, c, d.between(0.46, 0.64), 0.24)
    first, _, index = _voronoi(points)
    first = first / c.size + 0.05 * _noise(d, 8)
    radius = 0.10 + 0.07 * d.many(len(points), 0.0, 1.0)[index]
    thick = d.between(0.04, 0.055)
    gaps = _smooth(_noise(d, 10) + 0.35, -0.25, 0.15)
    return [(c.cover(first - radius) * 0.7, INK2), (c.cover(np.abs(first - radius) - thick) * gaps, INK)]


def _zebra(d: Dice, c: Canvas) -> Layers:
    period = d.between(0.34, 0.5)
    u = c.x + d.between(0.16, 0.3) * _noise(d, 3) + 0.07 * _noise(d, 5)
    swell = np.cos(_TAU * u / period) + 0.75 * _noise(d, 5)  # stripes swell, end and fork
    return [(c.cover(swell * (-period / _TAU)), INK)]


def _flower(d: Dice, c: Canvas) -> Layers:
    r, a = _polar(c)
    a = a + 0.12 * _noise(d, 2)
    petals = d.whole(5, 8)
    shape = d.between(0.45, 0.9)
    b = np.abs(np.cos(0.5 * petals * a)) ** shape
    inner = d.between(0.2, 0.35)
    edge = r - 0.85 * (inner + (1.0 - inner) * b)
    layers = [(c.cover(0.75 * edge), INK)]
    if d.chance(0.6):  # the throat in another colour
        layers.append((c.cover(0.75 * edge) * _smooth(-r, -0.62, -0.2) * 0.85, INK2))
    layers.append((c.cover(r - d.between(0.13, 0.22)), INK3))
    return layers


def _snowflake(d: Dice, c: Canvas) -> Layers:
    r, a = _polar(c)
    b = np.abs(_fold(a, 6))
    x, y = r * np.cos(b), r * np.sin(b)
    half = d.between(0.03, 0.05)
    shape = np.sqrt(np.maximum(x - 0.85, 0.0) ** 2 + y * y) - half
    position = d.between(0.22, 0.32)
    tilt = d.between(0.85, 1.15)  # about 60 degrees
    for _ in range(d.whole(2, 3)):
        length = d.between(0.16, 0.34)
        u = (x - position) * np.cos(tilt) + y * np.sin(tilt)
        v = y * np.cos(tilt) - (x - position) * np.sin(tilt)
        u = u - np.clip(u, 0.0, length)
        shape = np.minimum(shape, np.sqrt(u * u + v * v) - half)
        position += d.between(0.18, 0.26)
    if d.chance(0.5):
        shape = np.minimum(shape, x - d.between(0.1, 0.2))
    return [(c.cover(shape), INK)]


def _shell(d: Dice, c: Canvas) -> Layers:
    r, a = _polar(c)
    a = a + np.pi  # 0 to 2 pi; the mouth of the shell is where it wraps
    growth = d.between(0.13, 0.19)
    rim = 0.98 * np.exp(growth * (a - _TAU))
    body = c.cover(r - rim)
    turns = np.log(np.maximum(r, 0.02) / rim) / (growth * _TAU)
    whorl = turns - np.floor(turns)
    line = c.cover((np.minimum(whorl, 1.0 - whorl) * growth * _TAU - 0.13) * r)
    chambers = d.whole(9, 13)
    phase = chambers * (a + d.between(0.5, 1.0) * whorl) / _TAU
    septa = c.cover((np.abs(phase - np.round(phase)) * _TAU / chambers - 0.09) * r)
    return [(body, INK), (body * 0.75 * septa, INK2), (body * line, INK2)]


def _fern(d: Dice, c: Canvas) -> Layers:
    pairs = d.whole(8, 11)
    curl, bend = d.between(0.6, 2.2), d.between(-0.2, 0.1)
    x, y, angle = -0.25, -0.95, bend
    length, reach, droop = 1.9 / pairs, d.between(0.36, 0.5), d.between(0.9, 1.25)
    lines: list[tuple[float, ...]] = []
    for i in range(pairs):
        t = i / pairs
        x1, y1 = x + length * np.sin(angle), y + length * np.cos(angle)
        radius = 0.045 * (1.0 - 0.6 * t)
        lines.append((x, y, x1, y1, radius, radius))
        size = reach * min(1.0, 0.55 + 2.0 * t) * (1.0 - t) ** 0.8 + 0.05
        for side in (-1.0, 1.0):
            tip = angle + side * droop * d.between(0.9, 1.1)
            lines.append((x1, y1, x1 + size * np.sin(tip), y1 + size * np.cos(tip), 0.055, 0.015))
        x, y, angle = x1, y1, angle + curl / pairs * (0.3 + 1.4 * t)
    return [(c.strokes(lines), INK)]


def _grass(d: Dice, c: Canvas) -> Layers:
    layers: Layers = []
    wind = d.between(-0.5, 0.5)
    for colour, count in ((INK3, 7), (INK2, 7), (INK, 8)):
        lines: list[tuple[float, ...]] = []
        for _ in range(count):
            x, y = d.between(-1.5, 1.5), -1.5
            height, lean = d.between(1.3, 2.3), wind + d.between(-0.7, 0.7)
            radius = d.between(0.05, 0.085)
            for step in range(3):
                x1, y1 = x + lean * (0.12 + 0.3 * step) * height / 3, y + height / 3
                r0, r1 = radius * (1.0 - 0.32 * step), radius * (0.68 - 0.32 * step)
                lines.append((x, y, x1, y1, r0, r1))
                x, y = x1, y1
        layers.append((c.strokes(lines), colour))
    return layers


def _pebbles(d: Dice, c: Canvas) -> Layers:
    points = _scatter(d, c, d.between(0.42, 0.62), 0.26)
    first, second, index = _voronoi(points)
    margin = (second - first) * 0.5 / c.size + 0.02 * _noise(d, 8)
    stone = c.cover(d.between(0.03, 0.05) - margin) * _smooth(-first / c.size, -0.55, -0.36)
    tones = d.many(len(points), 0.0, 1.0)
    tone = tones[index]
    # light from one side: points know where the middle of their stone is
    side = d.between(0.0, _TAU)
    across = (_X - points[index, 0]) * np.cos(side) + (_Y - points[index, 1]) * np.sin(side)
    across = across / c.size
    return [
        (stone, INK),
        (stone * (tone < 0.4) * 0.9, INK2),
        (stone * 0.55 * _smooth(across, 0.0, 0.32), DARK),
        (stone * 0.5 * _smooth(-across, 0.04, 0.28), LIGHT),
    ]


def _flame(d: Dice, c: Canvas) -> Layers:
    tongues = [(d.between(-0.1, 0.1), d.between(1.5, 1.8), d.between(0.4, 0.55))]
    for side in (-1.0, 1.0):
        tongues.append((side * d.between(0.2, 0.34), d.between(0.8, 1.3), d.between(0.24, 0.36)))
    t0 = (c.y + 0.85) / 1.8
    sway = d.between(0.1, 0.2) * np.sin(d.between(3.0, 4.5) * c.y + d.between(0.0, _TAU)) * np.clip(t0, 0.0, 1.0)
    flicker = 0.08 * _noise(d, 5)
    layers: Layers = []
    for colour, part in ((INK, 1.0), (INK2, 0.68), (INK3, 0.38)):
        shape = np.full((_FINE, _FINE), 1e3)
        for x, height, wide in tongues:
            t = np.clip((c.y + 0.85) / (height * part), 0.0, 1.0)
            half = part * wide * 1.65 * np.sqrt(t) * (1.0 - t) ** 0.85
            distance = np.abs(c.x - x * part - sway + flicker) - half
            shape = np.minimum(shape, np.where((t > 0.0) & (t < 1.0), distance, 0.1))
        layers.append((c.cover(shape), colour))
    return layers


def _mountains(d: Dice, c: Canvas) -> Layers:
    layers: Layers = []
    knots = np.linspace(-2.6, 2.6, 27)
    for colour, base in ((INK3, 0.3), (INK2, -0.05), (INK, -0.5)):
        peaks = d.many(27, -0.12, 0.12)
        phase = d.whole(0, 5)
        for k in range(27):  # a peak every five or six knots, rough slopes between
            peaks[k] += 0.36 * abs(((k + phase) % 6) - 3) / 3 - 0.1
        ridge = base + np.interp(c.x + d.between(-0.1, 0.1), knots, peaks)
        slope = c.cover(0.75 * (c.y - ridge))
        layers.append((slope, colour))
        if colour != INK:
            snow = c.y - base - 0.12 - 0.1 * _noise(d, 14)
            layers.append((slope * _smooth(snow, 0.0, 0.08) * 0.8, LIGHT))
    return layers


def _feather(d: Dice, c: Canvas) -> Layers:
    x = c.x - d.between(0.1, 0.4) * (c.y * c.y - 0.3)
    t = np.clip((c.y + 0.62) / 1.6, 0.0, 1.0)
    half = d.between(0.28, 0.4) * np.sqrt(np.sin(np.pi * np.clip(0.03 + 0.94 * t**0.85, 0.0, 1.0)))
    half = half * np.where(x > 0, 1.0, d.between(0.6, 0.9))
    slant = c.y - d.between(0.9, 1.3) * np.abs(x)
    period = d.between(0.17, 0.22)
    phase = slant / (1.6 * period) - np.floor(slant / (1.6 * period))
    fringe = half * (1.0 - 0.28 * phase * np.where(x > 0, 1.0, d.between(0.3, 1.0)))  # barbs end in a ragged edge
    vane = np.maximum(np.abs(x) - fringe, np.abs(c.y - 0.18) - 0.8)
    blade = c.cover(vane)
    barbs = blade * c.stripes(slant * 0.65, 0.65 * period, 0.3 * period)
    quill = c.cover(np.maximum(np.abs(x) - 0.04, np.abs(c.y + 0.02) - 0.98))
    return [(blade, INK), (barbs, INK2), (quill, INK3 if d.chance(0.5) else INK)]


def _lightning(d: Dice, c: Canvas) -> Layers:
    lines: list[tuple[float, ...]] = []

    def strike(x: float, y: float, drift: float, steps: int, radius: float, forks: int) -> None:
        for step in range(steps):
            x1, y1 = x + drift + d.between(-0.22, 0.22), y - d.between(0.16, 0.3)
            lines.append((x, y, x1, y1, radius, 0.92 * radius))
            if forks and step % 2 == 1:
                side = 1.0 if d.chance(0.5) else -1.0
                strike(x1, y1, side * d.between(0.12, 0.26), d.whole(2, 4), 0.6 * radius, 0)
            x, y, radius = x1, y1, 0.92 * radius

    strike(d.between(-0.3, 0.3), 1.2, d.between(-0.08, 0.08), 10, d.between(0.045, 0.065), 1)
    glow = c.strokes([(*line[:4], 0.13, 0.11) for line in lines])
    return [(0.3 * glow, INK2), (c.strokes(lines), INK)]


def _starfish(d: Dice, c: Canvas) -> Layers:
    r, a = _polar(c)
    a = a + d.between(-0.5, 0.5) * r + 0.16 * _noise(d, 2)  # arms curl
    b = np.abs(_fold(a, 5)) * (5 / np.pi)
    plump = d.between(0.24, 0.34)
    edge = r - (plump + (0.9 - plump) * (1.0 - b) ** d.between(1.5, 2.2))
    body = c.cover(0.5 * edge)
    knobs = body * c.stripes(r, 0.2, 0.11) * c.cover((b * np.pi / 5) * r - 0.055)
    return [(body, INK), (knobs, INK2)]


def _dunes(d: Dice, c: Canvas) -> Layers:
    layers: Layers = []
    y = 0.95
    colours = (INK2, INK, INK3)
    for k in range(8):
        phase, wave = d.between(0.0, _TAU), d.between(1.6, 3.2)
        swell = d.between(0.05, 0.13)
        crest = y + swell * np.sin(wave * c.x + phase) + 0.35 * swell * np.sin(2.3 * wave * c.x + 2.0 * phase)
        depth = crest - c.y
        face = c.cover(-depth)
        layers.append((face, colours[k % 3]))
        layers.append((face * 0.6 * _smooth(-depth, -0.34, -0.02), LIGHT if k % 2 else DARK))
        y -= d.between(0.24, 0.42)
    return layers


# --- the classes --------------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    word: str
    name: str
    group: str
    paint: Callable[[Dice, Canvas], Layers]
    tilt: float  # greatest rotation, radians
    size: float = 1.0  # usual size of the subject


_KINDS = tuple(
    kind
    for pair in zip(
        (
            _Kind("gear", "gear", "man-made", _gear, np.pi),
            _Kind("bricks", "brick wall", "man-made", _bricks, 0.5),
            _Kind("grating", "grating", "man-made", _grating, np.pi),
            _Kind("lettering", "lettering", "man-made", _lettering, 0.45),
            _Kind("polygons", "nested polygons", "man-made", _polygons, np.pi),
            _Kind("plaid", "plaid", "man-made", _plaid, np.pi),
            _Kind("checkers", "checkerboard", "man-made", _checkers, np.pi),
            _Kind("wheel", "spoked wheel", "man-made", _wheel, np.pi),
            _Kind("ladder", "ladder", "man-made", _ladder, 0.8),
            _Kind("arcade", "arcade", "man-made", _arcade, 0.25),
            _Kind("circuit", "circuit board", "man-made", _circuit, np.pi),
            _Kind("crosses", "crosses", "man-made", _crosses, np.pi),
            _Kind("chain", "chain", "man-made", _chain, np.pi),
            _Kind("key", "key", "man-made", _key, np.pi),
            _Kind("chevrons", "chevrons", "man-made", _chevrons, np.pi),
            _Kind("skyline", "skyline", "man-made", _skyline, 0.2),
            _Kind("truss", "truss bridge", "man-made", _truss, 0.7),
            _Kind("stairs", "stairs", "man-made", _stairs, 0.3),
            _Kind("dartboard", "dartboard", "man-made", _dartboard, np.pi),
            _Kind("weave", "basket weave", "man-made", _weave, np.pi),
        ),
        (
            _Kind("tree", "bare tree", "natural", _tree, 0.3),
            _Kind("leaf", "leaf", "natural", _leaf, np.pi, 1.1),
            _Kind("sunflower", "sunflower seeds", "natural", _sunflower, np.pi),
            _Kind("cells", "cells", "natural", _cells, np.pi),
            _Kind("clouds", "clouds", "natural", _clouds, 0.4),
            _Kind("ripples", "ripples", "natural", _ripples, np.pi),
            _Kind("leopard", "leopard rosettes", "natural", _leopard, np.pi),
            _Kind("zebra", "zebra stripes", "natural", _zebra, np.pi),
            _Kind("flower", "flower", "natural", _flower, np.pi),
            _Kind("snowflake", "snowflake", "natural", _snowflake, np.pi),
            _Kind("shell", "nautilus shell", "natural", _shell, np.pi),
            _Kind("fern", "fern", "natural", _fern, 0.6),
            _Kind("grass", "grass", "natural", _grass, 0.25),
            _Kind("pebbles", "pebbles", "natural", _pebbles, np.pi),
            _Kind("flame", "flame", "natural", _flame, 0.3),
            _Kind("mountains", "mountains", "natural", _mountains, 0.2),
            _Kind("feather", "feather", "natural", _feather, np.pi, 1.1),
            _Kind("lightning", "lightning", "natural", _lightning, 0.4),
            _Kind("starfish", "starfish", "natural", _starfish, np.pi),
            _Kind("dunes", "dunes", "natural", _dunes, 0.25),
        ),
        strict=True,
    )
    for kind in pair
)

# Man-made and natural alternate, so that the order of the classes says nothing about the group.
CLASSES = tuple(DemoClass(f"d{i:02d}_{kind.word}", kind.name, kind.group) for i, kind in enumerate(_KINDS))


# --- from layers to a picture -------------------------------------------------------------------------------


def _reducer(blur: float) -> Array:
    """(32, 64): from fine pixels to pixels, blurred by a Gaussian of this standard deviation (pixels)."""
    fine = (np.arange(_FINE) + 0.5) / _SUPER
    weights: Array = np.exp(-0.5 * ((fine[None, :] - np.arange(SIZE)[:, None] - 0.5) / blur) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


_REDUCERS = tuple(_reducer(blur) for blur in np.linspace(BLUR[0], BLUR[1], 16))


def _rgb(lightness: Array, chroma: Array, hue: Array) -> Array:
    """(k, 3) sRGB in [0, 1] from OKLCH (Ottosson 2020), clipped to the gamut."""
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=1,
    )
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1.0 / 2.4) - 0.055)


_HARMONIES = (
    (0.0, 0.3, -0.3),
    (0.5, 0.9, -0.4),
    (np.pi, 0.4, np.pi - 0.5),
    (2.1, -2.1, 0.5),
    (2.6, -2.6, np.pi),
)


def _palette(d: Dice) -> Array:
    """(7, 3) colours: background, three inks, a darker and a lighter one, and a second background."""
    back, gap = d.between(0.24, 0.94), d.between(*CONTRAST)
    up = -1.0 if back - gap > 0.14 and (back + gap > 0.96 or d.chance(0.5)) else 1.0
    ink = back + up * gap
    beyond = ink + up * d.between(0.15, 0.3)  # the second ink: further from the background, or on its other side
    second = beyond if 0.12 < beyond < 0.98 and d.chance(0.5) else back - up * d.between(0.0, 0.2)
    third = ink + d.between(-0.12, 0.12) if d.chance(0.5) else 0.5 * (ink + second)
    middle = 0.5 * (ink + back)
    lightness = np.array([back, ink, second, third, middle - 0.3, middle + 0.3, back + d.between(-0.14, 0.14)])
    hue = d.between(0.0, _TAU)
    turns = _HARMONIES[d.whole(0, len(_HARMONIES) - 1)]
    hues = hue + np.array([0.0, turns[0], turns[1], turns[2], 0.0, turns[0], 0.0]) + d.many(7, -0.25, 0.25)
    chroma = d.many(7, *CHROMA) * np.array([0.7, 1.0, 1.0, 1.0, 0.8, 0.6, 0.7])
    return _rgb(np.clip(lightness, 0.12, 0.98), chroma, hues)


def _pose(d: Dice, kind: _Kind) -> Canvas:
    tilt = min(kind.tilt, UPRIGHT) if kind.group == "man-made" else kind.tilt
    angle = d.between(-tilt, tilt)
    if tilt < kind.tilt and kind.tilt > 3.0:  # what has no up and down stands on any of its four sides
        angle += 0.25 * _TAU * d.whole(0, 3)
    size = kind.size * np.exp(d.between(np.log(SCALE[0]), np.log(SCALE[1])))
    stretch, shear = np.exp(d.between(-0.12, 0.12)), d.between(-0.12, 0.12)
    flip = -1.0 if d.chance(0.5) else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = size * np.array([[cos, -sin], [sin, cos]]) @ np.array([[flip * stretch, shear], [0.0, 1.0 / stretch]])
    shift = d.many(2, -SHIFT, SHIFT)
    inverse = np.linalg.inv(matrix)
    x, y = _X - shift[0], _Y - shift[1]
    return Canvas(
        x=inverse[0, 0] * x + inverse[0, 1] * y,
        y=inverse[1, 0] * x + inverse[1, 1] * y,
        matrix=matrix,
        shift=shift,
        size=float(size),
    )


_PICTURE = Canvas(x=_X, y=_Y, matrix=np.eye(2), shift=np.zeros(2), size=1.0)  # for what has no pose of its own


def _count(d: Dice, mean: float) -> int:
    """A whole number with this mean, between 0 and twice the mean."""
    return int(d.between(0.0, 2.0 * mean) + 0.5)


def _clutter(d: Dice, count: int, radius: tuple[float, float], group: str) -> Array:
    """Coverage of `count` random things anywhere in the picture: straight bars, or curved tapering blades."""
    lines = []
    for _ in range(count):
        x, y, angle = d.between(-1.0, 1.0), d.between(-1.0, 1.0), d.between(0.0, _TAU)
        length, r, bend = d.between(0.3, 1.2), d.between(*radius), d.between(0.4, 1.0)
        if group == "man-made":
            lines.append((x, y, x + length * np.cos(angle), y + length * np.sin(angle), r, r))
            continue
        for step in range(3):
            x1, y1 = x + length / 3 * np.cos(angle), y + length / 3 * np.sin(angle)
            lines.append((x, y, x1, y1, r * (1.3 - 0.4 * step), r * (0.9 - 0.4 * step)))
            x, y, angle = x1, y1, angle + bend
    return _PICTURE.strokes(lines)


def _facets(d: Dice) -> Array:
    """(64, 64) sharp straight edges of light and shade, as flat panels throw them: mean about 0, sd 0.5."""
    light = np.zeros((_FINE, _FINE))
    for _ in range(3):
        angle = d.between(0.0, _TAU)
        edge = np.cos(angle) * _X + np.sin(angle) * _Y - d.between(-0.7, 0.7)
        light += d.between(-0.5, 0.5) * np.clip(2.0 * edge / _PIXEL, -1.0, 1.0)
    return light


def _wobbled(picture: Array, d: Dice, strength: float) -> Array:
    """The picture, (3, 64, 64), with every outline made irregular by a smooth random displacement."""
    cells = (5, 6, 8)[d.whole(0, 2)]
    column = np.clip((_X + strength * _noise(d, cells) + 1.0) / _PIXEL - 0.5, 0.0, _FINE - 1.001)
    row = np.clip((_Y + strength * _noise(d, cells) + 1.0) / _PIXEL - 0.5, 0.0, _FINE - 1.001)
    i, j = row.astype(np.int64), column.astype(np.int64)
    u, v = row - i, column - j
    flat, at = picture.reshape(3, -1), i * _FINE + j
    upper = flat[:, at] * (1.0 - v) + flat[:, at + 1] * v
    lower = flat[:, at + _FINE] * (1.0 - v) + flat[:, at + _FINE + 1] * v
    wobbled: Array = upper * (1.0 - u) + lower * u
    return wobbled


def draw(class_index: int, number: int, hardness: float = 1.0) -> NDArray[np.uint8]:
    """The picture `number` of a class, (32, 32, 3) uint8 RGB; a pure function of its arguments.

    `hardness` multiplies pixel noise, clutter and occluders; 0 draws clean pictures. IndexError if unknown.
    """
    if not 0 <= class_index < len(_KINDS):
        raise IndexError(f"there are {len(_KINDS)} demo classes, no class {class_index}")
    kind = _KINDS[class_index]
    d = Dice(class_index, number)
    palette = _palette(d)
    canvas = _pose(d, kind)

    direction = d.between(0.0, _TAU)
    ramp = 0.5 + 0.5 * (np.cos(direction) * _X + np.sin(direction) * _Y)
    mottle = BACKGROUND * (0.7 * ramp + 0.9 * _noise(d, d.whole(2, 6)))
    picture = palette[BACK][:, None, None] + np.clip(mottle, 0.0, 1.0) * (palette[6] - palette[BACK])[:, None, None]

    def lay(coverage: Array, colour: int) -> None:
        nonlocal picture
        picture = picture + coverage * (palette[colour][:, None, None] - picture)

    behind = _count(d, CLUTTER * hardness)
    if behind:
        lay(d.between(0.2, 0.5) * _clutter(d, behind, (0.02, 0.09), kind.group), INK3)
    for coverage, colour in kind.paint(d, canvas):
        lay(coverage, colour)
    before = _count(d, OCCLUDERS * hardness)
    if before:
        lay(_clutter(d, before, (0.04, 0.12), kind.group), BACK if d.chance(0.5) else INK2)

    # Each group has its own nuisance, of equal strength; features learned on one group alone never saw the
    # other's. This is what sets the groups further apart than random halves are.
    strength = APART * d.between(0.04, 0.16)
    if kind.group == "man-made":
        picture += strength * _facets(d)
    else:
        picture = _wobbled(picture, d, 0.6 * strength)
        picture += strength * (0.7 * _noise(d, 10) + 0.7 * _noise(d, 20))

    light = d.between(0.0, _TAU)
    picture *= 1.0 + d.between(0.0, 0.3) * (np.cos(light) * _X + np.sin(light) * _Y) - 0.12 * d.between(0.0, 1.0)
    reducer = _REDUCERS[d.whole(0, len(_REDUCERS) - 1)]
    small = reducer @ picture @ reducer.T  # (3, 32, 32)
    grain = NOISE * hardness * d.between(0.2, 1.0)
    pixels = SIZE * SIZE
    # two uniforms make a triangular draw; a third of the grain is coloured
    grey = d.many(pixels, -1.0, 1.0) + d.many(pixels, -1.0, 1.0)
    colour_grain = d.many(3 * pixels, -1.0, 1.0)
    small += grain * (0.8 * grey.reshape(1, SIZE, SIZE) + 0.6 * colour_grain.reshape(3, SIZE, SIZE))
    small = np.clip(small, 0.0, 1.0)[:, ::-1, :]  # row 0 is the top of the picture
    return np.ascontiguousarray(np.floor(small * 255.0 + 0.5).astype(np.uint8).transpose(1, 2, 0))


def draw_many(class_index: int, numbers: Sequence[int]) -> NDArray[np.uint8]:
    """Several pictures of a class, (len(numbers), 32, 32, 3) uint8, each the same as from `draw`."""
    pictures = np.empty((len(numbers), SIZE, SIZE, 3), dtype=np.uint8)
    for i, number in enumerate(numbers):
        pictures[i] = draw(class_index, number)
    return pictures


def contact_sheet(path: Path, pictures_per_class: int = 8) -> None:
    """Write a PNG with a labelled row of training pictures per class: man-made left, natural right."""
    zoom, gap, label, margin, head = 2, 4, 132, 24, 64
    cell = SIZE * zoom + gap
    column = label + pictures_per_class * cell + margin
    rows = max(sum(kind.group == group for kind in CLASSES) for group in ("man-made", "natural"))
    sheet = Image.new("RGB", (2 * column + margin, head + rows * cell + margin), (250, 249, 246))
    pen = ImageDraw.Draw(sheet)
    title, text = ImageFont.load_default(24), ImageFont.load_default(14)
    for side, group in enumerate(("man-made", "natural")):
        left = margin + side * column
        pen.text((left + label, head - 14), group, fill=(40, 40, 40), font=title, anchor="ls")
        members = [i for i, one in enumerate(CLASSES) if one.group == group]
        for row, index in enumerate(members):
            top = head + row * cell
            middle = top + SIZE * zoom // 2
            pen.text((left + label - 12, middle), CLASSES[index].name, fill=(70, 70, 70), font=text, anchor="rm")
            for i, picture in enumerate(draw_many(index, range(pictures_per_class))):
                big = Image.fromarray(picture).resize((SIZE * zoom, SIZE * zoom), Image.Resampling.NEAREST)
                sheet.paste(big, (left + label + i * cell, top))
    with write_atomically(Path(path)) as file:
        sheet.save(file, format="PNG")

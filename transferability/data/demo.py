"""Demo images, drawn by the package itself: 40 classes at 32x32 pixels, 20 man-made and 20 natural.

They stand in for photographs where a study has to run in minutes. Man-made classes are straight, regular and periodic;
natural ones branch, wander and vary. Pose, scale, palette, background, light, blur and noise are drawn from the same
distributions for every class: neither colour nor any single pixel gives a class away.

An image is a pure function of (class, number). The same bytes come out on every machine: random numbers are raw Philox
doubles (no NumPy distribution, whose streams may change between versions), arithmetic is float64, and it is rounded to
bytes once, at the end, so last-bit differences between processors' sines do not show.

How one is painted: a pose (rotation, scale, shear, position) makes a `Canvas`; the painter of the class (painters.py)
returns layers; `paint` lays them in the colours of a palette over a background, adds clutter, light, blur and noise,
and reduces the fine grid to 32x32.

The demo's second domain, `drawn`, shows the same classes as drawings on paper: outlines in one ink, which is darker or
lighter than the paper, over its grain. How far it is from the first, `painted`, is one number (`DISTANCE`): at 0 the
two have one distribution, and whatever a method of adaptation gains there is no gain of adaptation.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from transferability.classes import ImageClass
from transferability.data import painters
from transferability.data.canvas import (
    BACK,
    FINE,
    INK2,
    INK3,
    PIXEL,
    SIZE,
    SUPER,
    TAU,
    Array,
    Canvas,
    Dice,
    Layers,
    X,
    Y,
    noise,
)
from transferability.files import write_atomically

TRAIN_PER_CLASS = 250
VAL_PER_CLASS = 200  # times 20 classes of a half: 4,000 validation images
TRAIN_NUMBERS = range(TRAIN_PER_CLASS)
VAL_NUMBERS = range(1_000_000, 1_000_000 + VAL_PER_CLASS)  # larger than any number of training images

# The two domains of `pack demo-domains`, each with these numbers of images per class; no number is in both.
DOMAINS = {"drawn": (range(100_000, 100_125), range(1_100_000, 1_100_100)), "painted": (range(125), VAL_NUMBERS[:100])}
DISTANCE = 1.0  # of the drawn domain from the painted one: 0 none, 1 nothing but outlines is left

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
UPRIGHT = 0.15  # greatest tilt, in radians, of man-made things, which are built along two directions
SHIFT = 0.28  # greatest displacement of the subject's middle; both axes of the image run from -1 to 1


# --- the classes --------------------------------------------------------------------------------------------


class _Subject(NamedTuple):
    """What the images of one class show."""

    painter: Callable[[Dice, Canvas], Layers]
    name: str
    group: str
    tilt: float  # greatest rotation, radians
    size: float = 1.0  # usual size


_SUBJECTS = tuple(
    subject
    for pair in zip(
        (
            _Subject(painters.gear, "gear", "man-made", np.pi),
            _Subject(painters.bricks, "brick wall", "man-made", 0.5),
            _Subject(painters.grating, "grating", "man-made", np.pi),
            _Subject(painters.lettering, "lettering", "man-made", 0.45),
            _Subject(painters.polygons, "nested polygons", "man-made", np.pi),
            _Subject(painters.plaid, "plaid", "man-made", np.pi),
            _Subject(painters.checkers, "checkerboard", "man-made", np.pi),
            _Subject(painters.wheel, "spoked wheel", "man-made", np.pi),
            _Subject(painters.ladder, "ladder", "man-made", 0.8),
            _Subject(painters.arcade, "arcade", "man-made", 0.25),
            _Subject(painters.circuit, "circuit board", "man-made", np.pi),
            _Subject(painters.crosses, "crosses", "man-made", np.pi),
            _Subject(painters.chain, "chain", "man-made", np.pi),
            _Subject(painters.key, "key", "man-made", np.pi),
            _Subject(painters.chevrons, "chevrons", "man-made", np.pi),
            _Subject(painters.skyline, "skyline", "man-made", 0.2),
            _Subject(painters.truss, "truss bridge", "man-made", 0.7),
            _Subject(painters.stairs, "stairs", "man-made", 0.3),
            _Subject(painters.dartboard, "dartboard", "man-made", np.pi),
            _Subject(painters.weave, "basket weave", "man-made", np.pi),
        ),
        (
            _Subject(painters.tree, "bare tree", "natural", 0.3),
            _Subject(painters.leaf, "leaf", "natural", np.pi, 1.1),
            _Subject(painters.sunflower, "sunflower seeds", "natural", np.pi),
            _Subject(painters.cells, "cells", "natural", np.pi),
            _Subject(painters.clouds, "clouds", "natural", 0.4),
            _Subject(painters.ripples, "ripples", "natural", np.pi),
            _Subject(painters.leopard, "leopard rosettes", "natural", np.pi),
            _Subject(painters.zebra, "zebra stripes", "natural", np.pi),
            _Subject(painters.flower, "flower", "natural", np.pi),
            _Subject(painters.snowflake, "snowflake", "natural", np.pi),
            _Subject(painters.shell, "nautilus shell", "natural", np.pi),
            _Subject(painters.fern, "fern", "natural", 0.6),
            _Subject(painters.grass, "grass", "natural", 0.25),
            _Subject(painters.pebbles, "pebbles", "natural", np.pi),
            _Subject(painters.flame, "flame", "natural", 0.3),
            _Subject(painters.mountains, "mountains", "natural", 0.2),
            _Subject(painters.feather, "feather", "natural", np.pi, 1.1),
            _Subject(painters.lightning, "lightning", "natural", 0.4),
            _Subject(painters.starfish, "starfish", "natural", np.pi),
            _Subject(painters.dunes, "dunes", "natural", 0.25),
        ),
        strict=True,
    )
    for subject in pair
)

# Man-made and natural alternate, so that the order of the classes says nothing about the group.
CLASSES = tuple(
    ImageClass(index, f"d{index:02d}_{subject.painter.__name__}", subject.name, subject.group)
    for index, subject in enumerate(_SUBJECTS)
)


# --- from layers to an image --------------------------------------------------------------------------------


def _reducer(blur: float) -> Array:
    """(32, 64): from fine pixels to pixels, blurred by a Gaussian of this standard deviation (pixels)."""
    fine = (np.arange(FINE) + 0.5) / SUPER
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
    hue = d.between(0.0, TAU)
    turns = _HARMONIES[d.whole(0, len(_HARMONIES) - 1)]
    hues = hue + np.array([0.0, turns[0], turns[1], turns[2], 0.0, turns[0], 0.0]) + d.many(7, -0.25, 0.25)
    chroma = d.many(7, *CHROMA) * np.array([0.7, 1.0, 1.0, 1.0, 0.8, 0.6, 0.7])
    return _rgb(np.clip(lightness, 0.12, 0.98), chroma, hues)


def _pose(d: Dice, subject: _Subject) -> Canvas:
    tilt = min(subject.tilt, UPRIGHT) if subject.group == "man-made" else subject.tilt
    angle = d.between(-tilt, tilt)
    if tilt < subject.tilt and subject.tilt > 3.0:  # a subject without up and down may lie on any side
        angle += 0.25 * TAU * d.whole(0, 3)
    size = subject.size * np.exp(d.between(np.log(SCALE[0]), np.log(SCALE[1])))
    stretch, shear = np.exp(d.between(-0.12, 0.12)), d.between(-0.12, 0.12)
    flip = -1.0 if d.chance(0.5) else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = size * np.array([[cos, -sin], [sin, cos]]) @ np.array([[flip * stretch, shear], [0.0, 1.0 / stretch]])
    shift = d.many(2, -SHIFT, SHIFT)
    inverse = np.linalg.inv(matrix)
    x, y = X - shift[0], Y - shift[1]
    return Canvas(
        x=inverse[0, 0] * x + inverse[0, 1] * y,
        y=inverse[1, 0] * x + inverse[1, 1] * y,
        matrix=matrix,
        shift=shift,
        size=float(size),
    )


_IMAGE = Canvas(
    x=X, y=Y, matrix=np.eye(2), shift=np.zeros(2), size=1.0
)  # the frame of things without a pose of their own


def _count(d: Dice, mean: float) -> int:
    """A whole number with this mean, between 0 and twice the mean."""
    return int(d.between(0.0, 2.0 * mean) + 0.5)


def _clutter(d: Dice, count: int, radius: tuple[float, float], group: str) -> Array:
    """Coverage of `count` random things anywhere in the image: straight bars, or curved tapering blades."""
    lines = []
    for _ in range(count):
        x, y, angle = d.between(-1.0, 1.0), d.between(-1.0, 1.0), d.between(0.0, TAU)
        length, r, bend = d.between(0.3, 1.2), d.between(*radius), d.between(0.4, 1.0)
        if group == "man-made":
            lines.append((x, y, x + length * np.cos(angle), y + length * np.sin(angle), r, r))
            continue
        for step in range(3):
            x1, y1 = x + length / 3 * np.cos(angle), y + length / 3 * np.sin(angle)
            lines.append((x, y, x1, y1, r * (1.3 - 0.4 * step), r * (0.9 - 0.4 * step)))
            x, y, angle = x1, y1, angle + bend
    return _IMAGE.strokes(lines)


def _facets(d: Dice) -> Array:
    """(64, 64) sharp straight edges of light and shade, as flat panels throw them: mean about 0, sd 0.5."""
    light = np.zeros((FINE, FINE))
    for _ in range(3):
        angle = d.between(0.0, TAU)
        edge = np.cos(angle) * X + np.sin(angle) * Y - d.between(-0.7, 0.7)
        light += d.between(-0.5, 0.5) * np.clip(2.0 * edge / PIXEL, -1.0, 1.0)
    return light


def _wobbled(image: Array, d: Dice, strength: float) -> Array:
    """The image, (3, 64, 64), with every outline made irregular by a smooth random displacement."""
    cells = (5, 6, 8)[d.whole(0, 2)]
    column = np.clip((X + strength * noise(d, cells) + 1.0) / PIXEL - 0.5, 0.0, FINE - 1.001)
    row = np.clip((Y + strength * noise(d, cells) + 1.0) / PIXEL - 0.5, 0.0, FINE - 1.001)
    i, j = row.astype(np.int64), column.astype(np.int64)
    u, v = row - i, column - j
    flat, at = image.reshape(3, -1), i * FINE + j
    upper = flat[:, at] * (1.0 - v) + flat[:, at + 1] * v
    lower = flat[:, at + FINE] * (1.0 - v) + flat[:, at + FINE + 1] * v
    wobbled: Array = upper * (1.0 - u) + lower * u
    return wobbled


def _background(d: Dice, palette: Array) -> Array:
    """(3, 64, 64): a ramp and smooth noise between the two background colours of the palette."""
    direction = d.between(0.0, TAU)
    ramp = 0.5 + 0.5 * (np.cos(direction) * X + np.sin(direction) * Y)
    mottle = BACKGROUND * (0.7 * ramp + 0.9 * noise(d, d.whole(2, 6)))
    return palette[BACK][:, None, None] + np.clip(mottle, 0.0, 1.0) * (palette[6] - palette[BACK])[:, None, None]


def _painted(d: Dice, subject: _Subject, hardness: float) -> Array:
    """(3, 64, 64): the subject on its background, with clutter behind it and occluders in front of it."""
    palette = _palette(d)
    canvas = _pose(d, subject)
    image = _background(d, palette)

    def lay(coverage: Array, colour: int) -> None:
        nonlocal image
        image = image + coverage * (palette[colour][:, None, None] - image)

    behind = _count(d, CLUTTER * hardness)
    if behind:
        lay(d.between(0.2, 0.5) * _clutter(d, behind, (0.02, 0.09), subject.group), INK3)
    for coverage, colour in subject.painter(d, canvas):
        lay(coverage, colour)
    in_front = _count(d, OCCLUDERS * hardness)
    if in_front:
        lay(_clutter(d, in_front, (0.04, 0.12), subject.group), BACK if d.chance(0.5) else INK2)
    return image


def _with_nuisance(image: Array, d: Dice, group: str) -> Array:
    """The image, (3, 64, 64), with the nuisance of its group.

    The two are of equal strength. Features learned on one group alone have not met the other's nuisance: this sets
    the groups further apart than random halves are.
    """
    strength = APART * d.between(0.04, 0.16)
    if group == "man-made":
        return image + strength * _facets(d)
    image = _wobbled(image, d, 0.6 * strength)
    return image + strength * (0.7 * noise(d, 10) + 0.7 * noise(d, 20))


def _drawn(image: Array, d: Dice, distance: float) -> Array:
    """The image, (3, 64, 64), blended with a drawing of it: `distance` of the drawing, the rest of the image."""
    grey = image.mean(axis=0)
    slope = np.hypot(*np.gradient(grey)) * FINE  # per half a side of the image
    paper = d.between(0.15, 0.85)
    ink = paper - 0.6 if paper > 0.5 else paper + 0.6
    line = np.clip(slope / (d.between(0.5, 0.8) * np.sqrt(np.mean(slope**2)) * 3.0 + 1e-9), 0.0, 1.0)
    tint = d.many(3, -0.06, 0.06)
    drawing = paper + tint[:, None, None] + 0.08 * noise(d, 20) + line * (ink - paper)
    return (1.0 - distance) * image + distance * drawing


def _exposed(image: Array, d: Dice, hardness: float) -> NDArray[np.uint8]:
    """(32, 32, 3) uint8: the image, (3, 64, 64), lit from one side, blurred, reduced and with pixel noise."""
    light = d.between(0.0, TAU)
    image = image * (1.0 + d.between(0.0, 0.3) * (np.cos(light) * X + np.sin(light) * Y) - 0.12 * d.between(0.0, 1.0))
    reducer = _REDUCERS[d.whole(0, len(_REDUCERS) - 1)]
    small = reducer @ image @ reducer.T  # (3, 32, 32)
    grain = NOISE * hardness * d.between(0.2, 1.0)
    pixels = SIZE * SIZE
    # two uniforms make a triangular distribution; a third of the grain is coloured
    grey = d.many(pixels, -1.0, 1.0) + d.many(pixels, -1.0, 1.0)
    colour_grain = d.many(3 * pixels, -1.0, 1.0)
    small += grain * (0.8 * grey.reshape(1, SIZE, SIZE) + 0.6 * colour_grain.reshape(3, SIZE, SIZE))
    small = np.clip(small, 0.0, 1.0)[:, ::-1, :]  # row 0 is the top of the image
    return np.ascontiguousarray(np.floor(small * 255.0 + 0.5).astype(np.uint8).transpose(1, 2, 0))


def paint(class_index: int, number: int, hardness: float = 1.0, distance: float = 0.0) -> NDArray[np.uint8]:
    """Image `number` of a class, (32, 32, 3) uint8 RGB: a pure function of its arguments.

    `hardness` multiplies pixel noise, clutter and occluders; 0 gives clean images. `distance`, from 0 to 1: how far it
    is on the way to a drawing. Raises IndexError for a class that does not exist.
    """
    if not 0 <= class_index < len(_SUBJECTS):
        raise IndexError(f"there are {len(_SUBJECTS)} demo classes, no class {class_index}")
    subject = _SUBJECTS[class_index]
    d = Dice(class_index, number)
    image = _with_nuisance(_painted(d, subject, hardness), d, subject.group)
    if distance:
        image = _drawn(image, Dice(class_index + len(_SUBJECTS), number), distance)
    return _exposed(image, d, hardness)


def paint_many(class_index: int, numbers: Sequence[int], distance: float = 0.0) -> NDArray[np.uint8]:
    """Several images of a class, (len(numbers), 32, 32, 3) uint8, each the same as from `paint`."""
    images = np.empty((len(numbers), SIZE, SIZE, 3), dtype=np.uint8)
    for i, number in enumerate(numbers):
        images[i] = paint(class_index, number, distance=distance)
    return images


def contact_sheet(path: Path, distance: float | None = None, images_per_class: int = 8) -> None:
    """Writes a PNG with a labelled row of training images for each class: man-made left, natural right.

    distance: of the demo's second domain, whose images are the second half of each row; None: there is one domain.
    """

    def shown_images(index: int) -> NDArray[np.uint8]:
        if distance is None:
            return paint_many(index, range(images_per_class))
        half = images_per_class // 2
        drawn = paint_many(index, DOMAINS["drawn"][0][:half], distance)
        return np.concatenate([paint_many(index, range(half)), drawn])

    zoom, gap, label, margin, head = 2, 4, 132, 24, 64
    cell = SIZE * zoom + gap
    column = label + images_per_class * cell + margin
    rows = max(sum(c.group == group for c in CLASSES) for group in ("man-made", "natural"))
    sheet = Image.new("RGB", (2 * column + margin, head + rows * cell + margin), (250, 249, 246))
    pen = ImageDraw.Draw(sheet)
    title, text = ImageFont.load_default(24), ImageFont.load_default(14)
    for side, group in enumerate(("man-made", "natural")):
        left = margin + side * column
        pen.text((left + label, head - 14), group, fill=(40, 40, 40), font=title, anchor="ls")
        for row, shown in enumerate(c for c in CLASSES if c.group == group):
            top = head + row * cell
            middle = top + SIZE * zoom // 2
            pen.text((left + label - 12, middle), shown.name, fill=(70, 70, 70), font=text, anchor="rm")
            for i, image in enumerate(shown_images(shown.index)):
                enlarged = Image.fromarray(image).resize((SIZE * zoom, SIZE * zoom), Image.Resampling.NEAREST)
                sheet.paste(enlarged, (left + label + i * cell, top))
    with write_atomically(Path(path)) as file:
        sheet.save(file, format="PNG")

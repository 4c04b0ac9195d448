"""The painters of the demo's 40 classes: 20 man-made subjects, then 20 natural ones.

A painter takes the random numbers `d` of one image and its canvas `c`, and returns layers from back to front: each a
coverage (64, 64) in [0, 1], and the entry of the palette that it is painted in. Painters see no colour.
"""

import numpy as np

from transferability.data.canvas import (
    BACK,
    DARK,
    FINE,
    INK,
    INK2,
    INK3,
    LIGHT,
    PIXEL,
    TAU,
    Canvas,
    Dice,
    Layers,
    X,
    Y,
    fold,
    hashed,
    noise,
    polar,
    scatter,
    smooth,
    voronoi,
    xor,
)

# --- man-made -----------------------------------------------------------------------------------------------


def gear(d: Dice, c: Canvas) -> Layers:
    r, a = polar(c)
    teeth, depth = d.whole(7, 12), d.between(0.09, 0.14)
    body = r - (0.66 + depth * np.clip(2.2 * np.cos(teeth * a), -1.0, 1.0))
    hole = d.between(0.14, 0.26)
    body = np.maximum(body, hole - r)
    layers = [(c.cover(body), INK)]
    style = d.whole(0, 2)
    if style == 1:  # drilled
        holes = d.whole(4, 6)
        b = fold(a, holes)
        drilled = np.sqrt((r * np.cos(b) - 0.41) ** 2 + (r * np.sin(b)) ** 2) - 0.095
        layers = [(c.cover(np.maximum(body, -drilled)), INK)]
    elif style == 2:  # with a hub in another colour
        layers.append((c.cover(np.maximum(r - hole - 0.16, hole - r)), INK2))
    return layers


def bricks(d: Dice, c: Canvas) -> Layers:
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
    return [(brick, INK), (brick * 0.45 * hashed(d, row, column), INK2)]


def grating(d: Dice, c: Canvas) -> Layers:
    period = d.between(0.2, 0.42)
    layers = [(c.stripes(c.x, period, period * d.between(0.35, 0.65)), INK)]
    if d.chance(0.4):  # every second bar in another colour
        layers.append((c.stripes(c.x, 2 * period, period * 0.3), INK2))
    return layers


# Letters of 3x5 dots: an octal digit a row, from the top (A is 2 5 7 5 5)
_FONT = "25755 65656 34443 74647 74644 55755 56465 44447 57755 75557 65644 34216 72222 55557 55255 71247"
_LETTERS = np.array([[[int(row) >> bit & 1 for bit in (2, 1, 0)] for row in rows] for rows in _FONT.split()])


def lettering(d: Dice, c: Canvas) -> Layers:
    dot = d.between(0.085, 0.12)
    leading = d.whole(6, 7)
    u, v = c.x / dot + 400, 400 - c.y / dot
    column, row = np.floor(u / 4), np.floor(v / leading)
    i, j = (v - leading * row).astype(np.int64), (u - 4 * column).astype(np.int64)
    letter = (hashed(d, row, column) * (len(_LETTERS) + 2)).astype(np.int64)  # two in eighteen are blanks
    ink = (i < 5) & (j < 3) & (letter < len(_LETTERS))
    return [(np.where(ink, _LETTERS[letter % len(_LETTERS), i % 5, j % 3], 0).astype(np.float64), INK)]


def polygons(d: Dice, c: Canvas) -> Layers:
    r, a = polar(c)
    sides = d.whole(3, 6)
    apothem = r * np.cos(fold(a, sides))
    outer = 0.5 if sides == 3 else 0.8
    rings = d.whole(2, 3)
    period = outer / rings
    width = period * d.between(0.4, 0.6)
    gaps = np.abs(apothem - period * np.round(apothem / period)) - 0.5 * width
    layers = [(c.cover(np.maximum(apothem - outer, -gaps)), INK)]
    if d.chance(0.5):
        layers.append((c.cover(apothem - 0.5 * width), INK2))
    return layers


def plaid(d: Dice, c: Canvas) -> Layers:
    period = d.between(0.6, 0.9)
    broad, thin = period * d.between(0.35, 0.5), period * d.between(0.08, 0.13)
    offset = period * d.between(0.4, 0.6)
    layers: Layers = []
    for u in (c.x, c.y):
        layers.append((0.55 * c.stripes(u, period, broad), INK))
    for u in (c.x, c.y):
        layers.append((0.8 * c.stripes(u + offset, period, thin), INK2))
    return layers


def checkers(d: Dice, c: Canvas) -> Layers:
    side = d.between(0.22, 0.38)
    x, y = c.x, c.y * d.between(0.8, 1.25)
    return [(xor(c.stripes(x, 2 * side, side), c.stripes(y, 2 * side, side)), INK)]


def wheel(d: Dice, c: Canvas) -> Layers:
    r, a = polar(c)
    spokes = d.whole(5, 10)
    rim = d.between(0.09, 0.16)
    b = fold(a, spokes)
    spoke = np.maximum(np.abs(r * np.sin(b)) - d.between(0.025, 0.045), r - 0.75)
    layers = [
        (c.cover(np.minimum(np.abs(r - 0.78) - 0.5 * rim, spoke)), INK),
        (c.cover(r - d.between(0.12, 0.2)), INK),
    ]
    if d.chance(0.5):
        layers.append((c.cover(np.abs(r - 0.78 - 0.5 * rim) - 0.04), INK2))
    return layers


def ladder(d: Dice, c: Canvas) -> Layers:
    half, period = d.between(0.26, 0.42), d.between(0.26, 0.4)
    x = c.x * (1.0 + d.between(0.0, 0.25) * np.clip(c.y, -1.5, 1.5))  # leaning away
    rail, rung = d.between(0.05, 0.085), d.between(0.09, 0.13)
    rungs = np.minimum(c.stripes(c.y, period, rung), c.cover(np.abs(x) - half))
    return [(rungs, INK2 if d.chance(0.4) else INK), (c.cover(np.abs(np.abs(x) - half) - rail), INK)]


def arcade(d: Dice, c: Canvas) -> Layers:
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


def circuit(d: Dice, c: Canvas) -> Layers:
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


def crosses(d: Dice, c: Canvas) -> Layers:
    pitch = d.between(0.5, 0.75)
    arm, half = pitch * d.between(0.34, 0.42), pitch * d.between(0.08, 0.12)
    row = np.round(c.y / pitch)
    shifted = c.x + 0.5 * pitch * (row % 2) * (1 if d.chance(0.5) else 0)
    x, y = np.abs(shifted - pitch * np.round(shifted / pitch)), np.abs(c.y - pitch * row)
    plus = np.minimum(np.maximum(x - arm, y - half), np.maximum(x - half, y - arm))
    return [(c.cover(plus), INK)]


def chain(d: Dice, c: Canvas) -> Layers:
    pitch = d.between(0.5, 0.66)
    y = c.y - d.between(-0.25, 0.25) * c.x * c.x
    half, thick = pitch * d.between(0.30, 0.38), pitch * d.between(0.09, 0.13)
    flat = c.x - 2 * pitch * np.round(c.x / (2 * pitch))
    edge = c.x + pitch - 2 * pitch * np.round((c.x + pitch) / (2 * pitch))
    reach = 0.62 * pitch - half + 0.5 * pitch * 0.3
    ring = np.sqrt(np.maximum(np.abs(flat) - reach, 0.0) ** 2 + y * y) - half
    rod = np.sqrt(np.maximum(np.abs(edge) - 0.5 * pitch, 0.0) ** 2 + y * y) - 1.1 * thick
    return [(c.cover(np.abs(ring) - thick), INK), (c.cover(rod), INK2 if d.chance(0.6) else INK)]


def key(d: Dice, c: Canvas) -> Layers:
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


def chevrons(d: Dice, c: Canvas) -> Layers:
    wave, period = d.between(0.65, 1.1), d.between(0.38, 0.6)
    u = c.y + d.between(0.7, 1.1) * np.abs(c.x - wave * np.round(c.x / wave))
    slope = 1.35  # the distance across a slanting stripe is shorter than along y
    layers = [(c.stripes(u / slope, period / slope, period / slope * d.between(0.4, 0.6)), INK)]
    if d.chance(0.3):
        layers.append((c.stripes(u / slope, 2 * period / slope, period / slope * 0.35), INK2))
    return layers


def skyline(d: Dice, c: Canvas) -> Layers:
    layers: Layers = []
    for colour, rise in ((INK2, 0.35), (INK, -0.05)):
        width = d.between(0.34, 0.5)
        u = c.x / width + d.between(0.0, 1.0) + 50.0
        column = np.floor(u)
        top = rise - 0.2 + 0.75 * hashed(d, column)
        tower = c.cover(np.maximum(c.y - top, (np.abs(u - column - 0.5) - 0.46) * width))
        layers.append((tower, colour))
    pane = d.between(0.13, 0.18)
    lit = np.minimum(c.stripes(c.x, pane, 0.5 * pane), c.stripes(c.y, 1.4 * pane, 0.7 * pane))
    lit = lit * (hashed(d, np.floor(c.x / pane), np.floor(c.y / pane)) < 0.8)
    layers.append((layers[-1][0] * lit, BACK))
    return layers


def truss(d: Dice, c: Canvas) -> Layers:
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


def stairs(d: Dice, c: Canvas) -> Layers:
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


def dartboard(d: Dice, c: Canvas) -> Layers:
    r, a = polar(c)
    sectors, rings = d.whole(4, 7), d.whole(2, 3)
    width = 0.82 / rings
    sector = c.cover((np.abs(fold(a, sectors)) - 0.5 * np.pi / sectors) * r)
    ring = c.stripes(r, 2 * width, width)
    disc = c.cover(r - 0.82)
    return [(disc, INK2), (disc * xor(sector, ring), INK), (c.cover(np.abs(r - 0.86) - 0.05), INK)]


def weave(d: Dice, c: Canvas) -> Layers:
    cell, strands = d.between(0.58, 0.85), d.whole(2, 3)
    i, j = np.floor(c.x / cell), np.floor(c.y / cell)
    across = (i + j) % 2 == 0
    pitch = cell / strands
    width = pitch * d.between(0.55, 0.72)
    u, v = np.where(across, c.y, c.x), np.where(across, c.x - cell * i, c.y - cell * j)
    strand = c.stripes(u - 0.5 * pitch, pitch, width) * c.cover(np.abs(v - 0.5 * cell) - 0.47 * cell)
    dive = strand * 0.4 * smooth(np.abs(2.0 * v / cell - 1.0), 0.5, 1.0)  # under the crossing strands
    return [(strand * across, INK), (strand * ~across, INK2 if d.chance(0.5) else INK), (dive, DARK)]


# --- natural ------------------------------------------------------------------------------------------------


def tree(d: Dice, c: Canvas) -> Layers:
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


def leaf(d: Dice, c: Canvas) -> Layers:
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


def sunflower(d: Dice, c: Canvas) -> Layers:
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


def cells(d: Dice, c: Canvas) -> Layers:
    points = scatter(d, c, d.between(0.48, 0.66), 0.36)
    first, second, _ = voronoi(points)
    unit = c.size
    wall = np.clip(0.5 - ((second - first) * 0.5 - d.between(0.035, 0.06) * unit) / PIXEL, 0.0, 1.0)
    nucleus = np.clip(0.5 - (first - d.between(0.06, 0.11) * unit) / PIXEL, 0.0, 1.0)
    return [(wall, INK), (nucleus, INK2 if d.chance(0.5) else INK)]


def clouds(d: Dice, c: Canvas) -> Layers:
    coarse = 3 if c.size > 0.95 else 4
    field = noise(d, coarse) + 0.55 * noise(d, 2 * coarse) + 0.3 * noise(d, 14) + 0.12 * noise(d, 20)
    level = d.between(-0.25, 0.15)
    cloud = smooth(field, level, level + d.between(0.4, 0.8))
    under = cloud * smooth(noise(d, coarse) - 0.4 * c.y, 0.0, 1.2)
    return [(cloud, INK), (0.5 * under, INK2)]


def ripples(d: Dice, c: Canvas) -> Layers:
    wobble = 0.12 * noise(d, 3)
    period = d.between(0.26, 0.38)
    height = np.zeros((FINE, FINE))
    for _ in range(d.whole(1, 2)):
        x, y = c.x - d.between(-0.7, 0.7), (c.y - d.between(-0.7, 0.7)) * d.between(1.0, 1.5)
        r = np.sqrt(x * x + y * y) + wobble
        height += np.cos(TAU * r / period) * np.exp(-d.between(0.2, 0.7) * r)
    crest = smooth(height, -0.8, 0.8)
    return [(crest, INK), (0.6 * smooth(height, 0.45, 1.1), INK2)]


def leopard(d: Dice, c: Canvas) -> Layers:
    points = scatter(d, c, d.between(0.46, 0.64), 0.24)
    first, _, index = voronoi(points)
    first = first / c.size + 0.05 * noise(d, 8)
    radius = 0.10 + 0.07 * d.many(len(points), 0.0, 1.0)[index]
    thick = d.between(0.04, 0.055)
    gaps = smooth(noise(d, 10) + 0.35, -0.25, 0.15)
    return [(c.cover(first - radius) * 0.7, INK2), (c.cover(np.abs(first - radius) - thick) * gaps, INK)]


def zebra(d: Dice, c: Canvas) -> Layers:
    period = d.between(0.34, 0.5)
    u = c.x + d.between(0.16, 0.3) * noise(d, 3) + 0.07 * noise(d, 5)
    swell = np.cos(TAU * u / period) + 0.75 * noise(d, 5)  # stripes swell, end and fork
    return [(c.cover(swell * (-period / TAU)), INK)]


def flower(d: Dice, c: Canvas) -> Layers:
    r, a = polar(c)
    a = a + 0.12 * noise(d, 2)
    petals = d.whole(5, 8)
    shape = d.between(0.45, 0.9)
    b = np.abs(np.cos(0.5 * petals * a)) ** shape
    inner = d.between(0.2, 0.35)
    edge = r - 0.85 * (inner + (1.0 - inner) * b)
    layers = [(c.cover(0.75 * edge), INK)]
    if d.chance(0.6):  # the throat in another colour
        layers.append((c.cover(0.75 * edge) * smooth(-r, -0.62, -0.2) * 0.85, INK2))
    layers.append((c.cover(r - d.between(0.13, 0.22)), INK3))
    return layers


def snowflake(d: Dice, c: Canvas) -> Layers:
    r, a = polar(c)
    b = np.abs(fold(a, 6))
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


def shell(d: Dice, c: Canvas) -> Layers:
    r, a = polar(c)
    a = a + np.pi  # 0 to 2 pi; the mouth of the shell is where it wraps
    growth = d.between(0.13, 0.19)
    rim = 0.98 * np.exp(growth * (a - TAU))
    body = c.cover(r - rim)
    turns = np.log(np.maximum(r, 0.02) / rim) / (growth * TAU)
    whorl = turns - np.floor(turns)
    line = c.cover((np.minimum(whorl, 1.0 - whorl) * growth * TAU - 0.13) * r)
    chambers = d.whole(9, 13)
    phase = chambers * (a + d.between(0.5, 1.0) * whorl) / TAU
    septa = c.cover((np.abs(phase - np.round(phase)) * TAU / chambers - 0.09) * r)
    return [(body, INK), (body * 0.75 * septa, INK2), (body * line, INK2)]


def fern(d: Dice, c: Canvas) -> Layers:
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


def grass(d: Dice, c: Canvas) -> Layers:
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


def pebbles(d: Dice, c: Canvas) -> Layers:
    points = scatter(d, c, d.between(0.42, 0.62), 0.26)
    first, second, index = voronoi(points)
    margin = (second - first) * 0.5 / c.size + 0.02 * noise(d, 8)
    stone = c.cover(d.between(0.03, 0.05) - margin) * smooth(-first / c.size, -0.55, -0.36)
    tones = d.many(len(points), 0.0, 1.0)
    tone = tones[index]
    # light from one side: points know where the middle of their stone is
    side = d.between(0.0, TAU)
    across = (X - points[index, 0]) * np.cos(side) + (Y - points[index, 1]) * np.sin(side)
    across = across / c.size
    return [
        (stone, INK),
        (stone * (tone < 0.4) * 0.9, INK2),
        (stone * 0.55 * smooth(across, 0.0, 0.32), DARK),
        (stone * 0.5 * smooth(-across, 0.04, 0.28), LIGHT),
    ]


def flame(d: Dice, c: Canvas) -> Layers:
    tongues = [(d.between(-0.1, 0.1), d.between(1.5, 1.8), d.between(0.4, 0.55))]
    for side in (-1.0, 1.0):
        tongues.append((side * d.between(0.2, 0.34), d.between(0.8, 1.3), d.between(0.24, 0.36)))
    t0 = (c.y + 0.85) / 1.8
    sway = d.between(0.1, 0.2) * np.sin(d.between(3.0, 4.5) * c.y + d.between(0.0, TAU)) * np.clip(t0, 0.0, 1.0)
    flicker = 0.08 * noise(d, 5)
    layers: Layers = []
    for colour, part in ((INK, 1.0), (INK2, 0.68), (INK3, 0.38)):
        shape = np.full((FINE, FINE), 1e3)
        for x, height, wide in tongues:
            t = np.clip((c.y + 0.85) / (height * part), 0.0, 1.0)
            half = part * wide * 1.65 * np.sqrt(t) * (1.0 - t) ** 0.85
            distance = np.abs(c.x - x * part - sway + flicker) - half
            shape = np.minimum(shape, np.where((t > 0.0) & (t < 1.0), distance, 0.1))
        layers.append((c.cover(shape), colour))
    return layers


def mountains(d: Dice, c: Canvas) -> Layers:
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
            snow = c.y - base - 0.12 - 0.1 * noise(d, 14)
            layers.append((slope * smooth(snow, 0.0, 0.08) * 0.8, LIGHT))
    return layers


def feather(d: Dice, c: Canvas) -> Layers:
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


def lightning(d: Dice, c: Canvas) -> Layers:
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


def starfish(d: Dice, c: Canvas) -> Layers:
    r, a = polar(c)
    a = a + d.between(-0.5, 0.5) * r + 0.16 * noise(d, 2)  # arms curl
    b = np.abs(fold(a, 5)) * (5 / np.pi)
    plump = d.between(0.24, 0.34)
    edge = r - (plump + (0.9 - plump) * (1.0 - b) ** d.between(1.5, 2.2))
    body = c.cover(0.5 * edge)
    knobs = body * c.stripes(r, 0.2, 0.11) * c.cover((b * np.pi / 5) * r - 0.055)
    return [(body, INK), (knobs, INK2)]


def dunes(d: Dice, c: Canvas) -> Layers:
    layers: Layers = []
    y = 0.95
    colours = (INK2, INK, INK3)
    for k in range(8):
        phase, wave = d.between(0.0, TAU), d.between(1.6, 3.2)
        swell = d.between(0.05, 0.13)
        crest = y + swell * np.sin(wave * c.x + phase) + 0.35 * swell * np.sin(2.3 * wave * c.x + 2.0 * phase)
        depth = crest - c.y
        face = c.cover(-depth)
        layers.append((face, colours[k % 3]))
        layers.append((face * 0.6 * smooth(-depth, -0.34, -0.02), LIGHT if k % 2 else DARK))
        y -= d.between(0.24, 0.42)
    return layers

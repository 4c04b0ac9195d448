"""Figure 1: what is done to a network, as a schematic.

    python plots/figure1.py [--depth 8] [--out figures]

Rows: baseA, baseB; B3B and B3B+ (selffer); A3B and A3B+ (transfer). Boxes are the layers' weights, coloured by the
task on which they were trained; the bars between them are activations. A closed lock is a copied layer that is
frozen (B3B, A3B), a half-open one a copied layer that is trained on (B3B+, A3B+). Of a network with more than twelve
layers the first and the last are drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, FancyArrowPatch, FancyBboxPatch, Rectangle

from transferability.plots import command, style
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn

DEPTH = 8  # of the paper's network
COPIED = 3  # layers, as in the paper's figure
MOST = 12  # layers that are all drawn
GREEN, PURPLE = "#7fc8a9", "#6a51a3"  # task A light, task B dark: they differ in luminance too
FILL = {"A": GREEN, "B": PURPLE}
INK = {"A": "black", "B": "white"}
STEP, LEFT = 1.12, 2.6  # width of a layer with its activations; where the first layer stands
SPAN = LEFT + DEPTH * STEP + 0.8  # of the schematic at full size


@dataclass(frozen=True)
class Schematic:
    """What all rows share: the panel, the numbers of the layers (None for those left out), the scale of text."""

    axes: Axes
    layers: tuple[int | None, ...]
    scale: float

    @property
    def copied(self) -> int:
        return copied_of(self.layers)

    @property
    def end(self) -> float:
        """Right edge of the last layer's activations."""
        return LEFT + (len(self.layers) - 1) * STEP + 0.82

    def text(self, x: float, y: float, text: str, size: float, **options: Any) -> None:
        self.axes.text(x, y, text, fontsize=size * self.scale, **({"ha": "center", "va": "center"} | options))

    def connect(self, start: float, end: float, y: float, head: bool = False) -> None:
        """A line, or an arrow, from x = `start` to `end` that touches what stands there."""
        style_of_arrow = "-|>" if head else "-"
        self.axes.add_patch(
            FancyArrowPatch(
                (start, y),
                (end, y),
                arrowstyle=style_of_arrow,
                mutation_scale=6 * self.scale,
                shrinkA=0,
                shrinkB=0,
                lw=0.8,
                color="black",
            )
        )


def layers_drawn(depth: int) -> tuple[int | None, ...]:
    """The numbers of the layers to draw, from 1; None stands for those left out of a deep network."""
    if depth <= MOST:
        return tuple(range(1, depth + 1))
    return (*range(1, 7), None, *range(depth - 3, depth + 1))


def copied_of(layers: Sequence[int | None]) -> int:
    """How many layers the schematic copies: as in the paper, but one at least is drawn afresh."""
    return min(COPIED, len(layers) - 1)


def lock(schematic: Schematic, x: float, y: float, half_open: bool) -> None:
    """A padlock centred at (x, y), closed or with its shackle lifted on one side."""
    axes = schematic.axes
    ink: dict[str, Any] = {"color": "#333333", "lw": 1.0 * schematic.scale, "zorder": 4}
    axes.add_patch(Rectangle((x - 0.11, y - 0.12), 0.22, 0.17, facecolor="#333333", edgecolor="none", zorder=4))
    lift = 0.08 if half_open else 0.0
    for side, foot in ((-0.07, 0.04), (0.07, 0.12 if half_open else 0.04)):
        axes.plot([x + side, x + side], [y + foot, y + 0.1 + lift], solid_capstyle="butt", **ink)
    axes.add_patch(Arc((x, y + 0.1 + lift), 0.14, 0.16, theta1=0, theta2=180, **ink))


def ends(schematic: Schematic, y: float, target: str) -> None:
    """The boxes of a network's input and labels, joined to its first and behind its last layer."""
    box: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.08", "edgecolor": "black", "linewidth": 0.6}
    for x, width, word in ((LEFT - 1.12, 0.66, "input"), (schematic.end + 0.36, 0.72, "labels")):
        schematic.axes.add_patch(FancyBboxPatch((x, y - 0.22), width, 0.44, facecolor=FILL[target], **box))
        schematic.text(x + width / 2, y, f"{word}\n{target}", 5.6, color=INK[target])
    schematic.connect(LEFT - 0.46, LEFT, y)
    schematic.connect(schematic.end, schematic.end + 0.36, y, head=True)


def row(schematic: Schematic, y: float, name: str, copied_from: str, target: str, locks: bool) -> None:
    """One network: the task of its copied layers and of the others; `locks`: draw locks over the copied ones."""
    axes = schematic.axes
    schematic.text(0.0, y, name, 8.5, ha="left", fontweight="bold", linespacing=1.3)
    ends(schematic, y, target)
    for position, number in enumerate(schematic.layers):
        x = LEFT + position * STEP
        if position:
            schematic.connect(x - STEP + 0.82, x, y)
        if number is None:
            schematic.text(x + 0.41, y, "…", 9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
            schematic.connect(x, x + 0.82, y)
            continue
        owner = copied_from if position < schematic.copied else target
        axes.add_patch(Rectangle((x, y - 0.27), 0.6, 0.54, facecolor=FILL[owner], edgecolor="black", lw=0.6, zorder=2))
        schematic.text(x + 0.3, y, f"$W_{{{owner}{number}}}$", 7.5, color=INK[owner], zorder=5)
        schematic.connect(x + 0.6, x + 0.74, y)
        axes.add_patch(Rectangle((x + 0.74, y - 0.2), 0.08, 0.4, facecolor="#bbbbbb", edgecolor="black", lw=0.5))
        if locks and position < schematic.copied:
            lock(schematic, x + 0.14, y + 0.42, half_open=False)
            lock(schematic, x + 0.46, y + 0.42, half_open=True)


def schematic_of(depth: int, page: Page) -> Figure:
    """The treatments of a network of `depth` layers, cut at n = 3 (or below its last layer, if it has fewer)."""
    layers = layers_drawn(depth)
    n = copied_of(layers)
    span = LEFT + max(len(layers) * STEP + 0.8, n * STEP + 3.1)  # the layers, or the notes below them
    own_width = style.WIDE * min(1.0, span / SPAN)
    scale = (page.width or own_width) / style.WIDE * SPAN / span
    figure = style.new_figure(page, 3.0 * scale, own_width)
    axes = figure.add_subplot()
    axes.set_axis_off()
    schematic = Schematic(axes, layers, scale)
    row(schematic, 4.75, "baseA", "A", "A", False)
    row(schematic, 3.85, "baseB", "B", "B", False)
    row(schematic, 2.55, f"B{n}B and\nB{n}B$^+$", "B", "B", True)
    row(schematic, 0.75, f"A{n}B and\nA{n}B$^+$", "A", "B", True)
    note = {"ha": "left", "color": style.GREY}
    lower = 0.0 if n > 2 else 0.3  # below a few copied layers there is no room for both notes side by side
    for y, word in ((2.55, "selffer"), (0.75, "transfer")):
        schematic.text(0.0, y - 0.52, word, 7, style="italic", **note)
        schematic.text(LEFT, y - 0.5, "copied: frozen, or ($^+$) trained on", 6.5, **note)
        schematic.text(LEFT + n * STEP, y - 0.5 - lower, "drawn afresh and trained on B", 6.5, **note)
    axes.set_xlim(-0.05, span)
    axes.set_ylim(-0.2, 5.1)
    return figure


def draw(page: Page = PLAIN, depth: int = DEPTH) -> list[Drawn | NotDrawn]:
    """Figure 1 for a network of `depth` layers."""
    if depth < 2:
        return [NotDrawn("figure1", f"a network of {depth} layers has none above which to cut it")]
    figure = schematic_of(depth, page)
    style.caption(figure, page)
    return [Drawn("figure1", figure)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--depth", type=int, default=DEPTH, help="layers of the network (8, as in the paper)")
    options = parser.parse_args(arguments)
    with style.settings(options.style):
        command.publish(draw(command.page_of(options), options.depth), options)

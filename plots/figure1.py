"""Figure 1: what is done to a network, as a schematic.

    python plots/figure1.py [--out figures]

Rows: baseA, baseB; B3B and B3B+ (selffer); A3B and A3B+ (transfer). Boxes are the layers' weights, coloured by the
task on which they were trained; the bars between them are activations. A closed lock is a copied layer that is
frozen (B3B, A3B), a half-open one a copied layer that is trained on (B3B+, A3B+).
"""

from collections.abc import Sequence

import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, FancyArrowPatch, FancyBboxPatch, Rectangle

DEPTH = 8
COPIED = 3
GREEN, PURPLE = "#7fc8a9", "#6a51a3"  # task A light, task B dark: they differ in luminance too
FILL = {"A": GREEN, "B": PURPLE}
INK = {"A": "black", "B": "white"}
STEP, LEFT = 1.12, 2.6  # width of a layer with its activations; where the first layer stands


def lock(axes: Axes, x: float, y: float, half_open: bool) -> None:
    """A padlock centred at (x, y), closed or with its shackle lifted on one side."""
    ink = {"color": "#333333", "lw": 1.0, "zorder": 4, "solid_capstyle": "butt"}
    axes.add_patch(Rectangle((x - 0.11, y - 0.12), 0.22, 0.17, facecolor="#333333", edgecolor="none", zorder=4))
    lift = 0.08 if half_open else 0.0
    axes.plot([x - 0.07, x - 0.07], [y + 0.04, y + 0.1 + lift], **ink)
    axes.plot([x + 0.07, x + 0.07], [y + (0.12 if half_open else 0.04), y + 0.1 + lift], **ink)
    axes.add_patch(Arc((x, y + 0.1 + lift), 0.14, 0.16, theta1=0, theta2=180, lw=1.0, color="#333333", zorder=4))


def row(axes: Axes, y: float, name: str, owners: str, target: str, locks: bool) -> None:
    """One network: `owners` has a letter per layer (whose weights); `locks`: draw the locks of its copied layers."""
    axes.text(0.0, y, name, ha="left", va="center", fontsize=8.5, fontweight="bold", linespacing=1.3)
    style_in = {"boxstyle": "round,pad=0.02,rounding_size=0.08", "edgecolor": "black", "linewidth": 0.6}
    axes.add_patch(FancyBboxPatch((LEFT - 1.12, y - 0.2), 0.62, 0.4, facecolor=FILL[target], **style_in))
    axes.text(LEFT - 0.81, y, f"input\n{target}", ha="center", va="center", fontsize=5.6, color=INK[target])
    for layer, owner in enumerate(owners):
        x = LEFT + layer * STEP
        axes.add_patch(FancyArrowPatch((x - 0.46, y), (x - 0.02, y), arrowstyle="-", lw=0.8, color="black"))
        axes.add_patch(Rectangle((x, y - 0.27), 0.6, 0.54, facecolor=FILL[owner], edgecolor="black", lw=0.6, zorder=2))
        axes.text(
            x + 0.3,
            y,
            f"$W_{{{owner}{layer + 1}}}$",
            ha="center",
            va="center",
            fontsize=7.5,
            color=INK[owner],
            zorder=5,
        )
        axes.plot([x + 0.6, x + 0.74], [y, y], lw=0.8, color="black")
        axes.add_patch(Rectangle((x + 0.74, y - 0.2), 0.08, 0.4, facecolor="#bbbbbb", edgecolor="black", lw=0.5))
        if locks and layer < COPIED:
            lock(axes, x + 0.14, y + 0.42, half_open=False)
            lock(axes, x + 0.46, y + 0.42, half_open=True)
    end = LEFT + DEPTH * STEP - 0.2
    axes.add_patch(
        FancyArrowPatch((end - 0.1, y), (end + 0.18, y), arrowstyle="-|>", mutation_scale=6, lw=0.8, color="black")
    )
    axes.add_patch(FancyBboxPatch((end + 0.24, y - 0.2), 0.66, 0.4, facecolor=FILL[target], **style_in))
    axes.text(end + 0.57, y, f"labels\n{target}", ha="center", va="center", fontsize=5.6, color=INK[target])


def draw() -> Figure:
    """The schematic of the treatments, for n = 3 of 8 layers."""
    figure = style.new_figure(2.9, width=6.5)
    axes = figure.add_subplot()
    axes.set_axis_off()
    ys = [4.75, 3.85, 2.55, 0.75]
    copied = "B" * DEPTH, "A" * COPIED + "B" * (DEPTH - COPIED)
    row(axes, ys[0], "baseA", "A" * DEPTH, "A", False)
    row(axes, ys[1], "baseB", copied[0], "B", False)
    row(axes, ys[2], "B3B and\nB3B$^+$", copied[0], "B", True)
    row(axes, ys[3], "A3B and\nA3B$^+$", copied[1], "B", True)
    for y, word in ((ys[2], "selffer"), (ys[3], "transfer")):
        axes.text(0.0, y - 0.52, word, ha="left", va="center", fontsize=7, color=style.GREY, style="italic")
        axes.text(
            LEFT,
            y - 0.5,
            "copied: frozen, or ($^+$) trained on",
            ha="left",
            va="center",
            fontsize=6.5,
            color=style.GREY,
        )
        axes.text(
            LEFT + COPIED * STEP,
            y - 0.5,
            "drawn afresh and trained on B",
            ha="left",
            va="center",
            fontsize=6.5,
            color=style.GREY,
        )
    axes.set_xlim(-0.05, LEFT + DEPTH * STEP + 0.75)
    axes.set_ylim(-0.0, 5.1)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    options = style.command_line(__doc__, table=None).parse_args(arguments)
    style.publish(draw(), options, "figure1")


if __name__ == "__main__":
    style.run(main)

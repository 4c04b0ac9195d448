"""The curves of an answer: accuracy over n for each rule, and of the linear classifier over pictures per class."""

import io
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from transferability.ask.answer import Answer, Candidate, Estimate, Learning
from transferability.ask.words import SHORT
from transferability.plots import style

COLOURS = dict(zip(SHORT, ("#2f5597", "#c25e00", "#006d5b", "#5b2a86", style.GREY), strict=True))
APART = 0.12  # of one layer: rules that stand at the same n


def curves(answer: Answer) -> bytes:
    """A PNG: a panel for each network, and one for the learning curve if there is one."""
    studies = list(dict.fromkeys(one.study for one, _ in answer.over_n))
    with style.settings():
        panels = len(studies) + (answer.learning is not None)
        columns = min(3, panels)
        rows = -(-panels // columns)
        figure = Figure(figsize=(3.6 * columns, 2.7 * rows + 0.4), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
        for panel, study in zip(axes, studies, strict=False):
            over_n(panel, [pair for pair in answer.over_n if pair[0].study == study])
            panel.set_title(study, loc="left", fontsize=8)
        if answer.learning:
            over_pictures(axes[len(studies)], answer.learning)
        for panel in axes[:panels]:
            panel.axhline(answer.chance, color="#888888", ls=":", lw=0.9, label="chance")
            panel.set_ylim(0, 1)
            panel.set_ylabel("Top-1 accuracy")
        for panel in axes[panels:]:
            panel.remove()
        found: dict[str, Any] = {}
        for panel in axes[:panels]:
            handles, labels = panel.get_legend_handles_labels()
            found |= dict(zip(labels, handles, strict=True))
        order = [label for label in (*SHORT.values(), "chance") if label in found]
        style.legend(figure, figure.get_figwidth(), [(found[label], label) for label in order])
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=150)
    return content.getvalue()


def over_n(axes: Axes, pairs: Sequence[tuple[Candidate, Estimate]]) -> None:
    """Lines with 95 % intervals where there are some; from scratch, a line across."""
    for place, (rule, colour) in enumerate(COLOURS.items()):
        found = sorted((one.n, value) for one, value in pairs if one.rule == rule)
        if rule == "scratch":
            for _, value in found:
                axes.axhline(value.value, color=colour, ls="--", lw=0.9, label=SHORT[rule])
            continue
        if found:
            x = [n + APART * (place - 1.5) for n, _ in found]
            _line(axes, x, [value for _, value in found], color=colour, label=SHORT[rule])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Layer $n$")


def over_pictures(axes: Axes, learning: Learning) -> None:
    """What was measured, and dashed what is extrapolated from it."""
    points = sorted(learning.points.items())
    if learning.ahead:
        ahead = [points[-1], *learning.ahead.items()]
        _line(axes, [k for k, _ in ahead], [value for _, value in ahead], color=COLOURS["linear"], ls="--", mfc="white")
    _line(axes, [k for k, _ in points], [value for _, value in points], color=COLOURS["linear"])
    axes.set_xscale("log")
    ticks = [k for k, _ in points] + list(learning.ahead)
    axes.set_xticks(ticks, [str(k) for k in ticks], fontsize=style.SMALL)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("Pictures per class that train")
    axes.set_title(f"{learning.of.study}, layer {learning.of.n}\n(dashed: extrapolated)", loc="left", fontsize=8)


def _line(axes: Axes, x: Sequence[float], values: Sequence[Estimate], ls: str = "-", **look: object) -> None:
    halves = [0.0 if math.isnan(value.half) else value.half for value in values]
    axes.errorbar(x, [value.value for value in values], halves, marker="o", ms=3.0, lw=0.9, ls=ls, **look)  # type: ignore[arg-type]

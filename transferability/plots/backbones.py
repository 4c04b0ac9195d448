"""Do better source networks transfer better? Accuracy on the target over that of the source, on logit axes.

    python plots/backbones.py RESULTS.CSV MORE.CSV ... [--curves CURVES.CSV ...] [--layers LAYERS.CSV ...]

A results.csv for each source network. A panel for each target: accuracy over the source's, for each way, at the largest
number of images per class, with the rank correlation and its 95 % interval over networks. Then what fine-tuning gains
over scratch, over images per class; with --curves, how many times sooner than scratch a network reaches scratch's final
accuracy; with --layers (of `transferability layers`, one for each network), accuracy over the time per image.
`transferability/results/sources.py` has the definitions. Bars are 95 % t intervals over units.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transferability.plots import command, style
from transferability.plots.layer_times import read_layers
from transferability.plots.regimes import DISTANCES, LOOKS
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn, lines_of_cells, read_table, with_half_width
from transferability.results import table as tables
from transferability.results.sources import (
    RankCorrelation,
    Transferred,
    network_of,
    rank_correlation,
    speed_ups,
    transferred,
)
from transferability.results.strategies import ALL, WAYS
from transferability.splits import group_title, sorted_groups

NAMES = WAYS | {"frozen": "features"}  # at one n


def most(found: Sequence[Transferred], group: str) -> list[Transferred]:
    """Those of one target at the largest number of images per class."""
    of_group = [each for each in found if each.group == group]
    images = ALL if any(each.images == ALL for each in of_group) else max(each.images for each in of_group)
    return [each for each in of_group if each.images == images]


def correlations(found: Sequence[Transferred]) -> dict[str, RankCorrelation]:
    """Way → how its accuracies rank with those of the sources."""
    of_ways = {way: [each for each in found if each.way == way] for way in WAYS}
    return {
        way: rank_correlation([each.source for each in of_way], [each.mean.value for each in of_way])
        for way, of_way in of_ways.items()
        if of_way
    }


def said(correlation: RankCorrelation) -> str:
    if correlation.value != correlation.value:
        return f"{correlation.networks} networks: no rank correlation"
    low, high = correlation.low, correlation.high
    return f"{correlation.value:+.2f} ({low:+.2f} to {high:+.2f}; {correlation.networks} networks)"


def draw_sources(axes: Axes, found: Sequence[Transferred], group: str) -> None:
    """Accuracy on one target over the source's, on logit axes."""
    axes.set_xscale("logit")
    axes.set_yscale("logit")
    for way in WAYS:
        of_way = sorted((each for each in found if each.way == way), key=lambda each: each.source)
        if of_way:
            look, x = LOOKS[way], [each.source for each in of_way]
            style.markers(axes, x, [each.mean.value for each in of_way], look, gid=f"{group} {way}")
            lows, highs = [each.mean.low for each in of_way], [each.mean.high for each in of_way]
            axes.vlines(x, lows, highs, color=look.line, lw=0.8)
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        inside = [tick / 100 for tick in (1, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90, 95, 98, 99)]
        ticks = [tick for tick in inside if low <= tick <= high]
        axis.set_ticks(ticks[:: -(-len(ticks) // 6)], [f"{tick:g}" for tick in ticks[:: -(-len(ticks) // 6)]])
        axis.set_ticks([], minor=True)
    axes.set_title(DISTANCES.get(group, group_title(group)), fontsize=8)
    axes.set_xlabel("Accuracy of the source")


def colours(found: Sequence[Transferred]) -> dict[str, str]:
    """Study → its colour, the brighter the better the source."""
    ordered = list(dict.fromkeys(each.study for each in sorted(found, key=lambda each: each.source)))
    shades = matplotlib.colormaps["viridis"]
    return {
        study: matplotlib.colors.to_hex(shades(0.9 * i / max(1, len(ordered) - 1))) for i, study in enumerate(ordered)
    }


def draw_gaps(axes: Axes, found: Sequence[Transferred], colour: dict[str, str]) -> None:
    """What fine-tuning gains over scratch, over images per class; the first target of the table."""
    way = next(name for name in ("tenth", "full", "frozen") if any(each.way == name for each in found))
    for shift, (study, shade) in zip(style.beside(len(colour)), colour.items(), strict=True):
        of_study = sorted((e for e in found if e.study == study and e.way == way and e.images), key=lambda e: e.images)
        x, y = [shift * each.images for each in of_study], [each.gap.value for each in of_study]
        axes.plot(x, y, color=shade, marker=".", lw=1.1, label=network_of(study))
        axes.vlines(x, [each.gap.low for each in of_study], [each.gap.high for each in of_study], color=shade, lw=0.8)
    images = sorted({each.images for each in found if each.images})
    axes.set_xscale("log")
    axes.set_xticks(images, [str(number) for number in images])
    axes.minorticks_off()
    axes.axhline(0, color="black", ls="--", lw=0.8)
    axes.set_xlabel("Images per class")
    style.points_axis(axes, f"{NAMES[way]} − scratch (points)")
    axes.legend(fontsize=style.SMALL, loc="center left", bbox_to_anchor=(1.0, 0.5))


def draw_by_study(axes: Axes, heights: dict[str, float], colour: dict[str, str], label: str) -> None:
    """A bar for each source, worse sources first."""
    shown = [study for study in colour if study in heights]
    axes.bar(range(len(shown)), [heights[study] for study in shown], color=[colour[study] for study in shown])
    axes.set_xticks(range(len(shown)), [network_of(study) for study in shown], rotation=30, ha="right", fontsize=6)
    axes.set_ylabel(label)


def draw_times(axes: Axes, found: Sequence[Transferred], times: dict[str, float], colour: dict[str, str]) -> None:
    """Accuracy of the best way over the time of one image."""
    for study, shade in colour.items():
        of_study = [each for each in found if each.study == study]
        if of_study and network_of(study) in times:
            best = max(each.mean.value for each in of_study)
            name = network_of(study)
            axes.plot(times[name], best, marker="o", color=shade, ls="none", label=name)
    axes.legend(fontsize=6)  # names beside the points would lie on each other: times are close
    axes.set_xlim(0, 1.2 * max(times.values()))
    axes.margins(y=0.2)
    axes.set_xlabel("ms per image")
    axes.set_ylabel("Accuracy of the best way")


def figure_of(found: Sequence[Transferred], ups: dict[str, float], times: dict[str, float], page: Page) -> Figure:
    groups = sorted_groups(each.group for each in found)
    several = len({each.images for each in found if each.images}) > 1
    below = [*(["gaps"] if several else []), *(["ups"] if ups else []), *(["times"] if times else [])]
    panels = [f"target {group}" for group in groups]
    columns = page.columns(2 if len(panels + below) < 5 else 3)
    mosaic = style.in_rows([*panels, *below], columns)
    figure = style.new_figure(page, 0.4 + 2.5 * len(mosaic), style.WIDE)
    axes_of = figure.subplot_mosaic(mosaic)
    for group in groups:
        draw_sources(axes_of[f"target {group}"], most(found, group), group)
    axes_of[panels[0]].set_ylabel("Accuracy on the target")
    colour = colours(found)
    if several:
        draw_gaps(axes_of["gaps"], [each for each in found if each.group == groups[0]], colour)
        axes_of["gaps"].set_title(DISTANCES.get(groups[0], group_title(groups[0])), fontsize=8)
    if ups:
        draw_by_study(axes_of["ups"], ups, colour, "Times sooner at scratch's\nfinal accuracy (median)")
    if times:
        draw_times(axes_of["times"], most(found, groups[0]), times, colour)
    shown = [way for way in WAYS if any(each.way == way for each in found)]
    style.legend(figure, figure.get_figwidth(), [style.handle(LOOKS[way], NAMES[way]) for way in shown])
    return figure


def lines_of(found: Sequence[Transferred], ups: dict[str, float], times: dict[str, float]) -> tuple[str, ...]:
    cells = [("source", "accuracy", "target", "images", "way", "accuracy on it", "minus scratch", "units")]
    for each in found:
        images = "all" if each.images == ALL else str(each.images)
        gap = "" if each.way == "scratch" else with_half_width(each.gap)
        accuracy = with_half_width(each.mean).lstrip("+")
        source = f"{100 * each.source:.1f}"
        place = (network_of(each.study), source, each.group, images, NAMES[each.way])
        cells.append((*place, accuracy, gap, str(each.mean.units)))
    lines = list(lines_of_cells(cells))
    for group in sorted_groups(each.group for each in found):
        for way, correlation in correlations(most(found, group)).items():
            lines.append(f"rank correlation, {group}, {NAMES[way]}: {said(correlation)}")
    lines += [f"{network_of(study)}: {value:.2g} times sooner at scratch's accuracy" for study, value in ups.items()]
    return (*lines, *(f"{network}: {time:.3g} ms per image" for network, time in times.items()))


def draw(
    rows: pd.DataFrame, ups: dict[str, float] | None = None, times: dict[str, float] | None = None, page: Page = PLAIN
) -> list[Drawn | NotDrawn]:
    """The figure of several studies. rows: of `networks`, of all of them. ups: study → how many times sooner. times:
    network → milliseconds per image."""
    found = [each for each in transferred(rows) if each.source == each.source]
    if len({each.study for each in found}) < 2:
        return [NotDrawn("backbones", "it needs two source networks or more, of known accuracy: a results.csv of each")]
    figure = figure_of(found, ups or {}, times or {}, page)
    groups = sorted_groups(each.group for each in found)
    notes = [
        f"{group}, {NAMES[way]}: rank correlation {said(correlation)}."
        for group in groups
        for way, correlation in correlations(most(found, group)).items()
    ]
    style.caption(figure, page, rows["study"], [*notes, style.INTERVALS_NOTE])
    return [Drawn("backbones", figure, lines=lines_of(found, ups or {}, times or {}))]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__)
    parser.add_argument("tables", nargs="+", type=Path, metavar="RESULTS.CSV", help="results, a table for each source")
    parser.add_argument("--curves", nargs="*", type=Path, default=[], metavar="CURVES.CSV", help="curves of the same")
    parser.add_argument("--layers", nargs="*", type=Path, default=[], metavar="LAYERS.CSV", help="times of the layers")
    options: argparse.Namespace = parser.parse_args(arguments)
    with style.settings(options.style):
        rows = pd.concat([read_table(path).rows for path in options.tables], ignore_index=True)
        drawn = draw(rows, sooner(options.curves, rows), times_of(options.layers), command.page_of(options))
        command.publish(drawn, options)


def times_of(paths: Sequence[Path]) -> dict[str, float]:
    """Network → milliseconds per image, of tables of `transferability layers`."""
    tables_of_layers = [read_layers(path) for path in paths]
    return {
        network_of(f"-{layers['network'].iloc[0]}"): float(layers["milliseconds"].sum()) for layers in tables_of_layers
    }


def sooner(paths: Sequence[Path], rows: pd.DataFrame) -> dict[str, float]:
    """Study → the median of how many times sooner its networks reach scratch's final accuracy, of those that do."""
    medians = {}
    for path in paths:
        curves = tables.read_curves(path)
        for study, of_study in curves.groupby("study"):
            ups = speed_ups(of_study, rows[rows["study"] == study])
            if len(ups):
                medians[str(study)] = float(ups["speed_up"].median())
    return medians

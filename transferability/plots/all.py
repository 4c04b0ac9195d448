"""All figures and tables that a results table allows; `make figures` draws those of the paper's networks.

    python plots/all.py [RESULTS.CSV] [--paper] [--out figures]

Without RESULTS.CSV the paper's networks are drawn, with it one's own, with both they are overlaid.
"""

from collections.abc import Sequence

from transferability.plots import (
    augmentation,
    command,
    domains,
    few_pictures,
    figure1,
    figure2,
    figure3,
    multitask,
    paired,
    preserved,
    pretext,
    readout_against_retraining,
    readout_by_layer,
    reduced_data,
    regimes,
    rules,
    table1,
    trained_twice,
    zero_shot,
)
from transferability.plots.style import PLAIN, Page
from transferability.plots.tables import Drawn, NotDrawn, Table, depth_of

OF_A_TABLE = (
    *(figure2, figure3, table1, reduced_data, regimes, preserved, paired, rules, trained_twice),
    *(readout_by_layer, readout_against_retraining, few_pictures, augmentation),
    *(domains, multitask, zero_shot, pretext),
)
OWN_RUNS = {
    "three_benefits": "python plots/three_benefits.py runs/STUDY/curves.csv",
    "backbones": "python plots/backbones.py runs/STUDY-*/results.csv",
    "aligned_layers": "python plots/aligned_layers.py runs/STUDY/curves.csv",
    "training_curves": "python plots/training_curves.py runs/STUDY/curves.csv",
    "translated": "python plots/translated.py runs/STUDY NETWORK",
    "confusion": "python plots/confusion.py runs/STUDY NETWORK",
    "average_precision_by_layer": "python plots/average_precision_by_layer.py runs/STUDY",
    "filters": "python plots/filters.py runs/STUDY",
}


def draw(table: Table, page: Page = PLAIN) -> list[Drawn | NotDrawn]:
    """Every figure of a results table, or the reason why it is not drawn; a study need not have every network."""
    drawings = figure1.draw(page, depth_of(table.rows))
    for plot in OF_A_TABLE:
        drawings += plot.draw(table, page)
    reasons = (f"it needs one's own runs: {command}" for command in OWN_RUNS.values())
    return [*drawings, *map(NotDrawn, OWN_RUNS, reasons)]


def main(arguments: Sequence[str] | None = None) -> None:
    command.table_figure(draw, command.table_parser(__doc__), arguments, refuse=False)

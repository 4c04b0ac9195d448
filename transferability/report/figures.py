"""Which figures the page of a study has, in its order; they are drawn and saved here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from transferability.files import in_words
from transferability.plots import (
    figure1,
    figure2,
    figure3,
    filters,
    paired,
    preserved,
    readout_against_retraining,
    readout_by_layer,
    reduced_data,
    style,
    table1,
    trained_twice,
    training_curves,
)
from transferability.plots.command import save
from transferability.plots.tables import Drawn, NotDrawn, Table, table_of
from transferability.results import statistics
from transferability.results.claims import statistic_of
from transferability.runs.paths import StudyFolder
from transferability.study import Study


@dataclass(frozen=True)
class Sources:
    """What figures are drawn from: the study, its folder, and the networks of its results table."""

    study: Study
    folder: StudyFolder
    table: Table
    rows: pd.DataFrame  # the same networks, by their final accuracy


@dataclass(frozen=True)
class Figure:
    """A figure that was drawn: its PNG, and what it shows in words."""

    file: Path
    title: str


Draw = Callable[[Sources], list[Drawn | NotDrawn]]


def draw_training_curves(sources: Sources) -> list[Drawn | NotDrawn]:
    return training_curves.draw(training_curves.read_curves(sources.folder.curves), sources.rows)


# Name of a figure → what it shows, and the function that draws it.
FIGURES: Mapping[str, tuple[str, Draw]] = {
    "figure2": (
        "Top-1 accuracy over the number of copied layers n, by treatment (Figure 2 of the paper)",
        lambda sources: figure2.draw(sources.table),
    ),
    "paired": (
        "The same networks paired with the base of their own split, target and seed",
        lambda sources: paired.draw(sources.table),
    ),
    "readout_by_layer": (
        "What the features of each layer are worth as they are: classifiers on layer n",
        lambda sources: readout_by_layer.draw(sources.table),
    ),
    "readout_against_retraining": (
        "A classifier on layer n against the rest of the network trained anew",
        lambda sources: readout_against_retraining.draw(sources.table),
    ),
    "figure3": (
        "Transfer from similar and dissimilar tasks, and random features (Figure 3 of the paper)",
        lambda sources: figure3.draw(sources.table),
    ),
    "table1": (
        "What fine-tuned transfer adds to a base, pooled as in the paper's Table 1 and paired",
        lambda sources: table1.draw(sources.table),
    ),
    "trained_twice": (
        "Fine-tuned transfer against networks that were trained as long without it",
        lambda sources: trained_twice.draw(sources.table),
    ),
    "reduced_data": (
        "Accuracy with fewer images per class (the paper's supplement)",
        lambda sources: reduced_data.draw(sources.table),
    ),
    "preserved": (
        "Further layers copied and trained above the frozen ones",
        lambda sources: preserved.draw(sources.table),
    ),
    "training_curves": (
        "Losses over training, by treatment, and the final training loss over n",
        draw_training_curves,
    ),
    "filters": (
        "First-layer filters of the bases",
        lambda sources: filters.draw([sources.folder.root]),
    ),
    "figure1": (
        "The treatments (Figure 1 of the paper)",
        lambda sources: figure1.draw(depth=sources.study.architecture.depth),
    ),
}


def draw_figures(study: Study, folder: StudyFolder, results: pd.DataFrame) -> tuple[list[Figure], list[str]]:
    """Draw what a study has networks for, into its folder of figures.

    Returns the figures in the page's order, and a line for each that could not be drawn. The paper's networks stand
    beside the study's where every network of the study has the paper's statistic.
    """
    beside_paper = statistic_of(results) == statistics.BEST
    sources = Sources(study, folder, table_of(results, beside_paper), statistics.networks(results))
    figures, not_drawn = [], []
    with style.settings():
        for name, (title, draw) in FIGURES.items():
            try:
                drawings = draw(sources)
            except Exception as error:  # one figure that fails costs the page no other
                drawings = [NotDrawn(name, in_words(error))]
            for drawing in drawings:
                if isinstance(drawing, NotDrawn):
                    not_drawn.append(f"{drawing.plot}: {drawing.reason}")
                else:
                    about = f"{title}: {style.group_name(drawing.split)}" if drawing.split else title
                    figures.append(Figure(save(drawing, folder.figures)[0], about))
    return figures, not_drawn

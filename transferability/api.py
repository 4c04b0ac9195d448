"""What notebooks and programs import; `transferability` hands all of it on, and loads it when it is asked for.

    import transferability as tr

    study = tr.open_study("experiments/demo.py")
    results = study.results()                      # a DataFrame, one row per network
    tr.differences(results)                        # each network minus its base, co-adaptation, specificity
    tr.means(results)                              # over n, with 95 % intervals and verdicts
    tr.figure("figure2", results)                  # a matplotlib Figure
    network = tr.load_network(study, "random-0/A3B+")

Tables are pandas DataFrames; accuracies and differences are fractions: 0.01 is one point. What cannot be done raises
`Refused`, whose message says why. docs/api.md has an example of each function.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.figure import Figure

from transferability.files import Refused as Refused
from transferability.results import statistics
from transferability.results.answers import answers as answers_of
from transferability.results.answers import sentences
from transferability.results.collect import collect
from transferability.results.paper import paper_results as paper_results
from transferability.results.show import points
from transferability.results.statistics import means_by_n, standing, summary_of
from transferability.results.table import read_results as read_results
from transferability.runs.paths import StudyFolder, data_root, study_folder
from transferability.runs.status import statuses
from transferability.study import Study, load_study

if TYPE_CHECKING:
    from transferability.trained.network import TrainedNetwork
    from transferability.training.fitted import FittedReadout

# Figures of a results table, and those that need the study's own files.
OF_A_TABLE = (
    *("figure1", "figure2", "figure3", "table1", "paired", "trained_twice", "preserved", "reduced_data"),
    *("readout_by_layer", "readout_against_retraining"),
)
FIGURES = (*OF_A_TABLE, "training_curves", "filters")


@dataclass(frozen=True)
class OpenStudy:
    """A study with its folder of runs and the folder of packed sets."""

    study: Study
    folder: StudyFolder
    data: Path

    def results(self) -> pd.DataFrame:
        """Collects what is finished; one row per network, with the columns of results.csv."""
        collect(self.study, self.folder)
        return read_results(self.folder.results)

    def status(self) -> pd.DataFrame:
        """One row per network: network, state, detail, weights (whether they were kept)."""
        rows = statuses(self.study, self.folder, self.study.networks)
        return pd.DataFrame(
            [(row.network.name, row.state, row.detail, row.has_weights) for row in rows],
            columns=["network", "state", "detail", "weights"],
        )

    def load_network(self, name: str) -> "TrainedNetwork":
        """See `transferability.load_network`."""
        return load_network(self, name)


def open_study(experiment: Path | str, runs: Path | str | None = None, data: Path | str | None = None) -> OpenStudy:
    """The study of an experiment file, which is run.

    runs, data: folders of runs and of packed sets; as for the command line $TRANSFERABILITY_RUNS and
    $TRANSFERABILITY_DATA, else runs/ and data/ in the current folder.
    """
    study = load_study(experiment)
    folder = study_folder(study.name) if runs is None else StudyFolder(Path(runs) / study.name)
    return OpenStudy(study, folder, data_root() if data is None else Path(data))


# ------------------------------------------------------------------------------------------ tables


def _is_papers(results: pd.DataFrame) -> bool:
    return len(results) > 0 and bool((results["study"] == statistics.PUBLISHED).all())


def differences(results: pd.DataFrame, statistic: str | None = None) -> pd.DataFrame:
    """One row per network that has not diverged, with its paired differences.

    Adds the columns group, treatment, unit, accuracy, difference, coadaptation, specificity, train_loss_difference
    (`results.statistics.networks` says what they are). statistic: a column, val_top1 (the final accuracy) or
    val_top1_best10 (the mean of the ten highest validations); None: the second of the paper's networks, else the first.
    """
    default = statistics.BEST if _is_papers(results) else statistics.FINAL
    return statistics.networks(results, statistic or default)


def means(results: pd.DataFrame, column: str = "difference", statistic: str | None = None) -> pd.DataFrame:
    """For each group of splits, treatment and n: the mean of one column of `differences` over units.

    Columns: group, treatment, n, value, low, high (95 % interval; NaN below three units), networks, units, varies,
    verdict (same, above, below, not enough networks; of differences).
    """
    return means_by_n(differences(results, statistic), column)


def summary(results: pd.DataFrame, statistic: str | None = None) -> pd.DataFrame:
    """All means of `differences` side by side: one row per group of splits, treatment and n."""
    return summary_of(differences(results, statistic))


def answers(results: pd.DataFrame, statistic: str | None = None) -> pd.DataFrame:
    """How many layers can be kept? One row per group of splits, treatment and reference: the base, and the best.

    Columns: group, treatment, reference, up_to (largest n up to which all networks are within a point of the reference;
    <NA> if none is, or it cannot be told), within, beyond, unclear (the n at which they are, are not, or it cannot be
    told), lowest (mean at the n where it is lowest, in points), units.
    """
    rows = []
    for group in answers_of(differences(results, statistic)):
        for answer in group:
            lowest = min(answer.means.values(), key=lambda mean: mean.value)
            unclear = tuple(n for n, mean in answer.means.items() if standing(mean) == statistics.NOT_ENOUGH)
            kept = answer.at("within"), answer.at("beyond"), unclear
            mean = points(lowest.value, lowest.low)
            rows.append((answer.group, answer.treatment, answer.reference, answer.up_to, *kept, mean, answer.units))
    columns = ["group", "treatment", "reference", "up_to", "within", "beyond", "unclear", "lowest", "units"]
    return pd.DataFrame(rows, columns=columns).astype({"up_to": "Int64"})


def sentence(results: pd.DataFrame, statistic: str | None = None) -> str:
    """The answers in words, as `transferability results` ends with them."""
    return "\n".join(sentences(differences(results, statistic)))


# ------------------------------------------------------------------------------------------ figures


def figures(
    name: str, source: OpenStudy | pd.DataFrame | None = None, paper: bool = False, **page: Any
) -> list[Figure]:
    """All figures of one name, one for each group of splits where there are several.

    name: one of FIGURES. source: a results table, or a study, which training_curves and filters need; None: the
    paper's own networks. paper: set the paper's networks beside one's own. page: width (inches), counts (False leaves
    out the numbers of networks and units), caption, style (a matplotlib style file), split (one group or split).
    Refused, with the reason, where it cannot be drawn.
    """
    from transferability.plots import style

    if name not in FIGURES:
        raise Refused(f"no figure {name!r}; write one of {', '.join(FIGURES)}")
    style_file, split = page.pop("style", None), page.pop("split", "")
    try:
        chosen = style.Page(**page)
    except TypeError:
        raise Refused(f"figure: of {', '.join(page)}, it takes width, counts, caption, style and split") from None
    with style.settings(None if style_file is None else Path(style_file)):
        drawings = _drawings(name, source, paper, chosen, split)
    drawn = [drawing.figure for drawing in drawings if hasattr(drawing, "figure")]
    if not drawn:
        raise Refused(f"{name}: {'; '.join(drawing.reason for drawing in drawings)}")
    return drawn


def figure(name: str, source: OpenStudy | pd.DataFrame | None = None, paper: bool = False, **page: Any) -> Figure:
    """The first of `figures`: of random splits, where the table has them."""
    return figures(name, source, paper, **page)[0]


def _drawings(name: str, source: OpenStudy | pd.DataFrame | None, paper: bool, page: Any, split: str) -> Sequence[Any]:
    from transferability.plots.tables import depth_of, table_of

    draw = import_module(f"transferability.plots.{name}").draw
    table = source.results() if isinstance(source, OpenStudy) else source
    options = {"split": split} if split else {}
    if name in OF_A_TABLE:
        of_table = table_of(None if table is None or _is_papers(table) else table, paper)
        return draw(page, depth_of(of_table.rows)) if name == "figure1" else draw(of_table, page, **options)
    if not isinstance(source, OpenStudy):
        raise Refused(f"{name} is drawn from a study's own files: give what open_study returns")
    if name == "filters":
        return draw([source.folder.root], page)
    assert table is not None
    read_curves = import_module("transferability.plots.training_curves").read_curves
    return draw(read_curves(source.folder.curves), differences(table), page, **options)


# ------------------------------------------------------------------------------------------ networks


def load_network(study: OpenStudy | Path | str, name: str) -> "TrainedNetwork":
    """A trained network with its weights: an `nn.Module` in evaluation mode; needs torch.

    study: what `open_study` returned, or an experiment file. name: its full name; `/seed-0` may be left out. It has
    `classes`, `preprocessing`, `features`, `accuracy`, `validation_images`, `original` and `result`. Refused where it
    is not trained, or its weights were not kept (`--keep-weights`, `--keep PATTERN`).
    """
    try:
        from transferability.trained.network import load_network as load
    except ModuleNotFoundError as error:
        raise Refused(f"load_network needs {error.name}: pip install '.[train]' in a clone of the project") from None
    opened = study if isinstance(study, OpenStudy) else open_study(study)
    return load(opened.study, name, opened.folder, opened.data)


def load_readout(study: OpenStudy | Path | str, name: str) -> "FittedReadout":
    """A readout's classifier with what was fitted before it; needs torch.

    study, name: as in `load_network`. It has `classes`, `scores` (of what layer n puts out), `tensors` and `result`.
    Refused where it is not fitted, or was not kept (`--keep-weights`, `--keep PATTERN`).
    """
    try:
        from transferability.training.fitted import load_readout as load
    except ModuleNotFoundError as error:
        raise Refused(f"load_readout needs {error.name}: pip install '.[train]' in a clone of the project") from None
    opened = study if isinstance(study, OpenStudy) else open_study(study)
    return load(opened.study, name, opened.folder, opened.data)


def export(network: "TrainedNetwork", file: Path | str) -> str:
    """Writes what `load_network` returned to FILE.safetensors or FILE.onnx; what was written, in one line."""
    from transferability.trained.export import export as write

    return write(network, Path(file))

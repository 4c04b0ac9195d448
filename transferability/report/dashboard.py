"""The study at W&B: its own run, with the table, the figures and the headline numbers, and its workspace.

wandb and wandb-workspaces are imported where they are used.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from transferability.files import Refused, write_atomically
from transferability.report.gather import Report, headlines
from transferability.results.statistics import networks, summary
from transferability.study import Study
from transferability.training.tracking import (
    entity,
    keep_files_in,
    last_logged,
    open_run,
    project,
    remove_empty,
    say,
    wait_for,
)

# ------------------------------------------------------------------------------------------ the study's run


def track_study(report: Report, mode: str) -> None:
    """Log the table, the figures and the headline numbers to the study's own run, which shows the newest ones.

    Each call is one step of the run. What W&B refuses is printed in one line, and stops nothing.
    """
    folder = report.folder.root
    try:
        keep_files_in(folder)
        remove_empty(folder)
        step = 1 + last_logged(folder)
        run = open_run(mode, folder, **identity(report.study))
        if mode == "online" and run.resumed:
            step = max(step, run.starting_step)
        numbers = headlines(report)
        row = media(report) | {f"headline/{name}": value for name, value in numbers.items()}
        run.log(row, step=step, commit=True)
        run.summary.update(numbers)
        run.finish()
        wait_for(folder, step)
    except Exception as error:
        say(f"the study's run is not logged: {type(error).__name__}: {' '.join(str(error).split())[:300]}")


def identity(study: Study) -> dict[str, Any]:
    """What tells the study's run from those of its networks."""
    return {
        "id": study.name,
        "name": f"{study.name} (study)",
        "job_type": "study",
        "tags": [study.name, "study"],
        "config": {
            "study": study.name,
            "data": study.data,
            "architecture": study.architecture.name,
            "networks": len(study.networks),
        },
    }


def media(report: Report) -> dict[str, Any]:
    """The figures, the results as tables, and a chart for each split, in wandb's types."""
    import wandb

    row: dict[str, Any] = {f"figures/{figure.file.stem}": wandb.Image(str(figure.file)) for figure in report.figures}
    if len(report.table):
        row["results"] = wandb.Table(dataframe=report.table)
        row["summary"] = wandb.Table(dataframe=summary(report.table))
        for split, rows in networks(report.table).groupby("split"):
            row[over_n(str(split))] = chart(str(split), rows)
    return row


def over_n(split: str) -> str:
    """The name of the chart of top-1 over n of one split, in the study's run."""
    return f"top-1 over n/{split}"


def chart(split: str, rows: pd.DataFrame) -> Any:
    """Mean top-1 over n, a line for each treatment; the base is the line's start at n = 0."""
    import wandb

    base = rows[rows["treatment"] == "base"]["accuracy"].mean()
    xs, ys, names = [], [], []
    for treatment, treated in rows[rows["n"] > 0].groupby("treatment"):
        means = treated.groupby("n")["accuracy"].mean()
        xs.append([0, *means.index.tolist()])
        ys.append([base, *means.tolist()])
        names.append(str(treatment))
    return wandb.plot.line_series(xs or [[0]], ys or [[base]], names or ["base"], f"{split}: top-1 over n", "n")


# ------------------------------------------------------------------------------------------ the workspace


def save_dashboard(study: Study, file: Path | None) -> str:
    """Save the workspace at W&B, or write it to `file` as JSON, for which no login is needed. Returns where it is.

    Refused without wandb-workspaces, and if W&B does not take it.
    """
    if file is None:
        import wandb

        try:
            saved = workspace(study, entity() or wandb.Api().default_entity or "").save()
            return str(saved.url)
        except Refused:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise Refused(
                f"W&B does not take the dashboard ({reason}); `wandb login`, or write it with --file"
            ) from None
    model = workspace(study, entity())._to_model()
    with write_atomically(file, "w") as handle:
        json.dump(json.loads(model.model_dump_json(by_alias=True, exclude_none=True)), handle, indent=1)
        handle.write("\n")
    return str(file)


def workspace(study: Study, owner: str = "") -> Any:
    """The study's workspace, of W&B's entity `owner`: sections for each split, networks, throughput and failures.

    Refused without wandb-workspaces.
    """
    try:
        from wandb_workspaces import expr, workspaces
    except ImportError as error:
        reason = f"the dashboard needs wandb-workspaces ({error})"
        raise Refused(f"{reason}: pip install '.[dashboard]' in the project") from None

    treatments: dict[str, dict[str, None]] = {}  # split → its treatments, in the study's order
    for network in study.networks:
        treatments.setdefault(network.split, {})[network.letters] = None
    sections = [overview(), *(of_split(split, list(letters)) for split, letters in treatments.items())]
    return workspaces.Workspace(
        entity=owner,
        project=project(),
        name=f"{study.name}: how transferable are the features of layer n?",
        sections=[*sections, of_networks(), throughput(), failures()],
        settings=workspaces.WorkspaceSettings(max_runs=100),
        runset_settings=workspaces.RunsetSettings(
            filters=[expr.Config("study") == study.name],
            groupby=[],
            pinned_columns=["summary:val_top1", "summary:diverged", "config:treatment", "config:n", "config:split"],
        ),
    )


def section(name: str, panels: Sequence[Any], is_open: bool = False) -> Any:
    from wandb_workspaces import workspaces

    return workspaces.Section(name=name, panels=list(panels), is_open=is_open)


def lines(title: str, keys: Sequence[str], by_treatment: bool = False) -> Any:
    """A plot of values over steps: a line for each run, or the mean and range over the runs of a treatment."""
    from wandb_workspaces.reports import v2 as panels

    grouped: Mapping[str, Any] = {}
    if by_treatment:
        grouped = {"groupby": panels.Config("treatment"), "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
    return panels.LinePlot(title=title, y=list(keys), **grouped)


def overview() -> Any:
    from wandb_workspaces.reports import v2 as panels

    figures = panels.MediaBrowser(title="Figures", media_keys=["figures/figure2"])
    return section("The study", [figures], is_open=True)


def of_split(split: str, treatments: Sequence[str]) -> Any:
    """Top-1 over n, from the study's run and from those of the networks, and the course of training by treatment."""
    from wandb_workspaces.reports import v2 as panels

    chart_over_n = panels.CustomChart(
        query={"summaryTable": {"tableKey": f"{over_n(split)}_table"}},
        chart_name="wandb/lineseries/v0",
        chart_fields={"step": "step", "lineKey": "lineKey", "lineVal": "lineVal"},
        chart_strings={"title": f"{split}: top-1 over n, by treatment", "xname": "n"},
    )
    scatter = [
        panels.ScatterPlot(
            title=f"{split}: {treatment}, top-1 over n",
            x=panels.Config("n"),
            y=panels.SummaryMetric(f"{split}/val_top1/{treatment}"),
        )
        for treatment in treatments
    ]
    titles = {"val_top1": "top-1", "val_loss": "validation loss", "train_loss": "training loss"}
    course = [
        lines(f"{split}: {title} by treatment", [f"{split}/{key}/{treatment}" for treatment in treatments], True)
        for key, title in titles.items()
    ]
    return section(split, [chart_over_n, *scatter, *course], is_open=True)


def of_networks() -> Any:
    """The course of training of single networks."""
    titles = {
        "train_loss": "training loss",
        "val_loss": "validation loss",
        "val_top1": "top-1",
        "val_top5": "top-5",
        "learning_rate": "learning rate",
        "epoch": "epoch",
    }
    return section("Networks", [lines(title, [key]) for key, title in titles.items()])


def throughput() -> Any:
    alone = lines("images/s of a network's fleet", ["images_per_second"])
    return section("Throughput", [alone, lines("images/s by treatment", ["images_per_second"], True)])


def failures() -> Any:
    """Networks that diverged, from their own runs, and those that failed or are blocked, from the study's."""
    from wandb_workspaces.reports import v2 as panels

    diverged = panels.ScalarChart(title="networks diverged", metric=panels.Metric("diverged"), groupby_aggfunc="sum")
    counts = [
        panels.ScalarChart(title=f"networks {state}", metric=panels.SummaryMetric(f"networks {state}"))
        for state in ("failed", "blocked")
    ]
    return section("Failures", [lines("loss is not a number", ["diverged"]), diverged, *counts])

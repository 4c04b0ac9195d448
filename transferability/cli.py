"""The command line: one program, `transferability`. Each command does little more than call its module."""

import gc
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from transferability import __version__, available_cores
from transferability.files import Refused, in_words, print_any_character

app = typer.Typer(
    name="transferability",
    help="How transferable are the features of layer n? Trains the networks of Yosinski et al. 2014, and beyond.",
    epilog="Start with `transferability pack demo data/demo` and `transferability run experiments/demo.py`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

# What many commands take, said once.
ExperimentFile = Annotated[Path, typer.Argument(metavar="EXPERIMENT", help="Experiment file, as experiments/demo.py.")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="PATTERN", help="Only networks like this, as 'random-0/A*B'; may be repeated."),
]
FleetSize = Annotated[
    int | None,
    typer.Option("--fleet-size", min=1, help="Most networks that are trained together.", show_default="all"),
]
Wandb = Annotated[
    str, typer.Option("--wandb", metavar="MODE", help="Weights & Biases: disabled, offline (kept in runs/) or online.")
]
WandbArtifacts = Annotated[
    bool, typer.Option("--wandb-artifacts", help="With --wandb: the bases' weights as artifacts, too.")
]


def _when(word: str) -> str:
    if word not in ("auto", "yes", "no"):
        raise Refused(f"--resident {word}: write auto, yes or no")
    return word


Resident = Annotated[
    str,
    typer.Option(
        "--resident",
        metavar="WHEN",
        callback=_when,
        help="Pictures in device memory: yes, no, auto (if a GPU has room).",
    ),
]
Form = Annotated[
    str,
    typer.Option(
        "--form",
        metavar="FORM",
        help="How a step is computed: plain, split, graph, split+graph; auto tries them on a GPU, once a fleet.",
    ),
]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")]


def _console() -> Console:
    return Console(highlight=False)


def _print_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"transferability {__version__}")
        raise typer.Exit


# ------------------------------------------------------------------------------------------ pictures


@app.command()
def pack(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder or zip with train/ and val/ of one folder a class, Tiny ImageNet as it is downloaded, "
            "CIFAR-10/100 as torchvision downloads them, the folder with ILSVRC 2012's tar files; or the word demo."
        ),
    ],
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="Folder of the packed set, as data/tiny-imagenet.")
    ],
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the packed pictures, in pixels.", show_default="as they are"),
    ] = None,
    centre_crop: Annotated[
        bool,
        typer.Option("--centre-crop", help="Shorter side to SIZE and centre crop, instead of squashing."),
    ] = False,
    skip_unreadable: Annotated[
        bool,
        typer.Option("--skip-unreadable", help="Go on without unreadable pictures; the manifest lists them."),
    ] = False,
    groups: Annotated[
        Path | None,
        typer.Option(help="CSV with columns id and group (man-made or natural), for classes without WordNet ids."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="all cores")] = None,
) -> None:
    """Pack pictures into one memory-mapped set, once for all studies. Safe to interrupt and run again."""
    from transferability.data.pack import pack as pack_images
    from transferability.data.packed import describe

    packed = pack_images(
        source,
        destination,
        size,
        skip_unreadable=skip_unreadable,
        squash=not centre_crop,
        workers=workers,
        groups=groups,
    )
    print(describe(packed))


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DEST", help="Folder of a packed set.")],
) -> None:
    """Check every checksum of a packed set."""
    from transferability.data.packed import describe, open_packed
    from transferability.data.packed import verify as verify_packed

    packed = open_packed(folder)
    verify_packed(packed)
    print(f"{describe(packed)}\nevery checksum is right")


@app.command()
def classes(
    experiment: ExperimentFile,
    split: Annotated[str, typer.Argument(help="random-0, random-1, …, manmade-natural or whole.")],
    task: Annotated[str, typer.Argument(help="A or B; W for the split whole.")],
    csv: Csv = False,
) -> None:
    """List the classes of one task: index in the data set, label in the half, id, name, group."""
    from transferability.data.packed import open_packed
    from transferability.runs.paths import data_root
    from transferability.splits import ilsvrc_classes, task_classes
    from transferability.study import load_study

    study = load_study(experiment)
    folder = data_root() / study.data
    if (folder / "manifest.json").exists():
        table = open_packed(folder).classes
    elif study.data == "demo":
        from transferability.data.demo import CLASSES
        from transferability.data.packed import ImageClass

        table = tuple(ImageClass(index, *words) for index, words in enumerate(sorted(CLASSES)))
    elif study.data.startswith(("ilsvrc", "imagenet")):
        table = ilsvrc_classes()
    else:
        raise Refused(
            f"{folder} is not packed yet, and only ILSVRC 2012's classes are known without: `transferability pack`"
        )
    rows = [
        (index, label, table[index].id, table[index].name, table[index].group)
        for label, index in enumerate(task_classes(table, split, task).tolist())
    ]
    columns = ("index", "label", "id", "name", "group")
    if csv:
        _print_csv(columns, rows)
        return
    shown = Table(*columns, title=f"{study.data}: {split}, task {task}, {len(rows)} classes", box=None)
    for row in rows:
        shown.add_row(*map(str, row))
    _console().print(shown)


# ------------------------------------------------------------------------------------------ training


@app.command()
def plan(
    experiment: ExperimentFile,
    only: Only = None,
    fleet_size: FleetSize = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Train each kind of fleet for a few steps; print what the study takes.")
    ] = False,
    measure_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Images a step for that.", show_default="the recipe's; fewer on a CPU"),
    ] = None,
    csv: Csv = False,
) -> None:
    """List the networks of a study: stage, fleet, split, network, source, target, n, seed; and what it will take."""
    from transferability.launch.local import estimate
    from transferability.launch.slurm import sizes_that_fit
    from transferability.study import fleets, load_study

    study = load_study(experiment)
    chosen = study.select(only or ())
    divided = fleets(chosen, fleet_size)
    if measure:
        _measure(study, divided, measure_batch, csv)
        return
    columns = ("stage", "fleet", "split", "network", "source", "target", "n", "seed")
    rows = [
        (
            network.stage,
            number,
            network.split,
            network.short_name,
            network.treatment.source,
            network.treatment.target,
            network.treatment.n,
            network.seed,
        )
        for number, fleet in enumerate(divided)
        for network in fleet.networks
    ]
    if csv:
        _print_csv(columns, rows)
        return
    console = _console()
    # Not a rich table, which measures and wraps every cell: seconds for 10,000 networks.
    cells = [columns, *(tuple(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    kinds: dict[str, int] = {}
    for network in chosen:
        kinds[network.treatment.kind] = kinds.get(network.treatment.kind, 0) + 1
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    console.print(f"\n{len(chosen)} networks ({counts}) in {len(divided)} fleets")
    console.print(estimate(study, divided, available_cores()))
    console.print(sizes_that_fit(study, chosen))


def _measure(study: Any, divided: Sequence[Any], batch: int | None, csv: bool) -> None:
    # One thread a process, as `run` does: before torch loads.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from transferability.launch.plan import COLUMNS, measure_study, summary, table
    from transferability.runs.paths import data_root
    from transferability.training.train import quiet

    quiet()
    measured = measure_study(study, divided, batch, Console(stderr=True))
    rows = table(study, measured)
    if csv:
        _print_csv(COLUMNS, rows)
        return
    console = _console()
    # What fits into a line: `--csv` has all.
    heads = {"images_per_second": "images/s", "ms_per_step": "ms", "memory_gb": "GB", "tflops": "TFLOP/s"}
    left_out = {"networks", "classes", "why"} | ({"form"} if {each.form for each in measured} == {"plain"} else set())
    heads |= {"peak_share": "of peak", "hours_each": "hours"}
    kept = [i for i, column in enumerate(COLUMNS) if column not in left_out and any(row[i] != "" for row in rows)]
    shown = Table(box=None)
    for i in kept:
        shown.add_column(heads.get(COLUMNS[i], COLUMNS[i]), justify="left" if COLUMNS[i] == "kind" else "right")
    for row in rows:
        shown.add_row(*(str(row[i]) for i in kept))
    console.print(shown)
    for line in summary(measured, (data_root() / study.data / "manifest.json").exists()):
        console.print(line, soft_wrap=True)


@app.command()
def train(
    experiment: ExperimentFile,
    fleet: Annotated[int | None, typer.Option(min=0, help="Number of the fleet, as `plan` shows it.")] = None,
    network: Annotated[list[str] | None, typer.Option(help="Full name, as random-0/A3B+; may be repeated.")] = None,
    only: Only = None,
    fleet_size: FleetSize = None,
    submission: Annotated[
        Path | None, typer.Option(help="A submission's list of fleets (written by `submit`).")
    ] = None,
    element: Annotated[int | None, typer.Option(min=0, help="Which of the submission's fleets.")] = None,
    accelerator: Annotated[str, typer.Option(help="cpu, gpu or auto.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Devices of each node, one process a device.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes.")] = 1,
    checkpoint_minutes: Annotated[float, typer.Option(min=0, help="How much work a kill may cost.")] = 10.0,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Keep the last weights of every network.")
    ] = False,
    wandb: Wandb = "disabled",
    wandb_artifacts: WandbArtifacts = False,
    resident: Resident = "auto",
    form: Form = "auto",
) -> None:
    """Train one fleet, from its last checkpoint if it has one. What is done is not done again."""
    from transferability.data.packed import open_packed
    from transferability.launch.local import (
        is_first,
        leave_with_launcher,
        pending,
        refuse_form,
        refuse_mismatches,
        tidy,
        with_sources,
        without_diverged,
    )
    from transferability.launch.slurm import leave_reason, refuse_allocation, refuse_diverged
    from transferability.runs.paths import data_root, study_folder
    from transferability.runs.status import at_chance
    from transferability.study import fleets, load_study
    from transferability.training.tracking import ready

    # The warning before a time limit, which slurm/fleet.sbatch hands on.
    warning = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: warning.set())
    leave_with_launcher()
    refuse_allocation(devices, nodes)
    refuse_form(form, accelerator != "cpu", devices * nodes)  # whether there is a GPU, is seen later
    mode = ready(wandb)
    study = load_study(experiment)
    if submission is not None and element is not None:
        from transferability.launch.slurm import element_networks

        chosen: Sequence[Any] = element_networks(study, submission, element)
    elif fleet is not None:
        divided = fleets(study.select(only or ()), fleet_size)
        if fleet >= len(divided):
            raise Refused(f"study {study.name!r} has fleets 0 … {len(divided) - 1}; there is no fleet {fleet}")
        chosen = divided[fleet].networks
    elif network:
        chosen = study.select(network)
    else:
        raise Refused("say which: --fleet 3 (`transferability plan` lists them) or --network random-0/A3B+")
    try:
        refuse_mismatches(study, chosen, open_packed(data_root() / study.data))
    except Refused as error:
        with suppress(OSError, Refused):  # what is raised here counts
            leave_reason(study, chosen, str(error))  # for `status`: nobody looks at the logs of 300 elements
        raise
    folder = study_folder(study.name)
    if is_first():
        tidy(folder)
        for line in at_chance(study, [each for each in with_sources(study, chosen) if each not in chosen]):
            print(line, flush=True)
    left = pending(study, chosen, None)
    if not left:
        refuse_diverged(study, chosen)
        print(f"{len(chosen)} networks are done")
        return

    from transferability.training.train import Machine, Warned, quiet, train_fleet

    quiet()
    machine = Machine(
        accelerator, devices, nodes, checkpoint_minutes, keep_weights, mode, wandb_artifacts, resident, form
    )
    for whole in left:
        each: Any = whole
        blocked = ""
        sources = {member.source_name for member in whole.networks} - {None}
        if all(folder.result(source).exists() for source in sources if source):
            each, blocked = without_diverged(folder, whole)
        if blocked:
            print(f"left out: {blocked}", flush=True)
        if each is None:
            continue
        print(f"{each.name}: {len(each.networks)} networks, {each.networks[0].recipe.steps} steps", flush=True)
        try:
            train_fleet(study, each, machine, warning=warning)
        except Warned as error:
            print(f"{error}; run the same command again to go on", flush=True)
            raise typer.Exit(1) from None
        for line in at_chance(study, each.networks):
            print(line, flush=True)
    refuse_diverged(study, chosen)
    done = sum(folder.result(member.name).exists() for member in chosen)
    print(f"{done} of {len(chosen)} networks are done", flush=True)
    if done < len(chosen):
        raise typer.Exit(1)


@app.command()
def run(
    experiment: ExperimentFile,
    only: Only = None,
    fleet_size: FleetSize = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Fleets at once.", show_default="one a core or GPU")
    ] = None,
    devices_per_fleet: Annotated[
        int, typer.Option(min=1, help="GPUs (or processes on cores) that train one fleet together, by DDP.")
    ] = 1,
    accelerator: Annotated[str, typer.Option(help="cpu, gpu or auto.")] = "auto",
    checkpoint_minutes: Annotated[float, typer.Option(min=0, help="How much work a kill may cost.")] = 10.0,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Keep the last weights of every network.")
    ] = False,
    wandb: Wandb = "disabled",
    wandb_artifacts: WandbArtifacts = False,
    resident: Resident = "auto",
    form: Form = "auto",
    dry_run_steps: Annotated[
        int | None, typer.Option(min=1, help="Only try: so many steps of every network, in a temporary folder.")
    ] = None,
    dry_run_batch: Annotated[int, typer.Option(min=1, help="Images a step, and in validation, of a dry run.")] = 8,
) -> None:
    """Train all that is not done, bases first, on this machine; then collect the results."""
    from transferability.data.packed import open_packed, verify_at_first_use
    from transferability.launch.local import default_workers, dry, gpus, refuse_form, refuse_mismatches, run_study
    from transferability.runs.paths import data_root, study_folder
    from transferability.study import load_study
    from transferability.training.tracking import ready

    refuse_form(form, bool(gpus(accelerator)), devices_per_fleet)
    mode = ready(wandb)
    study = load_study(experiment)
    chosen = study.select(only or ())
    packed = open_packed(data_root() / study.data)  # refused here, not in every worker
    verify_at_first_use(packed)
    from transferability.training.train import Machine

    machine = Machine(
        accelerator=accelerator,
        devices=devices_per_fleet,
        checkpoint_minutes=checkpoint_minutes,
        keep_weights=keep_weights,
        wandb=mode,
        wandb_artifacts=wandb_artifacts,
        resident=resident,
        form=form,
    )
    console = _console()
    number = workers or default_workers(accelerator, devices_per_fleet)
    if dry_run_steps is not None:
        names = {network.name for network in chosen}
        shortened = dry(study, dry_run_steps, dry_run_batch, packed)
        pairs = zip(study.networks, shortened.networks, strict=True)
        chosen = tuple(short for network, short in pairs if network.name in names)
        machine = replace(machine, wandb="disabled", most_validated=dry_run_batch)
        with tempfile.TemporaryDirectory(prefix="transferability-dry-run-") as folder:
            os.environ["TRANSFERABILITY_RUNS"] = folder  # for the workers too; nothing of it is kept
            done = run_study(shortened, chosen, machine, number, fleet_size, console)
            tried = sum(study_folder(shortened.name).result(each.name).exists() for each in shortened.networks)
        console.print(f"dry run: {tried} of {len(study.networks)} networks can be trained; nothing was kept")
        raise typer.Exit(0 if done else 1)
    refuse_mismatches(study, chosen, packed)
    done = run_study(study, chosen, machine, number, fleet_size, console)
    _collect(study, chosen, study_folder(study.name))
    if not done:
        raise typer.Exit(1)


# ------------------------------------------------------------------------------------------ results


def _collect(study: Any, chosen: Sequence[Any], folder: Any, csv: bool = False) -> None:
    """Writes the tables of the whole study; prints the summary of `chosen`, and what is missing of it.

    csv: the summary as CSV on standard output; all else then goes to standard error.
    """
    from transferability.results.collect import collect

    # What the summary needs is loaded while other processes read: it takes as long as the reading.
    missing = collect(study, folder, meanwhile=partial(import_module, "transferability.results.show"))

    from transferability.results.show import print_table, table_console
    from transferability.results.statistics import summary
    from transferability.results.table import full_names, in_spans, read_results

    results = read_results(folder.results)
    names = {network.name for network in chosen}
    # With the bases, which differences are paired with.
    bases = {network.name for network in study.networks if network.stage == 0}
    shown = results[[name in names or name in bases for name in full_names(results)]]
    console = Console(stderr=True, highlight=False) if csv else table_console()
    if csv:
        summary(shown).to_csv(sys.stdout, index=False, lineterminator="\n")
    elif len(shown):
        print_table(shown, console=console)
    if len(results):
        console.print(f"\nresults: {folder.results}\ncurves:  {folder.curves}", soft_wrap=True, markup=False)
    for line in in_spans(name for name in missing if name in names):
        console.print(f"missing: {line}", soft_wrap=True, markup=False)
    console.print(f"{len(results)} of {len(study.networks)} networks are done")


@app.command()
def results(experiment: ExperimentFile, only: Only = None, csv: Csv = False) -> None:
    """Collect results.csv and curves.csv, name every missing network, print the summary. --csv: all its columns."""
    from transferability.runs.paths import study_folder
    from transferability.study import load_study

    study = load_study(experiment)
    _collect(study, study.select(only or ()), study_folder(study.name), csv)
    gc.freeze()  # nothing is left to do: 10,000 networks need not be looked through for cycles before the end


@app.command()
def status(
    experiment: ExperimentFile,
    only: Only = None,
    everything: Annotated[bool, typer.Option("--all", help="Every line, however many.")] = False,
    csv: Csv = False,
) -> None:
    """What is done, running, waiting, missing, blocked, failed, and why; and SLURM's queue where there is one."""
    from transferability.runs.status import print_status, statuses
    from transferability.study import load_study

    study = load_study(experiment)
    chosen = study.select(only or ())
    if csv:
        rows = [(each.network.name, each.state, each.detail) for each in statuses(study, chosen)]
        _print_csv(("network", "state", "detail"), rows)
        return
    print_status(study, chosen, _console(), everything)


@app.command()
def report(
    experiment: ExperimentFile,
    wandb: Wandb = "disabled",
    every: Annotated[
        float | None, typer.Option(min=0.1, metavar="MINUTES", help="Again and again, until the study is over.")
    ] = None,
) -> None:
    """Write report.html, one page that needs nothing else, and with --wandb the study's own run."""
    import time

    from transferability.report.page import gather, track_study, write_report
    from transferability.study import load_study
    from transferability.training.tracking import ready

    mode = ready(wandb)
    study = load_study(experiment)
    console = _console()
    while True:
        found = gather(study)
        for line in found.not_drawn:
            console.print(line, soft_wrap=True, markup=False)
        console.print(str(write_report(found)), soft_wrap=True, markup=False)
        if mode != "disabled":
            track_study(found, mode)
        if every is None or found.is_over:
            return
        time.sleep(60 * every)


@app.command()
def dashboard(
    experiment: ExperimentFile,
    file: Annotated[Path | None, typer.Option(help="Write it here instead; needs no login.")] = None,
) -> None:
    """Save the study's W&B dashboard: a section for each split, single networks, throughput, failures."""
    from transferability.report.page import save_dashboard
    from transferability.study import load_study
    from transferability.training.tracking import ready

    study = load_study(experiment)
    if file is None and ready("online") != "online":
        raise Refused("W&B cannot be reached; write the dashboard with --file, or try again")
    print(save_dashboard(study, file))


# ------------------------------------------------------------------------------------------ a cluster


@app.command()
def submit(
    experiment: ExperimentFile,
    only: Only = None,
    fleet_size: FleetSize = None,
    devices: Annotated[int, typer.Option(min=1, help="GPUs of one fleet on each of its nodes.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes of one fleet.")] = 1,
    max_parallel: Annotated[
        int | None, typer.Option(min=1, help="Elements of one array at once.", show_default="no limit")
    ] = None,
    time: Annotated[str, typer.Option(help="Time limit of an element, as 24:00:00.")] = "",
    partition: Annotated[str, typer.Option(help="SLURM partition.")] = "",
    account: Annotated[str, typer.Option(help="SLURM account.")] = "",
    sbatch_option: Annotated[
        list[str] | None, typer.Option(help="Any other option of sbatch, as --qos=high; may be repeated.")
    ] = None,
    wandb: Wandb = "disabled",
    wandb_artifacts: WandbArtifacts = False,
    resident: Resident = "auto",
    form: Form = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the sbatch commands, submit nothing.")] = False,
) -> None:
    """Submit all that is not done to SLURM: bases, what copies from them, then the results. See slurm/site.sh."""
    from transferability.launch.local import refuse_form
    from transferability.launch.slurm import Options
    from transferability.launch.slurm import submit as submit_study
    from transferability.study import load_study
    from transferability.training.tracking import ready

    refuse_form(form, True, devices * nodes)
    ready(wandb)
    training: tuple[str, ...] = (f"--wandb={wandb}",) if wandb != "disabled" else ()
    training += ("--wandb-artifacts",) if wandb_artifacts else ()
    training += (f"--resident={resident}",) if resident != "auto" else ()
    training += (f"--form={form}",) if form != "auto" else ()

    options = Options(
        devices, nodes, fleet_size, max_parallel, time, partition, account, tuple(sbatch_option or ()), training
    )
    submit_study(load_study(experiment), experiment, only or (), options, dry_run, _console())


@app.command()
def claims(
    results_csv: Annotated[Path | None, typer.Argument(metavar="[RESULTS.csv]", help="One's own results.")] = None,
    csv: Csv = False,
) -> None:
    """The paper's claims: its value, the value recomputed from its networks, one's own, and a verdict."""
    from transferability.results.claims import claims_table, print_claims
    from transferability.results.table import read_results

    own = None if results_csv is None else read_results(results_csv)
    if csv:
        claims_table(own).to_csv(sys.stdout, index=False, lineterminator="\n")
    else:
        print_claims(own)


def main() -> None:
    """Entry point: what is refused is one line on standard error and exit code 2."""
    print_any_character()
    # A reader that has seen enough (`| head`) is no error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        app()
    except (Refused, OSError) as error:  # a full disk, a folder of somebody else's
        if isinstance(error, OSError) and error.filename is None:
            raise
        print(f"transferability: {in_words(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

"""The command line: one program, `transferability`. Each command does little more than call its module.

Here, and nowhere below, the environment says where packed sets and runs lie.
"""

import functools
import gc
import inspect
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from transferability import __version__
from transferability.files import Refused, in_words, lacks_training, print_any_character
from transferability.runs.machine import (
    Machine,
    default_workers,
    follow_launcher,
    gpus,
    refuse_form,
    set_thread_defaults,
    settle_rank,
)
from transferability.runs.paths import StudyFolder, data_root, study_folder

app = typer.Typer(
    name="transferability",
    help="How transferable are the features of layer n? Trains the networks of Yosinski et al. 2014, and beyond.",
    epilog="Start with `transferability pack demo data/demo` and `transferability run experiments/demo.py`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

# What many commands take, said once.
ExperimentFile = Annotated[
    Path,
    typer.Argument(metavar="EXPERIMENT", help="Experiment file, as experiments/demo.py; FILE:NAME: one of its studies"),
]
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
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")]


def _when(word: str) -> str:
    if word not in ("auto", "yes", "no"):
        raise Refused(f"--resident {word}: write auto, yes or no")
    return word


def _machine(
    *,
    accelerator: Annotated[str, typer.Option(help="cpu, gpu or auto.")] = "auto",
    devices: Annotated[
        int,
        typer.Option(
            "--devices",
            "--devices-per-fleet",
            min=1,
            help="GPUs (or processes on cores) of each node that train one fleet together, by DDP.",
        ),
    ] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes that train one fleet together; needs SLURM.")] = 1,
    checkpoint_minutes: Annotated[float, typer.Option(min=0, help="How much work a kill may cost.")] = 10.0,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Keep the final weights of every network, not of bases alone.")
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="PATTERN", help="Keep those of networks like this too; may be repeated."),
    ] = None,
    wandb: Wandb = "disabled",
    wandb_artifacts: Annotated[
        bool, typer.Option("--wandb-artifacts", help="With --wandb: the bases' weights as artifacts, too.")
    ] = False,
    resident: Annotated[
        str,
        typer.Option(
            "--resident",
            metavar="WHEN",
            callback=_when,
            help="Images in device memory: yes, no, auto (if a GPU has room).",
        ),
    ] = "auto",
    form: Annotated[
        str,
        typer.Option(
            "--form",
            metavar="FORM",
            help="How a step is computed: plain, ungrouped, graph, ungrouped+graph; auto tries them on a GPU.",
        ),
    ] = "auto",
) -> Machine:
    return Machine(
        accelerator=accelerator,
        devices=devices,
        nodes=nodes,
        checkpoint_minutes=checkpoint_minutes,
        keep_weights=keep_weights,
        keep=tuple(keep or ()),
        wandb=wandb,
        wandb_artifacts=wandb_artifacts,
        resident=resident,
        form=form,
    )


def _takes_machine(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `_machine`, and hands their values to it as one `machine`."""
    own, options = inspect.signature(command), inspect.signature(_machine).parameters

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        machine = _machine(**{name: values.pop(name) for name in options})
        command(**values, machine=machine)

    parameters = [parameter for name, parameter in own.parameters.items() if name != "machine"]
    parameters += options.values()
    with_options.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


def _for_each_study(command: Callable[..., None], prepare: Callable[[], object] = lambda: None) -> Callable[..., None]:
    """Hands the study of the experiment file to a command; each of several, one after the other.

    prepare: is called before the file is run, which may load torch.
    """
    own = inspect.signature(command)

    @functools.wraps(command)
    def with_each(experiment: Path, **options: Any) -> None:
        from transferability.study import load_studies

        prepare()
        studies = load_studies(experiment)
        if len(studies) == 1:
            return command(experiment=experiment, **options, study=studies[0])
        code = 0
        for study in studies:
            print(f"{study.name}:", file=sys.stderr)
            try:
                command(experiment=Path(f"{experiment}:{study.name}"), **options, study=study)
            except typer.Exit as end:
                code = max(code, end.exit_code)
            except Refused as error:  # the others are not lost with it
                print(f"transferability: {study.name}: {error}", file=sys.stderr)
                code = 2
        raise typer.Exit(code)

    parameters = [parameter for name, parameter in own.parameters.items() if name != "study"]
    with_each.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_each.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_each


class _Console(Console):
    """A console whose reader may leave: training goes on, in silence."""

    def on_broken_pipe(self) -> None:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _console() -> Console:
    return Console(highlight=False)


def _output_width() -> int | None:
    """The width for a console that prints tables: None, the terminal's or $COLUMNS; a pipe or a file has no limit."""
    return None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else 10_000


def _say(console: Console) -> Callable[[str], None]:
    return lambda line: console.print(line, soft_wrap=True, markup=False)


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
            help="A folder, zip or tar with one folder per class, perhaps within train/ and val/ or within one folder "
            "per domain; a CSV table of paths and labels; Caltech-101, CIFAR, Flowers, ILSVRC 2012, MNIST, Office, "
            "PACS, PASCAL VOC, SVHN, Tiny ImageNet or USPS as it is downloaded; or the words demo or demo-domains."
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
    layout: Annotated[
        str | None,
        typer.Option(help="What the outer of nested folders are: classes or domains.", show_default="as they look"),
    ] = None,
    over: Annotated[
        Path | None,
        typer.Option(help="Folder or zip of photographs: each picture is laid over a patch of one (MNIST-M)."),
    ] = None,
    least: Annotated[
        int, typer.Option(min=1, help="Leave out classes that fewer training pictures have, as rare words of captions.")
    ] = 1,
    network: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="NETWORK",
            help="Size, crop or squashing and filter as published weights want them: torchvision:resnet18, timm:NAME; "
            "--size may differ.",
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="all cores")] = None,
) -> None:
    """Pack pictures into one memory-mapped set, once for all studies. Safe to interrupt and run again."""
    from transferability.data.pack import Options
    from transferability.data.pack import pack as pack_images
    from transferability.data.packed import describe

    options = Options(size, not centre_crop, skip_unreadable, workers, groups, layout, over=over, least=least)
    if network is not None:
        from transferability.trained.published import images_for

        wanted = images_for(network)
        options = replace(options, size=size or wanted.resize, squash=wanted.squash, resampling=wanted.resampling)
    print(describe(pack_images(source, destination, options)))


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
    from transferability.data.packed import known_classes
    from transferability.splits import split_tasks, task_classes
    from transferability.study import load_study

    study = load_study(experiment)
    split_tasks(split, study.splits)  # refused here
    folder = data_root() / study.part(split, task).data
    table = known_classes(folder)
    if table is None:
        raise Refused(f"the classes of {folder} are known only once it is packed: transferability pack SOURCE {folder}")
    rows = [
        (index, label, table[index].id, table[index].name, table[index].group)
        for label, index in enumerate(task_classes(table, split, task, study.splits).tolist())
    ]
    columns = ("index", "label", "id", "name", "group")
    if csv:
        _print_csv(columns, rows)
        return
    shown = Table(*columns, title=f"{folder.name}: {split}, task {task}, {len(rows)} classes", box=None)
    for row in rows:
        shown.add_row(*map(str, row))
    _console().print(shown)


@app.command()
def layers(
    network: Annotated[
        str,
        typer.Argument(metavar="NETWORK", help="caffenet, cnn-f, torchvision:NAME, timm:NAME, or an experiment file."),
    ],
    crop: Annotated[
        int | None, typer.Option(min=1, help="Side of its input, in pixels.", show_default="the experiment's, or 224")
    ] = None,
    points: Annotated[bool, typer.Option("--points", help="Cut at every point, not into blocks.")] = False,
    classes: Annotated[int, typer.Option(min=1, help="Number of its outputs.")] = 1000,
    batch: Annotated[int, typer.Option(min=1, help="Images at once, for the times.")] = 8,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the table here, too.")] = None,
) -> None:
    """List the layers of a network: n, name, output, parameters, operations, and the time on this machine."""
    set_thread_defaults()  # before torch loads
    from transferability.launch.layers import network_of, table, timed_layers, write_csv

    timed = timed_layers(network_of(network, crop, points), classes, batch)
    print("\n".join(table(timed)))
    if csv is not None:
        write_csv(csv, timed)
        print(csv)


# ------------------------------------------------------------------------------------------ training


@app.command()
@_for_each_study
def plan(
    experiment: ExperimentFile,
    only: Only = None,
    fleet_size: FleetSize = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Train each kind of fleet for a few steps; print what the study takes.")
    ] = False,
    measure_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Images per step for that.", show_default="the recipe's; fewer on a CPU"),
    ] = None,
    csv: Csv = False,
    *,
    study: Any,
) -> None:
    """List the networks of a study: stage, fleet, split, network, source, target, n, seed; and what it will take."""
    from transferability.launch.plan import COLUMNS, listing, reading, totals, trouble
    from transferability.runs.status import aligned
    from transferability.study import fleets

    chosen = study.select(only or ())
    divided = fleets(chosen, fleet_size)
    if measure:
        _measure(study, divided, measure_batch, csv)
        return
    rows = listing(divided)
    if csv:
        _print_csv(COLUMNS, rows)
        return
    print("\n".join(aligned([COLUMNS, *(tuple(map(str, row)) for row in rows)])) + "\n")
    for line in [*totals(study, chosen, divided), *reading(study, study_folder(study.name), data_root(), chosen)]:
        _console().print(line)
    if warning := trouble(study, study_folder(study.name), data_root(), chosen):
        print(f"not ready: {warning}", file=sys.stderr)


def _measure(study: Any, divided: Sequence[Any], batch: int | None, csv: bool) -> None:
    set_thread_defaults()  # before torch loads
    from transferability.launch.measure import COLUMNS, measure_study, print_measured, table
    from transferability.training.trainer import quiet

    quiet()
    measured = measure_study(study, divided, data_root(), batch, Console(stderr=True))
    if csv:
        _print_csv(COLUMNS, table(measured))
    else:
        print_measured(measured, (data_root() / study.data / "manifest.json").exists(), _console())


def _which(
    study: Any,
    fleet: int | None,
    names: list[str] | None,
    divided: Sequence[Any],
    submission: tuple[Path | None, int | None],
) -> Sequence[Any]:
    """The networks that `train` is asked for. divided: the fleets that --fleet counts."""
    file, number = submission
    if file is not None and number is not None:
        from transferability.launch.slurm import task_networks

        return task_networks(study, file, number)
    if fleet is not None:
        if fleet >= len(divided):
            raise Refused(f"study {study.name!r} has fleets 0 … {len(divided) - 1}; there is no fleet {fleet}")
        return divided[fleet].networks  # type: ignore[no-any-return]
    if names:
        return study.select(names)  # type: ignore[no-any-return]
    raise Refused("say which: --fleet 3 (`transferability plan` lists them) or --network random-0/A3B+")


@app.command()
@_takes_machine
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
    *,
    machine: Machine,
) -> None:
    """Train one fleet, from its last checkpoint if it has one. Finished networks are kept."""
    # The signal before a time limit, which slurm/fleet.sbatch hands on.
    preempted = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: preempted.set())
    first = settle_rank(machine.devices, machine.nodes)  # before torch loads
    follow_launcher()
    refuse_form(machine.form, machine.accelerator != "cpu", machine.processes)  # whether there is a GPU, is seen later
    from transferability.study import fleets, load_study
    from transferability.training.tracking import nothing_new, ready

    machine = replace(machine, wandb=ready(machine.wandb))
    study = load_study(experiment)
    study.select(machine.keep)  # refused here, not at the end of training
    divided = fleets(study.select(only or ()), fleet_size)
    chosen = _which(study, fleet, network, divided, (submission, element))
    if first:
        nothing_new(chosen, study_folder(study.name), experiment, machine.wandb)
    if not _train_here(study, chosen, machine, first, preempted):
        raise typer.Exit(1)


def _train_here(study: Any, chosen: Sequence[Any], machine: Machine, first: bool, preempted: threading.Event) -> bool:
    """Trains `chosen` in this process; whether all of it is done. first: of the processes that train together."""
    from transferability.data.tasks import Tasks
    from transferability.launch.local import Job, ThisProcess, train_pending
    from transferability.launch.slurm import leave_reason, refuse_diverged
    from transferability.runs.fit import refuse_mismatches
    from transferability.runs.ledger import is_done, pending, refuse_untrained, tidy, with_sources
    from transferability.runs.status import remarks

    folder, say = study_folder(study.name), _say(_Console(highlight=False)) if first else lambda line: None
    try:
        refuse_mismatches(study, folder, chosen, Tasks(study, data_root()))
    except Refused as error:
        with suppress(OSError, Refused):  # what is raised here counts
            leave_reason(study, folder, chosen, str(error))  # for `status`: nobody reads the logs of 300 tasks
        raise
    if first:
        tidy(folder)
        sources = [source for source in with_sources(study, chosen) if source not in chosen]
        for line in remarks(study, folder, sources):
            say(line)
    waiting = pending(study, folder, chosen, None)
    if waiting:
        from transferability.training.checkpoint import Preempted
        from transferability.training.trainer import quiet

        quiet()
        job = Job(study, folder, data_root(), machine)
        try:
            left = train_pending(job, waiting, ThisProcess(job, say, first, preempted), say)
        except Preempted as error:
            say(f"{error}; run the same command again to go on")
            return False
        refuse_untrained(folder, left)
    refuse_diverged(study, folder, chosen)
    done = sum(is_done(folder, member.name) for member in chosen)
    say(f"{done} of {len(chosen)} networks are done")
    return done == len(chosen)


@app.command()
@_takes_machine
@partial(_for_each_study, prepare=set_thread_defaults)  # for the workers
def run(
    experiment: ExperimentFile,
    only: Only = None,
    fleet_size: FleetSize = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Fleets at once.", show_default="one per core or GPU")
    ] = None,
    dry_run_steps: Annotated[
        int | None, typer.Option(min=1, help="Only try: so many steps of every network, in a temporary folder.")
    ] = None,
    dry_run_batch: Annotated[int, typer.Option(min=1, help="Images per step, and in validation, of a dry run.")] = 8,
    *,
    machine: Machine,
    study: Any,
) -> None:
    """Train all that is not done, bases first, on this machine; then collect the results."""
    from transferability.data.packed import verify_at_first_use
    from transferability.data.tasks import Tasks
    from transferability.launch.local import Job, run_study
    from transferability.runs.features import room
    from transferability.runs.fit import refuse_mismatches
    from transferability.runs.ledger import fleet_size as size_for
    from transferability.runs.ledger import pending, tidy, with_sources
    from transferability.training.tracking import nothing_new, ready

    if machine.nodes > 1:
        raise Refused(f"--nodes {machine.nodes}: `run` trains on this machine alone; several nodes need `submit`")
    refuse_form(machine.form, bool(gpus(machine.accelerator)), machine.devices)
    machine = replace(machine, wandb=ready(machine.wandb))
    console = _Console(highlight=False)
    chosen = study.select(only or ())
    study.select(machine.keep)  # refused here, not at the end of training
    tasks = Tasks(study, data_root())
    for name in study.data_sets:
        verify_at_first_use(tasks.packed(name))  # refused here, not in every worker
    number = workers or default_workers(machine.accelerator, machine.devices)
    if dry_run_steps is not None:
        raise typer.Exit(_dry_run(study, chosen, machine, (dry_run_steps, dry_run_batch), (number, fleet_size)))
    folder = study_folder(study.name)
    refuse_mismatches(study, folder, chosen, tasks)
    if size := room(study, folder, chosen, tasks):
        console.print(size, soft_wrap=True)
    needed = with_sources(study, chosen)
    tidy(folder)
    nothing_new(chosen, folder, experiment, machine.wandb)
    most = fleet_size if fleet_size is not None else size_for(needed, number)
    waiting = pending(study, folder, needed, most)
    done = run_study(Job(study, folder, data_root(), machine), needed, waiting, number, console)
    _collect(study, chosen, folder)
    if not done:
        raise typer.Exit(1)


def _dry_run(
    study: Any,
    chosen: Sequence[Any],
    machine: Machine,
    steps_and_batch: tuple[int, int],
    workers_and_size: tuple[int, int | None],
) -> int:
    """Trains a few steps of every network in a temporary folder; the exit code."""
    from transferability.data.tasks import Tasks
    from transferability.launch.local import Job, run_study
    from transferability.runs.fit import shortened
    from transferability.runs.ledger import fleet_size, is_done, pending, with_sources

    steps, batch = steps_and_batch
    workers, size = workers_and_size
    names, console = {network.name for network in chosen}, _Console(highlight=False)
    short = shortened(study, steps, batch, Tasks(study, data_root()))
    pairs = zip(study.networks, short.networks, strict=True)
    needed = with_sources(short, [network for original, network in pairs if original.name in names])
    machine = replace(machine, wandb="disabled", most_validated=batch)
    with tempfile.TemporaryDirectory(prefix="transferability-dry-run-") as place:
        folder = StudyFolder(Path(place))
        waiting = pending(short, folder, needed, size if size is not None else fleet_size(needed, workers))
        done = run_study(Job(short, folder, data_root(), machine), needed, waiting, workers, console)
        tried = sum(is_done(folder, network.name) for network in short.networks)
    console.print(f"dry run: {tried} of {len(study.networks)} networks can be trained; nothing was kept")
    return 0 if done else 1


# ------------------------------------------------------------------------------------------ results


def _collect(study: Any, chosen: Sequence[Any], folder: StudyFolder, form: str = "text") -> None:
    """Writes the tables of the whole study; prints the summary of `chosen`, and what is missing of it.

    form: text; or csv or latex, on standard output: all else then goes to standard error.
    """
    from transferability.results.collect import collect

    # What the summary needs is loaded while other processes read: it takes as long as the reading.
    missing = collect(study, folder, meanwhile=partial(import_module, "transferability.results.show"))

    from transferability.names import in_spans
    from transferability.results.answers import sentences
    from transferability.results.show import OVERLAP, latex, print_note, print_table
    from transferability.results.statistics import networks, summary
    from transferability.results.table import full_names, read_results

    results = read_results(folder.results)
    names = {network.name for network in chosen}
    # With the bases, which differences are paired with.
    bases = {network.name for network in study.networks if network.stage == 0}
    shown = results.loc[[name in names or name in bases for name in full_names(results)]]
    console = _Console(highlight=False, stderr=form != "text", width=_output_width())
    say = _say(console)
    if form == "csv":
        summary(shown).to_csv(sys.stdout, index=False, lineterminator="\n")
    elif form == "latex":
        sys.stdout.write(latex(shown))
    elif len(shown):
        print_table(shown, console=console)
        if study.validation is not None:
            print_note(console, OVERLAP)
    if len(results):
        say(f"\nresults: {folder.results}\ncurves:  {folder.curves}")
    for line in in_spans(name for name in missing if name in names):
        say(f"missing: {line}")
    say(f"{len(results)} of {len(study.networks)} networks are done")
    for sentence in ["", *sentences(networks(shown))] if len(shown) else ():
        print_note(console, sentence)


@app.command()
@_for_each_study
def results(
    experiment: ExperimentFile,
    only: Only = None,
    csv: Csv = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print the summary as LaTeX (booktabs).")] = False,
    *,
    study: Any,
) -> None:
    """Collect results.csv and curves.csv, name every missing network, print the summary (--csv: all its columns)."""

    if csv and latex:
        raise Refused("--csv --latex: write one of them")
    form = "csv" if csv else "latex" if latex else "text"
    _collect(study, study.select(only or ()), study_folder(study.name), form)
    if "triton" not in sys.modules:  # its objects have to be released, or it prints thirty lines about leaks
        gc.freeze()  # nothing is left to do: 10,000 networks need not be looked through for cycles before the end


@app.command()
@_for_each_study
def status(
    experiment: ExperimentFile,
    only: Only = None,
    everything: Annotated[bool, typer.Option("--all", help="Every line, however many.")] = False,
    csv: Csv = False,
    *,
    study: Any,
) -> None:
    """What is done, running, waiting, missing, blocked, failed, and why; and SLURM's queue where there is one."""
    from transferability.runs.status import print_status, statuses

    chosen, folder = study.select(only or ()), study_folder(study.name)
    if csv:
        rows = [
            (status.network.name, status.state, status.detail, "yes" if status.has_weights else "")
            for status in statuses(study, folder, chosen)
        ]
        _print_csv(("network", "state", "detail", "weights"), rows)
        return
    print_status(study, folder, chosen, _console(), everything)


@app.command()
@_for_each_study
def report(
    experiment: ExperimentFile,
    wandb: Wandb = "disabled",
    every: Annotated[
        float | None, typer.Option(min=0.1, metavar="MINUTES", help="Again and again, until the study is over.")
    ] = None,
    *,
    study: Any,
) -> None:
    """Write report.html, one page that needs nothing else, and with --wandb the study's own run."""
    from transferability.report.dashboard import track_study
    from transferability.report.gather import gather
    from transferability.report.page import write_page
    from transferability.training.tracking import ready

    mode = ready(wandb)
    say = _say(_console())
    while True:
        gathered = gather(study, study_folder(study.name))
        for line in [*gathered.not_drawn, str(write_page(gathered))]:
            say(line)
        if mode != "disabled":
            track_study(gathered, mode)
        if every is None or gathered.is_over:
            return
        time.sleep(60 * every)


@app.command()
def export(
    experiment: ExperimentFile,
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="Its full name, as random-0/A3B+.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to write: FILE.safetensors or FILE.onnx.")],
) -> None:
    """Write a trained network to a file, with classes and preprocessing; `status` says which have weights."""
    from transferability.study import load_study
    from transferability.trained.export import export as export_network
    from transferability.trained.network import load_network

    study = load_study(experiment)
    print(export_network(load_network(study, network, study_folder(study.name), data_root()), file))


@app.command()
def features(
    experiment: ExperimentFile,
    network: Annotated[str, typer.Argument(metavar="NETWORK", help="Full name of a readout, as random-0/A3B@svm.")],
    file: Annotated[Path, typer.Argument(metavar="OUT", help="What to write: OUT.npz.")],
) -> None:
    """Write the features that a readout reads, with their labels; computes them if they are not there."""
    set_thread_defaults()  # before torch loads
    from transferability.study import load_study
    from transferability.trained.network import find_network
    from transferability.training.features import write_features

    study = load_study(experiment)
    print(write_features(study, find_network(study, network), study_folder(study.name), data_root(), file))


@app.command()
@_for_each_study
def track(experiment: ExperimentFile, only: Only = None, wandb: Wandb = "offline", *, study: Any) -> None:
    """Make W&B runs of finished networks from their result.json, if they were trained without --wandb."""
    from transferability.training import tracking

    mode = tracking.ready(wandb)
    if mode == "disabled":
        raise Refused("--wandb disabled makes no runs: write offline or online")
    print(tracking.track(study, study.select(only or ()), study_folder(study.name), mode))


@app.command()
def dashboard(
    experiment: ExperimentFile,
    file: Annotated[Path | None, typer.Option(help="Write it here instead; needs no login.")] = None,
) -> None:
    """Save the study's W&B dashboard: a section for each split, single networks, throughput, failures."""
    from transferability.report.dashboard import save_dashboard
    from transferability.study import load_study
    from transferability.training.tracking import ready_for_dashboard

    study = load_study(experiment)
    if file is None:
        ready_for_dashboard()
    print(save_dashboard(study, file))


# ------------------------------------------------------------------------------------------ ask


@app.command()
def ask(
    pictures: Annotated[str, typer.Argument(metavar="PICTURES", help="What `pack` takes: a folder per class, a zip.")],
    network: Annotated[
        list[str] | None,
        typer.Option(help="torchvision:NAME or timm:NAME; may be repeated.", show_default="torchvision:resnet18"),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="Of each network: a file, package:NAME, or an entry of torchvision or timm.", show_default="usual"
        ),
    ] = None,
    mean: Annotated[
        list[str] | None,
        typer.Option(help="With weights from a file: of each channel, 0 to 255, as 123,117,104; one, or of each."),
    ] = None,
    std: Annotated[list[str] | None, typer.Option(help="Likewise.")] = None,
    in_order: Annotated[
        bool, typer.Option("--in-order", help="The file has other names, and the tensors in the same order.")
    ] = False,
    minutes: Annotated[float, typer.Option(min=0.1, help="All together; more of them go on from what is there.")] = 30,
    size: Annotated[
        int | None, typer.Option(min=8, help="Side that the networks see, in pixels.", show_default="as time allows")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the experiment file.", show_default="the pictures'")] = "",
    onnx: Annotated[bool, typer.Option("--onnx", help="Also write best.onnx.")] = False,
    first_seed: Annotated[int, typer.Option(min=0, help="Another one checks an answer on other draws.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Networks at once.", show_default="one per core or GPU")
    ] = None,
    accelerator: Annotated[str, typer.Option(help="cpu, gpu or auto.")] = "auto",
) -> None:
    """How many layers of a published network serve these pictures? Tries it, and hands over the best."""
    set_thread_defaults()  # before torch loads
    from transferability.ask.asking import Question, slug
    from transferability.ask.asking import ask as ask_about
    from transferability.ask.conclusion import conclude
    from transferability.trained.export import refuse_without_onnx
    from transferability.training.trainer import quiet

    quiet()
    if onnx:
        refuse_without_onnx()
    called = slug(name or Path(pictures).stem)
    machine = Machine(accelerator=accelerator, keep=(f"*/seed-{first_seed}",), checkpoint_minutes=1.0)
    question = Question(
        pictures,
        called,
        _asked_networks(network or ["torchvision:resnet18"], weights or [], mean or [], std or [], in_order),
        minutes,
        size,
        Path("experiments") / "asked" / f"{called.replace('-', '_')}.py",
        study_folder,
        data_root(),
        machine,
        workers or default_workers(accelerator, 1),
        first_seed,
    )
    console = _Console(highlight=False, stderr=True)
    try:
        asking = ask_about(question, _say(console), console)
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        raise
    print(conclude(asking, onnx))


def _asked_networks(
    networks: Sequence[str], weights: Sequence[str], means: Sequence[str], stds: Sequence[str], in_order: bool
) -> list[tuple[str, Any]]:
    """Each network with what its weights are. Refused: another number of weights or means, no numbers."""
    from transferability.ask.asking import published
    from transferability.launch.layers import network_of

    if weights and len(weights) != len(networks):
        raise Refused(f"{len(networks)} --network and {len(weights)} --weights: write one of each for every network")
    mean, std = _of_each(networks, "--mean", means), _of_each(networks, "--std", stds)
    names = "order" if in_order else "names"
    asked = []
    for i, (network, where) in enumerate(zip(networks, weights or networks, strict=True)):
        if ":" not in network:
            network_of(network, 64, False)  # refused, with the nearest names
            raise Refused(f"--network {network}: write torchvision:NAME or timm:NAME, of which there are weights")
        asked.append((network, published(network, where, mean[i], std[i], names)))
    return asked


def _of_each(networks: Sequence[str], option: str, texts: Sequence[str]) -> list[tuple[float, ...]]:
    """The numbers of an option for each network. Refused: neither one nor one of each, no numbers."""
    if len(texts) not in (0, 1, len(networks)):
        raise Refused(f"{len(networks)} --network and {len(texts)} {option}: write one, or one of each")
    each = list(texts) if len(texts) == len(networks) else [*texts, ""][:1] * len(networks)
    try:
        return [tuple(float(part) for part in text.split(",") if part) for text in each]
    except ValueError:
        raise Refused(f"{option} {' '.join(texts)}: write three numbers, as 123,117,104") from None


@app.command()
def predict(
    best: Annotated[Path, typer.Argument(metavar="BEST", help="best.safetensors, as `ask` or `export` writes it.")],
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="Pictures of any size.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes.")] = 3,
    csv: Csv = False,
) -> None:
    """The likeliest classes of pictures, each with its probability."""
    set_thread_defaults()  # before torch loads
    from transferability.ask.best import load

    predictor, rows = load(best), []
    for picture in pictures:
        (likeliest,) = predictor.likeliest([picture], top)
        rows.append((str(picture), *(value for name, share in likeliest for value in (name, f"{share:.3f}"))))
    if csv:
        width = max(len(row) for row in rows) // 2
        _print_csv(("picture", *(head for i in range(width) for head in (f"class_{i + 1}", f"share_{i + 1}"))), rows)
        return
    for picture_name, *shares in rows:
        pairs = zip(shares[::2], shares[1::2], strict=True)
        print(f"{picture_name}: {', '.join(f'{name} {100 * float(share):.0f} %' for name, share in pairs)}")


# ------------------------------------------------------------------------------------------ a cluster


@app.command()
@_takes_machine
@_for_each_study
def submit(
    experiment: ExperimentFile,
    only: Only = None,
    fleet_size: FleetSize = None,
    max_parallel: Annotated[
        int | None, typer.Option(min=1, help="Tasks of one array at once.", show_default="no limit")
    ] = None,
    time_limit: Annotated[str, typer.Option("--time", help="Time limit of an array task, as 24:00:00.")] = "",
    partition: Annotated[str, typer.Option(help="SLURM partition.")] = "",
    account: Annotated[str, typer.Option(help="SLURM account.")] = "",
    sbatch_option: Annotated[
        list[str] | None, typer.Option(help="Any other option of sbatch, as --qos=high; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the sbatch commands, submit nothing.")] = False,
    *,
    machine: Machine,
    study: Any,
) -> None:
    """Submit all that is not done to SLURM: bases, what copies from them, then the results. See slurm/site.sh."""
    from transferability.launch.slurm import Options, Printer
    from transferability.launch.slurm import submit as submit_study
    from transferability.training.tracking import ready

    refuse_form(machine.form, True, machine.processes)
    ready(machine.wandb)
    others = tuple(sbatch_option or ())
    study.select(machine.keep)  # refused here, not at the end of training
    options = Options(machine, fleet_size, max_parallel, time_limit, partition, account, others)
    printer = Printer(_console(), dry_run)
    submit_study(study, study_folder(study.name), data_root(), experiment, only or (), options, printer)


@app.command()
def claims(
    results_csv: Annotated[
        list[Path] | None, typer.Argument(metavar="[RESULTS.csv...]", help="One's own results; several with --taught.")
    ] = None,
    is_taught: Annotated[
        bool, typer.Option("--taught", help="What is taught about transfer, in place of the paper's claims.")
    ] = False,
    csv: Csv = False,
) -> None:
    """The paper's claims: its value, the value recomputed from its networks, one's own, and a verdict."""
    from transferability.results.claims import claims_table, print_claims
    from transferability.results.table import read_results

    tables = [read_results(path) for path in results_csv or ()]
    console = Console(highlight=False, width=_output_width())
    if is_taught:
        _taught_claims(tables, csv, console)
        return
    if len(tables) > 1:
        raise Refused("the paper's claims are judged on one results.csv; with --taught on several")
    own = tables[0] if tables else None
    if csv:
        claims_table(own).to_csv(sys.stdout, index=False, lineterminator="\n")
    else:
        print_claims(own, console)


def _taught_claims(tables: list[Any], csv: bool, console: Console) -> None:
    """Prints what is taught, judged on the networks of all tables."""
    from transferability.results.statistics import networks_of_several
    from transferability.results.taught import print_taught, taught_table

    rows = networks_of_several(tables)
    if csv:
        taught_table(rows).to_csv(sys.stdout, index=False, lineterminator="\n")
    else:
        print_taught(rows, console)


def main() -> None:
    """Entry point: a refusal is one line on standard error and exit code 2.

    SIGPIPE stays ignored, as Python has it: by default it would end a process that trains as soon as whoever is at the
    other end of any of its sockets is gone. A reader that leaves (`| head`) ends what prints with code 1 (click, rich).
    """
    print_any_character()
    if not os.environ.get("COLUMNS", "80").strip("0"):
        del os.environ["COLUMNS"]  # 0, as some launchers set it, is no width
    try:
        app()
    except (Refused, OSError, ImportError) as error:  # OSError: a full disk, another user's folder
        if isinstance(error, ImportError) and not lacks_training(error):
            raise
        print(f"transferability: {in_words(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

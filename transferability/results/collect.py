"""Which networks are done, and what came of them? Their result.json files become results.csv and curves.csv.

Nothing here needs torch or pandas.
"""

import itertools
import multiprocessing
from collections.abc import Callable
from operator import itemgetter
from typing import NamedTuple

import orjson

from transferability import available_cores
from transferability.files import Missing, Refused, refusing_damage
from transferability.interrupts import without_ctrl_c
from transferability.results.table import COLUMNS, CURVES, lines_of, write_lines
from transferability.runs.ledger import refuse_difference
from transferability.runs.paths import StudyFolder
from transferability.runs.result import Result, read_result
from transferability.study import Study, record, recorded_checksums
from transferability.treatment import parse

CELLS = itemgetter(*COLUMNS)
AGAIN = "move it away to train that network again"
NETWORKS_PER_PROCESS = 1000  # for fewer, another process is not worth its start


class Part(NamedTuple):
    """What a range of a study's networks adds to the tables."""

    results: str  # lines of results.csv
    curves: str  # lines of curves.csv
    missing: list[str]  # full names of the networks without a result


def collect(study: Study, folder: StudyFolder, meanwhile: Callable[[], object] = lambda: None) -> list[str]:
    """Gathers the study's result.json files into results.csv and curves.csv; the full names of what is missing.

    meanwhile: is called once, while other processes read if there are so many networks that others help.
    A result that cannot be read, or is of another recipe than the study's, is Refused by name; the tables are
    then not touched.
    """
    count = len(study.networks)
    processes = max(1, min(available_cores(), count // NETWORKS_PER_PROCESS))
    edges = [i * count // processes for i in range(processes + 1)]
    ranges = list(itertools.pairwise(edges))
    if processes == 1:
        meanwhile()
        parts = [_read(study, folder, *ranges[0])]
    else:
        readers = [_start_reader(study, folder, start, stop) for start, stop in ranges]
        meanwhile()
        outcomes = [receive() for receive in readers]  # of all of them, whatever one has met
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        parts = [outcome for outcome in outcomes if isinstance(outcome, Part)]
    write_lines(folder.results, COLUMNS, (part.results for part in parts))
    if any(part.curves for part in parts):
        write_lines(folder.curves, CURVES, (part.curves for part in parts))
    return [name for part in parts for name in part.missing]


def _start_reader(study: Study, folder: StudyFolder, start: int, stop: int) -> Callable[[], Part | Exception]:
    """Starts a process that calls `_read`. Returns a function that waits for it and returns its part or exception."""
    # Forked: the study is there already, and nothing is imported again.
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)

    def read() -> None:
        try:
            sender.send(_read(study, folder, start, stop))
        except Exception as error:
            sender.send(error)

    process = fork.Process(target=read, daemon=True)
    with without_ctrl_c():  # it is for the command, which takes its readers with it
        process.start()
    sender.close()

    def receive() -> Part | Exception:
        try:
            return receiver.recv()  # type: ignore[no-any-return]
        except EOFError:
            return Refused(
                f"a process that read the results in {folder.root} was killed; is there memory enough? Run the same "
                "command again"
            )
        finally:
            process.join()

    return receive


def _read(study: Study, folder: StudyFolder, start: int, stop: int) -> Part:
    """What the study's networks start … stop - 1 add to the tables."""
    rows: list[tuple[object, ...]] = []
    curves, missing = [], []
    for network in study.networks[start:stop]:
        file = folder.result(network.name)
        try:
            result = read_result(file)
        except Missing:
            missing.append(network.name)
            continue
        said = (result.name, result.split, result.network, result.seed)
        if said != (network.name, network.split, network.short_name, network.seed):
            raise Refused(f"{file} is not the result of {network.name}; {AGAIN}")
        with refusing_damage(file, AGAIN):
            # Whatever set it was trained on (it need not be here to draw figures), however its weights were drawn.
            now = record(study, network, recorded_checksums(study, network, result.record), result.record.get("draws"))
            refuse_difference(network.name, file, result.record, now)
            rows.append(_row(result))
            curves.append(_curve(result))
    return Part(lines_of(rows), "".join(curves), missing)


def _row(result: Result) -> tuple[object, ...]:
    """The cells of a result in results.csv."""
    derived = {
        "rule": parse(result.network.partition("@")[0]).rule,
        "recipe": result.recipe["name"],
        "surrogate": result.recipe.get("surrogate", ""),
        "validations": sum(step > 0 for step in result.series["step"]),
        "git_commit": result.provenance["git_commit"],
        "by_class": " ".join(f"{name}={share:.4g}" for name, share in (result.by_class or {}).items()),
    }
    return CELLS({**vars(result), **derived})


def _curve(result: Result) -> str:
    """The lines of a result in curves.csv. No name in a study needs quotes, and orjson is quick to spell numbers."""
    steps, batch = result.series["step"], result.recipe["batch"]
    columns = {**result.series, "images_seen": [step * batch for step in steps]}
    nothing = [None] * len(steps)
    rows = zip(*[columns.get(column, nothing) for column in CURVES[4:]], strict=True)
    numbers = orjson.dumps([*rows]).decode()[2:-2].replace("null", "")
    begin = f"{result.study},{result.split},{result.network},{result.seed},"
    return begin + numbers.replace("],[", "\n" + begin) + "\n" if steps else ""

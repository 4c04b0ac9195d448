"""Which networks are done, and what came of them? Their result.json files become results.csv and curves.csv.

One row of results.csv is one network, one of curves.csv is one of its validations. Nothing here needs torch.
"""

import csv
import io
import itertools
import multiprocessing
import signal
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from transferability import available_cores
from transferability.files import Missing, Refused, read_json, write_atomically
from transferability.runs.paths import study_folder
from transferability.study import Study, difference, record

# The columns of results.csv, in order: text ("" is a value), int, or float (may be empty).
COLUMNS: dict[str, type] = {
    "study": str,
    "split": str,
    "network": str,  # without split and seed: baseA, A3B, A3B+, B3Bp1, R3B, A3B+@250, baseB@long
    "kind": str,  # base, selffer, transfer, random
    "source": str,  # "" for a base
    "target": str,
    "n": int,  # 0 for a base
    "preserved": int,
    "plus": str,  # "" frozen, "1" trained at the full rate, "0.1" at a tenth of it
    "images_per_class": str,  # "" all
    "variant": str,  # "" or a word, e.g. "long"
    "recipe": str,
    "seed": int,
    "val_top1": float,  # final
    "val_top1_best10": float,  # mean of the ten highest; empty below 100 validations
    "val_top5": float,
    "val_loss": float,
    "train_loss": float,
    "train_top1": float,
    "validations": int,
    "steps": int,
    "images_seen": float,
    "seconds": float,
    "images_per_second": float,
    "diverged_at": float,  # step, or empty
    "git_commit": str,
}

# The columns of curves.csv: one row a validation.
CURVES = ["study", "split", "network", "seed"]
CURVES += ["step", "images_seen", "rate", "val_top1", "val_top5", "val_loss", "train_loss", "train_top1", "seconds"]

FEW = 1000  # for fewer results than this another process is not worth starting


def collect(study: Study) -> list[str]:
    """Gathers the study's result.json files into results.csv and curves.csv; the full names of what is missing.

    A result that cannot be read, or is of another recipe than the study's, is Refused by name; the tables are
    then not touched.
    """
    count = len(study.networks)
    processes = max(1, min(available_cores(), count // FEW))
    if processes == 1:
        parts = [_read(study, 0, count)]
    else:
        edges = [i * count // processes for i in range(processes + 1)]
        reading = [_read_beside(study, *part) for part in itertools.pairwise(edges)]
        # Meanwhile, what every caller needs next: it takes as long as the reading.
        import transferability.results.statistics  # noqa: F401

        found = [received() for received in reading]  # all of them, whatever one says
        if wrong := [each for each in found if isinstance(each, Exception)]:
            raise wrong[0]
        parts = [each for each in found if not isinstance(each, Exception)]
    rows, curves, missing = (list(each) for each in zip(*parts, strict=True))
    folder = study_folder(study.name)
    with write_atomically(folder.results, "w") as handle:
        handle.writelines([",".join(COLUMNS) + "\n", *rows])
    if any(curves):
        with write_atomically(folder.curves, "w") as handle:
            handle.writelines([",".join(CURVES) + "\n", *curves])
    return [name for names in missing for name in names]


Part = tuple[str, str, list[str]]


def _read_beside(study: Study, start: int, stop: int) -> Callable[[], Part | Exception]:
    """Starts `_read` in a process of its own. Calling what is returned waits for what it returns or raises."""
    # Forked: the study is there already, and nothing is imported again.
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)

    def read() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which takes its readers with it
        try:
            there.send(_read(study, start, stop))
        except Exception as error:
            there.send(error)

    process = fork.Process(target=read, daemon=True)
    process.start()
    there.close()

    def received() -> Part | Exception:
        try:
            return here.recv()  # type: ignore[no-any-return]
        except EOFError:
            return Refused(
                f"a process that read the results in {study_folder(study.name).root} was killed; is there memory "
                "enough? Run the same command again"
            )
        finally:
            process.join()

    return received


def _read(study: Study, start: int, stop: int) -> Part:
    """(lines of results.csv, lines of curves.csv, names of the missing) of the study's networks start … stop - 1."""
    folder = study_folder(study.name)
    rows, curves, missing = io.StringIO(), [], []
    writer = csv.writer(rows, lineterminator="\n")
    for network in study.networks[start:stop]:
        file = folder.result(network.name)
        try:
            result = read_json(file)
        except Missing:
            missing.append(network.name)
            continue
        try:
            # Whatever set it was trained on (it need not be here to draw figures), however its weights were drawn.
            then = result["record"]
            changed = difference(then, record(study, network, then["data"], then.get("draws")))
            if changed:
                raise Refused(
                    f"{network.name} ({file}): {changed}; name the study differently, or move that folder away to "
                    "train it anew"
                )
            row = result | {
                "recipe": result["recipe"]["name"],
                "validations": len(result["series"]["step"]),
                "git_commit": result["provenance"]["git_commit"],
            }
            writer.writerow([row[column] for column in COLUMNS])  # null: empty
            curves.append(_curve(result))
        except (KeyError, TypeError) as error:
            raise Refused(f"{file} lacks {error}; move it away and train {network.name} again") from None
    return rows.getvalue(), "".join(curves), missing


def _curve(result: Mapping[str, Any]) -> str:
    """The lines of a result in curves.csv. No name in a study needs quotes, and orjson is quick to spell numbers."""
    network, series = [str(result[column]) for column in CURVES[:4]], result["series"]
    count, batch = len(series["step"]), result["recipe"]["batch"]
    columns = {**series, "images_seen": [step * batch for step in series["step"]]}
    lines = zip(*(columns.get(column, [None] * count) for column in CURVES[4:]), strict=True)
    numbers = orjson.dumps([*lines]).decode()[2:-2].replace("null", "")
    begin = ",".join(network) + ","
    return begin + numbers.replace("],[", "\n" + begin) + "\n" if count else ""

"""Weights & Biases: one run for each network, side by side in one process, and one for the study.

wandb is imported when it is used, and only in a thread of its own while a fleet trains: neither its start, nor a
slow disk, nor an outage holds a training step up.

What a network's run shows is a function of its training alone: rows (step, values), which the fleet's checkpoint
holds from the first step on. A process that goes on from a checkpoint reads in the files of the runs before it (or
asks the server) what was logged last, and logs every row after that, known or yet to come. So the fragments of a
requeued run join without a gap or an overlap, wherever the kill was.
"""

import hashlib
import json
import math
import os
import queue
import re
import shutil
import struct
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transferability.files import Refused
from transferability.runs.result import Result
from transferability.study import Fleet, Network, Study

MODES = ("disabled", "offline", "online")
EVERY = 50  # steps between two values of the training loss
PATIENCE = 30.0  # seconds that an outage may cost at the end of a fleet; what is not uploaded stays in the files
PROJECT = "transferability"  # unless $WANDB_PROJECT says otherwise
# What of a result goes into the summary of its run: above all val_top1, the final one, which the figures use.
SUMMARY: tuple[str, ...] = (
    "val_top1",
    "val_top1_best10",
    "val_top5",
    "val_loss",
    "train_loss",
    "train_top1",
    "diverged_at",
    "steps",
)
SUMMARY += ("images_seen", "seconds", "images_per_second")
Say = Callable[[str], None]


def say(words: str) -> None:
    print(f"W&B: {words}", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------ names


def run_id(study: str, name: str) -> str:
    """The id of a network's run: readable, of characters that W&B allows, and different for different networks."""
    whole = f"{study}/{name}"
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", whole.replace("+", "plus"))
    return f"{readable[:100]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def treatment_of(network: Network) -> str:
    """The treatment in the paper's letters, whatever the direction: base, BnB, AnB+, AnB+0.1, BnBp1, AnB@250."""
    its = network.treatment
    words = {"base": "base", "selffer": "BnB", "transfer": "AnB", "random": "RnB"}[its.kind]
    words += f"p{its.preserved}" if its.preserved else ""
    words += f"+{its.plus if its.plus != '1' else ''}" if its.plus else ""
    words += "" if network.images_per_class is None else f"@{network.images_per_class}"
    return words + (f"@{network.variant}" if network.variant else "")


def project() -> str:
    return os.environ.get("WANDB_PROJECT") or PROJECT


# ------------------------------------------------------------------------------------------ before training


def ready(mode: str, tell: Say = say) -> str:
    """The mode that can be used: `mode`, or offline where the server cannot be reached, which is said.

    Refused: no such mode; no wandb; online with no key or one that the server does not accept.
    """
    if mode not in MODES:
        raise Refused(f"--wandb {mode}: write {', '.join(MODES[:-1])} or {MODES[-1]}")
    if mode == "disabled":
        return mode
    os.environ.setdefault("WANDB_SILENT", "true")  # what there is to say is said here, in one line
    try:
        import wandb
    except ImportError:
        raise Refused(f"--wandb {mode} needs wandb: pip install 'transferability[wandb]'") from None
    if mode == "offline":
        return mode
    server = str(wandb.setup().settings.base_url).rstrip("/")
    if os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return mode  # no key, and the token's exchange is wandb's own
    key = _key(server)
    if not key:
        raise Refused(
            f"--wandb online: there is no key for {server}; set WANDB_API_KEY or run `wandb login`, "
            "or keep the runs here with --wandb offline"
        )
    accepted = _accepted(server, key)
    if accepted is None:
        tell(f"{server} cannot be reached: the runs are kept offline; `wandb sync` uploads them later")
        return "offline"
    if not accepted:
        raise Refused(f"--wandb online: {server} does not accept the key; run `wandb login --relogin`")
    return mode


def _key(server: str) -> str:
    if os.environ.get("WANDB_API_KEY"):
        return os.environ["WANDB_API_KEY"]
    import netrc
    from urllib.parse import urlparse

    places = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for place in places:
        try:
            found = netrc.netrc(os.path.expanduser(place)).authenticators(urlparse(server).hostname or "")
        except (OSError, netrc.NetrcParseError):
            continue
        if found:
            return found[2] or ""
    return ""


def _accepted(server: str, key: str) -> bool | None:
    """Whether the server knows the key; None if it does not answer."""
    import urllib.error
    import urllib.request

    asked = urllib.request.Request(
        f"{server}/graphql",
        json.dumps({"query": "query Viewer { viewer { id } }"}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Basic {b64encode(f'api:{key}'.encode()).decode()}"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return bool((json.load(answer).get("data") or {}).get("viewer"))
    except urllib.error.HTTPError as error:
        return False if error.code in (401, 403) else None
    except (OSError, ValueError, AttributeError):
        return None


# ------------------------------------------------------------------------------------------ one run


def open_run(mode: str, folder: Path, **identity: Any) -> Any:
    """A run of wandb whose files land in `folder`/wandb, whatever other runs live in this process."""
    import wandb

    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(
        silent=True,
        console="off",
        # One process has many runs: none of them gets the machine's load, the environment, the command line.
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        disable_git=True,
        disable_code=True,
        save_code=False,
        init_timeout=PATIENCE,
        finish_timeout=PATIENCE,
    )
    options: dict[str, Any] = {"project": project(), "dir": str(folder), "mode": mode, "settings": settings}
    return wandb.init(reinit="create_new", resume="allow", **options, **identity)


def keep_files_in(folder: Path) -> None:
    """Makes wandb put what is of no single run (logs, staged artifacts) under `folder`, not into the home folder."""
    for word in ("cache", "data"):
        place = folder.resolve() / "wandb" / word
        place.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault(f"WANDB_{word.upper()}_DIR", str(place))


def fragments(folder: Path) -> list[Path]:
    """The files of all runs that were opened in `folder`, in the order in which they were."""
    files = folder.glob("wandb/*run-*/run-*.wandb")
    return sorted(files, key=lambda file: file.parent.name.removeprefix("offline-"))


def records(file: Path) -> Iterator[Any]:
    """The records of a run's file, up to its end or to where a kill tore it off.

    The file is a log in LevelDB's format, after a header of 7 bytes: blocks of 32 KiB of parts with a checksum (4
    bytes), a length (2) and a kind (1: whole, 2: first, 3: middle, 4: last part of a record). Records are protobuf.
    """
    from wandb.proto import wandb_internal_pb2

    new_record: Callable[[], Any] = wandb_internal_pb2.Record  # type: ignore[attr-defined]
    data, at, whole = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:  # no room for a part's head: padding
            at += left
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        part = data[at + 7 : at + 7 + length]
        if kind == 0 or len(part) < length:
            return
        at, whole = at + 7 + length, whole + part
        if kind in (1, 4):
            record = new_record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def history(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(step, values) of each row in a run's file."""
    for record in records(file):
        if record.WhichOneof("record_type") == "history":
            items = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
            yield record.history.step.num, {key: json.loads(value) for key, value in items.items()}


def remove_empty(folder: Path) -> None:
    """Removes the fragments that were killed before they said what run they are of: `wandb sync` stops at them."""
    for file in fragments(folder):
        if not any(record.WhichOneof("record_type") == "run" for record in records(file)):
            shutil.rmtree(file.parent, ignore_errors=True)


def last_logged(folder: Path) -> int:
    """The last step in the files of `folder`; -1 if there is none."""
    for file in reversed(fragments(folder)):
        steps = [step for step, _ in history(file)]
        if steps:
            return max(steps)
    return -1


def wait_for(folder: Path, step: int, seconds: float = 10.0) -> None:
    """Waits until a row of `step` is in the files of `folder`: wandb ends a run before its file is whole."""
    until = time.monotonic() + seconds
    while last_logged(folder) < step and time.monotonic() < until:
        time.sleep(0.05)


# ------------------------------------------------------------------------------------------ a fleet


class Tracker:
    """Follows the training of one fleet, in its first process, and hands its rows to a thread that logs them.

    The training loop calls `step` after each step, `validated` after each validation, `state` for each checkpoint;
    `finish` at the end. images: training images of an epoch. config: what all its runs share.
    """

    def __init__(
        self, study: Study, fleet: Fleet, root: Path, mode: str, images: int, config: Mapping[str, Any]
    ) -> None:
        self.study, self.fleet, self.root, self.mode, self.images, self.config = (
            study,
            fleet,
            root,
            mode,
            images,
            config,
        )
        self.recipe = fleet.networks[0].recipe
        # Step → (training loss, top-1) of each network, over the images since the entry before or a validation.
        self.training: dict[int, list[list[float]]] = {}
        self.before: Any = None  # the module's sums over training images at the last of them; None: 0
        self.opened = 0  # runs
        self.silent = False
        self.failed = True  # until `finish` says otherwise
        self.rows: queue.SimpleQueue[tuple[int, int, dict[str, float]] | None] = queue.SimpleQueue()
        self.last_words: list[tuple[dict[str, Any], Path | None]] = []
        self.thread = threading.Thread(target=self._send, name="wandb", daemon=True)

    # ------------------------------------------------------------------ called by the training loop

    def start(self, module: Any, state: Mapping[str, Any] | None) -> None:
        """Begins at the module's step. `state`: what the checkpoint holds; None if it knows nothing of this."""
        sums = module.training_tally.sums
        if state is not None:
            self.training = dict(zip(state["steps"].tolist(), state["values"].tolist(), strict=True))
            self.before = sums - state["window"].to(sums.device)
        elif module.step:
            self.before = sums.clone()
        longest = max(module.series.values(), key=len)
        validations = {int(row["step"]): k for k, row in enumerate(longest)}
        for step in sorted({*self.training, *validations}):
            self._put(module, step, validations.get(step))
        self.thread.start()

    def step(self, module: Any) -> None:
        """After a step of the optimiser. Waits for the device once in EVERY steps, and before a validation."""
        step, recipe = module.step, self.recipe
        validates = step % recipe.validate_every == 0 or step == recipe.steps
        if step % EVERY and not validates:
            return
        sums = module.training_tally.sums
        window = sums if self.before is None else sums - self.before
        self.before = sums.clone()
        images, loss, hits, _ = window.T.tolist()
        values = [[b / a, c / a] if a else [math.nan] * 2 for a, b, c in zip(images, loss, hits, strict=True)]
        self.training[step] = values
        if not validates:
            self._put(module, step, None)

    def validated(self, module: Any) -> None:
        """After a validation: the module has begun new sums, and its series have one row more."""
        self.before = None
        self._put(module, module.step, max(map(len, module.series.values())) - 1)

    def state(self, module: Any) -> dict[str, Any]:
        """What the checkpoint has to hold, as tensors."""
        import torch

        sums = module.training_tally.sums
        return {
            "steps": torch.tensor(list(self.training), dtype=torch.int64),
            "values": torch.tensor(list(self.training.values()), dtype=torch.float64),
            "window": sums.clone() if self.before is None else sums - self.before,
        }

    def finish(self, results: Sequence[Result], weights: Sequence[Path | None]) -> None:
        """The networks are trained: their last words. `weights`: files to keep as artifacts. Waits PATIENCE at most."""
        for result, file in zip(results, weights, strict=True):
            self.last_words.append(
                ({key: value for key in SUMMARY if (value := getattr(result, key)) is not None}, file)
            )
        self.failed = False

    def close(self) -> None:
        """Ends the runs: as finished after `finish`, else as failed. Does not wait long for any server."""
        if not self.thread.is_alive():
            return
        self.rows.put(None)
        self.thread.join(2 * PATIENCE)
        if self.thread.is_alive():
            self._say("the upload is not done; it goes on, and `wandb sync` makes up for what it misses")

    # ------------------------------------------------------------------ rows

    def _put(self, module: Any, step: int, validation: int | None) -> None:
        """The row of each network at `step`; `validation`: which of its series' rows goes with it."""
        recipe = self.recipe
        for i, network in enumerate(self.fleet.networks):
            last = module.series[network.name][-1:]
            if i not in module.active and last and last[0]["step"] < step:
                continue  # it has diverged, and ended there
            row = {"learning_rate": recipe.rate_at(step - 1), "epoch": step * recipe.batch / self.images}
            if validation is not None:
                row |= validation_row(network, module.series[network.name], validation, recipe.batch)
            if step in self.training:
                row["train_loss"], row["train_top1"] = self.training[step][i]
            self.rows.put((i, step, row))

    def _say(self, words: str) -> None:
        if not self.silent:
            say(words)
        self.silent = True

    # ------------------------------------------------------------------ the thread

    def _send(self) -> None:
        runs: dict[int, tuple[Any, int]] = {}
        for i, network in enumerate(self.fleet.networks):
            try:
                keep_files_in(self.root)
                runs[i] = self._open(network, first=not runs)
                self.opened += 1
            except Exception as error:
                self._say(f"{network.name} is not logged: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        sent = dict.fromkeys(runs, -1)  # index of a network → the step of its last row
        while (item := self.rows.get()) is not None:
            i, step, row = item
            sent[i] = step
            if i in runs and step > runs[i][1]:
                try:
                    runs[i][0].log(row, step=step, commit=True)
                except Exception as error:
                    self._say(f"{self.fleet.networks[i].name} is no longer logged: {type(error).__name__}: {error}")
                    del runs[i]
        for i, (run, _) in runs.items():
            try:
                if self.last_words:
                    summary, weights = self.last_words[i]
                    run.summary.update(summary)
                    if weights is not None:
                        self._keep(run, self.fleet.networks[i], weights)
                run.finish(exit_code=int(self.failed))
                wait_for(self.root / self.fleet.networks[i].name, sent[i])
            except Exception as error:
                self._say(f"{self.fleet.networks[i].name} is not finished: {type(error).__name__}: {error}")

    def _open(self, network: Network, first: bool) -> tuple[Any, int]:
        """The network's run, and the last step that was logged before."""
        folder, treatment = self.root / network.name, network.treatment
        try:
            remove_empty(folder)
            last = last_logged(folder)
        except Exception:  # another version's files: nothing twice, rather than everything
            last = sys.maxsize if fragments(folder) else -1
        identity = {
            "id": run_id(self.study.name, network.name),
            "name": network.name.removesuffix("/seed-0"),
            "group": network.split,
            "job_type": treatment_of(network),
            "tags": [self.study.name, treatment.kind, f"target {treatment.target}", f"seed {network.seed}"],
            "config": {
                **self.config,
                "study": self.study.name,
                "split": network.split,
                "network": network.short_name,
                "treatment": treatment_of(network),
                "kind": treatment.kind,
                "n": treatment.n,
                "preserved": treatment.preserved,
                "plus": treatment.plus,
                "source": treatment.source,
                "target": treatment.target,
                "seed": network.seed,
                "images_per_class": network.images_per_class,
                "recipe": asdict(network.recipe),
                "architecture": self.study.architecture.name,
                "data": self.study.data,
                "fleet": [each.name for each in self.fleet.networks],
            },
        }
        if self.mode == "online":
            try:
                run = open_run("online", folder, **identity)
                # The server knows best: what another process did not get uploaded is logged again.
                return run, run.starting_step - 1 if run.resumed else -1
            except Exception as error:
                self.mode = "offline"
                self._say(f"no run online ({type(error).__name__}); runs are kept offline, `wandb sync` uploads them")
                if first:  # else wandb keeps the id of the run that failed
                    import wandb

                    wandb.teardown()
        return open_run("offline", folder, **identity), last

    def _keep(self, run: Any, network: Network, weights: Path) -> None:
        import wandb

        artifact = wandb.Artifact(
            run_id(self.study.name, network.name), type="weights", metadata={"name": network.name}
        )
        artifact.add_file(str(weights.resolve()), name=weights.name, policy="immutable")  # no second copy on the disk
        run.log_artifact(artifact)


def validation_row(network: Network, series: Sequence[Mapping[str, float]], k: int, batch: int) -> dict[str, float]:
    """What is logged at the k-th validation of a network.

    Each value once under a name that all networks share, and the accuracy and losses once more under the split and
    the treatment: a panel of W&B chooses by the name of a value, not by the group of a run.
    """
    now, before = series[k], series[k - 1] if k else {"step": 0, "seconds": 0.0}
    passed = now["seconds"] - before["seconds"]
    row = {
        **{key: now[key] for key in ("train_loss", "train_top1", "val_loss", "val_top1", "val_top5")},
        "images_per_second": (now["step"] - before["step"]) * batch / passed if passed > 0 else math.nan,
        "diverged": float(not math.isfinite(now["val_loss"])),
    }
    treatment = treatment_of(network)
    for key in ("val_top1", "val_loss", "train_loss"):
        row[f"{network.split}/{key}/{treatment}"] = now[key]
    return row

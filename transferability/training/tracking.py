"""Weights & Biases: one run for each network, side by side in one process, and one for the study.

wandb is imported when it is used, and while a fleet trains only in a thread of its own: neither its start, nor a
slow disk, nor an outage holds a training step up.

The rows (step, values) of a network's run depend on its training alone. The fleet's checkpoint holds all rows from
the first step on. A process that continues from a checkpoint reads from the files of earlier processes (or asks the
server) which step was logged last, and logs every later row. So the fragments of a requeued run join without a gap
or an overlap, wherever the kill was.

What counts of the environment. wandb takes each of its settings from a variable WANDB_<SETTING>, private ones from
WANDB_X_<SETTING> or WANDB__<SETTING>. A variable that a notebook, a sweep agent, a launcher or an earlier run left
behind could therefore redirect, merge, rename or end our runs. `ready` keeps the variables that a user means, and
removes all others from the environment of this process and of those that it starts. It names what it removes, except
WANDB_SERVICE, which wandb itself sets in every process that uses it.

    kept (the whole list is MEANT)
      API_KEY CREDENTIALS_FILE BASE_URL CONFIG_DIR …       the server, and one's account there
      PROJECT ENTITY ORGANIZATION USERNAME USER_EMAIL      where the runs belong; PROJECT: transferability if unset
      HTTP_PROXY HTTP_TIMEOUT X_GRAPHQL_* …                how the server is reached
      CACHE_DIR DATA_DIR ARTIFACT_DIR                      what belongs to no single run; in the study's folder
      TAGS NOTES                                           added to every run
      SILENT QUIET DEBUG ERROR_REPORTING …                 how much wandb says of itself
    removed, because
      MODE DISABLED                                        --wandb says the mode
      RUN_ID NAME RUN_GROUP JOB_TYPE                       the study names its runs
      RESUME RESUME_FROM FORK_FROM                         a run continues where its own files or the server end
      SWEEP_ID SWEEP_PARAM_PATH LAUNCH                     a sweep or a launch takes over the runs that it started
      CONFIG CONFIG_PATHS                                  a network's settings are its study's
      DIR RUN_DIR X_FILES_DIR X_SKIP_TRANSACTION_LOG …     the study's folder keeps the runs, whole
      SERVICE                                              the process of another program, which may have ended
      HOST DOCKER NOTEBOOK_NAME X_LABEL and all others     they are not about our runs

A key is given to wandb and its server only: no message, file or result contains it (`in_short`).
"""

import hashlib
import importlib.util
import json
import math
import os
import queue
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transferability.files import Refused
from transferability.runs.ledger import is_done
from transferability.runs.locks import hold
from transferability.runs.paths import StudyFolder
from transferability.runs.result import Result, read_result
from transferability.study import Fleet, Network, Study

MODES = ("disabled", "offline", "online")
EVERY = 50  # steps between two values of the training loss
PATIENCE = 30.0  # seconds that an outage may cost at the end of a fleet; what is not uploaded stays in the files
TRIAL_PATIENCE = 300.0  # seconds until a wandb that does not answer counts as broken; on a network disk it loads slowly
PROJECT = "transferability"  # unless $WANDB_PROJECT says otherwise
TAG_LENGTH, NAME_LENGTH = 64, 128  # characters; wandb refuses longer tags, its server longer names
# The fields of result.json that go into the summary of a run. The figures use val_top1, the final accuracy.
SUMMARY: tuple[str, ...] = (
    "val_top1",
    "val_top1_best10",
    "val_top5",
    "val_loss",
    "train_loss",
    "train_top1",
    "diverged_at",
    "steps",
    "images_seen",
    "seconds",
    "images_per_second",
)
# The variables that a user means, without WANDB_; the table above says why. A * stands for any ending.
MEANT = (
    *("API_KEY", "IDENTITY_TOKEN_FILE", "CREDENTIALS_FILE", "AZURE_ACCOUNT_URL_TO_ACCESS_KEY"),
    *("BASE_URL", "APP_URL", "CONFIG_DIR"),
    *("PROJECT", "ENTITY", "ORGANIZATION", "USERNAME", "USER_EMAIL"),
    *("HTTP_PROXY", "HTTPS_PROXY", "X_PROXIES", "X_EXTRA_HTTP_HEADERS", "INSECURE_DISABLE_SSL"),
    *("HTTP_TIMEOUT", "FILE_PUSHER_TIMEOUT", "X_GRAPHQL_*", "X_FILE_STREAM_*", "X_FILE_TRANSFER_*"),
    *("X_SERVICE_WAIT", "X_EXECUTABLE"),
    *("CACHE_DIR", "DATA_DIR", "ARTIFACT_DIR"),
    *("TAGS", "NOTES"),
    *("SILENT", "QUIET", "DEBUG", "CORE_DEBUG", "ERROR_REPORTING"),
)
Say = Callable[[str], None]


def say(message: str) -> None:
    print(f"W&B: {message}", file=sys.stderr, flush=True)


def in_short(error: BaseException) -> str:
    """wandb's own description of an error in one line, without keys and passwords.

    pydantic quotes a setting that it refuses: a WANDB_API_KEY with a space at its end would be printed.
    """
    text = " ".join(f"{type(error).__name__}: {error}".split())
    text = re.sub(r" \[type=.*?, input_type=\w+\]", "", text)
    text = re.sub(r" For further information visit \S+", "", text)
    text = re.sub(r"://[^/@\s]+@", "://", text)  # user:password@ in the address of a server or proxy
    key = os.environ.get("WANDB_API_KEY", "").strip()
    return (text.replace(key, "…") if key else text)[:300]


# ------------------------------------------------------------------------------------------ names


def run_id(study: str, name: str) -> str:
    """The id of a network's run: readable, of characters that W&B allows, and different for different networks."""
    full_name = f"{study}/{name}"
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", full_name.replace("+", "plus"))
    return f"{readable[:100]}-{hashlib.sha256(full_name.encode()).hexdigest()[:8]}"


def treatment_of(network: Network) -> str:
    """The treatment in the paper's letters, whatever the direction: base, BnB, AnB+, AnB+0.1, BnBp1, AnB@250."""
    return network.letters


def project() -> str:
    """The project of all runs. Refused if W&B does not allow its name."""
    name = os.environ.get("WANDB_PROJECT") or PROJECT
    if len(name) > NAME_LENGTH or set(name) & set("/\\#?%:"):
        raise Refused(
            f"WANDB_PROJECT={name}: W&B allows no / \\ # ? % : in the name of a project, and {NAME_LENGTH} characters; "
            "write ENTITY/PROJECT as WANDB_ENTITY=ENTITY WANDB_PROJECT=PROJECT"
        )
    return name


def entity() -> str:
    """Whose project it is; empty for the default of one's account."""
    return os.environ.get("WANDB_ENTITY", "")


# ------------------------------------------------------------------------------------------ before training


def ready(mode: str, tell: Say = say) -> str:
    """The mode that can be used: `mode`, or offline if the server cannot be reached, which `tell` says.

    For entry points: it removes variables of wandb from the environment (see above). Whatever wandb would refuse
    later is Refused now: an unknown mode, no wandb or a broken one, a bad project, no key, a wrong key.
    """
    if mode not in MODES:
        raise Refused(f"--wandb {mode}: write {', '.join(MODES[:-1])} or {MODES[-1]}")
    if mode == "disabled":
        return mode
    remove_leftovers(tell)
    signed_in = sign_in(mode, f"--wandb {mode}", "keep the runs here with --wandb offline", tell)
    return mode if signed_in else "offline"


def ready_for_dashboard() -> None:
    """Refused if W&B cannot be used to save a dashboard, or cannot be reached."""
    remove_leftovers(say)
    file = "write the dashboard to a file with --file"
    if not sign_in("online", "the dashboard", file, lambda message: None):
        raise Refused(f"W&B cannot be reached; {file}, or try again")


def remove_leftovers(tell: Say) -> None:
    """Removes the variables of wandb that no user means from the environment of this process."""
    kept = re.compile("|".join(f"WANDB_{name}".replace("*", r"\w+") for name in MEANT))
    # WANDB__NAME and WANDB_X_NAME are the same private setting.
    names = {
        name: kept.fullmatch(re.sub("^WANDB__", "WANDB_X_", name)) for name in os.environ if name.startswith("WANDB_")
    }
    leftovers = sorted(name for name, match in names.items() if match is None)
    for name in leftovers:
        del os.environ[name]
    named = [name for name in leftovers if name != "WANDB_SERVICE"]
    if named:
        tell(f"not used: {', '.join(named)}; the command line and the study say what is logged, and where")


def sign_in(mode: str, purpose: str, otherwise: str, tell: Say) -> bool:
    """Tries wandb, and if `mode` is online its key: whether the key is accepted; False if the server cannot be reached.

    True in mode offline. Refused if wandb cannot be used for `purpose`; the message suggests `otherwise`.
    """
    spec = importlib.util.find_spec("wandb")
    if spec is None or spec.origin is None:  # a folder wandb/, as wandb itself makes them, looks like a package
        raise Refused(f"{purpose} needs wandb: in the project's folder, pip install '.[wandb]'")
    project()
    os.environ.setdefault("WANDB_SILENT", "true")  # what there is to say is said here, in one line
    server, key = _tried(mode, purpose)
    if key == "none":
        raise Refused(f"{purpose} needs a key for {server}: set WANDB_API_KEY or run `wandb login`, or {otherwise}")
    if key == "refused":
        raise Refused(f"{purpose}: {server} does not accept the key; run `wandb login --relogin`, or {otherwise}")
    if key == "unreachable":
        tell(f"{server} cannot be reached: the runs are kept offline; `wandb sync` uploads them later")
    return key != "unreachable"


def _tried(mode: str, purpose: str) -> tuple[str, str]:
    """The server, and what `_key_state` says, by a process that uses wandb once. Refused, in wandb's own words.

    In a process of its own, because wandb may crash or hang, and leaves threads, a service and WANDB_SERVICE behind.
    """
    with tempfile.TemporaryDirectory(prefix="transferability-wandb-") as folder:
        code = f"from {__name__} import _try; _try({mode!r}, {folder!r})"
        try:
            trial = subprocess.run(
                [sys.executable, "-P", "-c", code],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TRIAL_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Refused(f"{purpose}: wandb does not open a run within {TRIAL_PATIENCE:.0f} seconds") from None
    if trial.returncode:
        lines = trial.stderr.strip().splitlines() or [f"its process ended with code {trial.returncode}"]
        raise Refused(f"{purpose}: wandb cannot be used here ({lines[-1]})")
    server, key = trial.stdout.splitlines()[-1].split(" ")
    return server, key


def _try(mode: str, folder: str) -> None:
    """The trial: opens a run offline in `folder`, reads it back; prints the server and the state of its key."""
    try:
        import wandb

        place = Path(folder)
        keep_files_in(place)
        run = open_run("offline", place, id="trial", name="trial", tags=["trial"], config={"trial": True})
        run.log({"trial": 1.0}, step=1, commit=True)
        run.finish()
        wait_for(place, 1)
        if last_logged(place) != 1:
            raise RuntimeError(f"the files of wandb {wandb.__version__} cannot be read back")
        server = str(wandb.setup().settings.base_url).rstrip("/")
        print(re.sub(r"://[^/@]+@", "://", server), "unused" if mode == "offline" else _key_state(server))
    except Exception as error:
        sys.exit(in_short(error))


def _key_state(server: str) -> str:
    """Whether the server accepts the key: accepted, refused or unreachable; none without a key."""
    import wandb

    if os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return "accepted"  # there is no key, and only wandb can exchange the token
    # From the environment, a netrc file or wandb's settings. The attribute is deprecated since wandb 0.31.
    key = wandb.api.api_key if hasattr(wandb, "api") else os.environ.get("WANDB_API_KEY")
    if not key:
        return "none"
    return {True: "accepted", False: "refused", None: "unreachable"}[_accepted(server, key)]


def _accepted(server: str, key: str) -> bool | None:
    """Whether the server knows the key; None if it does not answer."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        f"{server}/graphql",
        json.dumps({"query": "query Viewer { viewer { id } }"}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Basic {b64encode(f'api:{key}'.encode()).decode()}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool((json.load(answer).get("data") or {}).get("viewer"))
    except urllib.error.HTTPError as error:
        return False if error.code in (401, 403) else None
    except (OSError, ValueError, AttributeError):
        return None


# ------------------------------------------------------------------------------------------ one run


def open_run(mode: str, folder: Path, **identity: Any) -> Any:
    """A run of wandb whose files land in `folder`/wandb, whatever other runs live in this process.

    identity: arguments of `wandb.init`, at least tags. Tags and names are cut to the length that W&B allows.
    """
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
        sagemaker_disable=True,  # else in SageMaker every run gets the id of the job, and its environment as config
        init_timeout=PATIENCE,
        finish_timeout=PATIENCE,
    )
    tags = [*identity["tags"], *os.environ.get("WANDB_TAGS", "").split(",")]
    identity["tags"] = list(dict.fromkeys(tag.strip()[:TAG_LENGTH] for tag in tags if tag.strip()))
    for key in {"name", "group", "job_type"} & identity.keys():
        identity[key] = identity[key][:NAME_LENGTH]
    options: dict[str, Any] = {"project": project(), "dir": str(folder), "mode": mode, "settings": settings}
    return wandb.init(reinit="create_new", resume="allow", **options, **identity)


def keep_files_in(folder: Path) -> None:
    """Makes wandb keep what belongs to no single run (logs, staged artifacts) in `folder`, not in the home folder."""
    for name in ("cache", "data"):
        place = folder.resolve() / "wandb" / name
        place.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault(f"WANDB_{name.upper()}_DIR", str(place))


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
    data, position, whole = file.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:  # no room for the head of a part: padding
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        part = data[position + 7 : position + 7 + length]
        if kind == 0 or len(part) < length:
            return
        position, whole = position + 7 + length, whole + part
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
    """Removes fragments that a kill cut off before their header was written: `wandb sync` stops at them."""
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


def is_whole(folder: Path, step: int) -> bool:
    """Whether the run in `folder` was logged up to `step` and ended as finished."""
    ends = [
        record.exit.exit_code
        for file in fragments(folder)
        for record in records(file)
        if record.WhichOneof("record_type") == "exit"
    ]
    return 0 in ends and last_logged(folder) >= step


def wait_for(folder: Path, step: int, seconds: float = 10.0) -> None:
    """Waits until a row of `step` is in the files of `folder`: wandb ends a run before its file is whole."""
    until = time.monotonic() + seconds
    while last_logged(folder) < step and time.monotonic() < until:
        time.sleep(0.05)


def open_network(study: Study, network: Network, folder: Path, mode: str, config: Mapping[str, Any]) -> tuple[Any, int]:
    """The run of a network, whose files are in `folder`, and the last step that was logged before (-1: none).

    config: what the run's config has besides the network itself.
    """
    try:
        remove_empty(folder)
        last = last_logged(folder)
    except Exception:  # another version's files: nothing twice, rather than everything
        last = sys.maxsize if fragments(folder) else -1
    treatment = network.treatment
    run = open_run(
        mode,
        folder,
        id=run_id(study.name, network.name),
        name=network.name.removesuffix("/seed-0"),
        group=network.split,
        job_type=treatment_of(network),
        tags=[study.name, treatment.kind, f"target {treatment.target}", f"seed {network.seed}"],
        config={
            **config,
            "study": study.name,
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
            "architecture": study.architecture.name,
            "data": study.data,
        },
    )
    if mode == "online":  # the server knows best: what another process did not get uploaded is logged again
        last = run.starting_step - 1 if run.resumed else -1
    return run, last


# ------------------------------------------------------------------------------------------ a fleet


class Tracker:
    """Follows the training of one fleet, in its first process, and hands its rows to a thread that logs them.

    The training loop calls `step` after each step, `validated` after each validation, `state` for each checkpoint;
    `finish` at the end. images: training images per epoch. config: what all its runs share.
    """

    def __init__(
        self, study: Study, fleet: Fleet, folder: StudyFolder, mode: str, images: int, config: Mapping[str, Any]
    ) -> None:
        self.study, self.fleet, self.folder, self.mode, self.images = study, fleet, folder, mode, images
        self.config = {**config, "fleet": [network.name for network in fleet.networks]}
        self.recipe = fleet.recipe
        # Step → (training loss, top-1) of each network, over the images since the last entry or validation.
        self.training: dict[int, list[list[float]]] = {}
        self.last_sums: Any = None  # the module's sums over training images at that entry or validation; None: 0
        self.opened = 0  # runs
        self.silent = False
        self.failed = True  # until `finish` says otherwise
        self.rows: queue.SimpleQueue[tuple[int, int, dict[str, float]] | None] = queue.SimpleQueue()
        self.summaries: list[tuple[dict[str, Any], Path | None]] = []
        self.thread = threading.Thread(target=self._send, name="wandb", daemon=True)

    # ------------------------------------------------------------------ called by the training loop

    def start(self, module: Any, state: Mapping[str, Any] | None) -> None:
        """Begins at the module's step. `state`: what the checkpoint holds; None if it knows nothing of this."""
        sums = module.training_tally.sums
        if state is not None:
            self.training = dict(zip(state["steps"].tolist(), state["values"].tolist(), strict=True))
            self.last_sums = sums - state["window"].to(sums.device)
        elif module.step:
            self.last_sums = sums.clone()
        longest = max(module.series.values(), key=len)
        validations = {int(row["step"]): k for k, row in enumerate(longest)}
        for step in sorted({*self.training, *validations}):
            self._put(module, step, validations.get(step))
        self.thread.start()

    def step(self, module: Any) -> None:
        """After a step of the optimiser. Waits for the device every EVERY steps, and before a validation."""
        step, recipe = module.step, self.recipe
        validates = step % recipe.validate_every == 0 or step == recipe.steps
        if step % EVERY and not validates:
            return
        sums = module.training_tally.sums
        window = sums if self.last_sums is None else sums - self.last_sums
        self.last_sums = sums.clone()
        images, loss, hits, _ = window.T.tolist()
        values = [[b / a, c / a] if a else [math.nan] * 2 for a, b, c in zip(images, loss, hits, strict=True)]
        self.training[step] = values
        if not validates:
            self._put(module, step, None)

    def validated(self, module: Any) -> None:
        """After a validation: the module has begun new sums, and its series are one row longer."""
        self.last_sums = None
        self._put(module, module.step, max(map(len, module.series.values())) - 1)

    def state(self, module: Any) -> dict[str, Any]:
        """What the checkpoint has to hold, as tensors."""
        import torch

        sums = module.training_tally.sums
        return {
            "steps": torch.tensor(list(self.training), dtype=torch.int64),
            "values": torch.tensor(list(self.training.values()), dtype=torch.float64),
            "window": sums.clone() if self.last_sums is None else sums - self.last_sums,
        }

    def finish(self, results: Sequence[Result], weights: Sequence[Path | None]) -> None:
        """The networks are trained: their summaries. weights: a network's file to keep as artifact, or None."""
        self.summaries = [(summary_of(result), file) for result, file in zip(results, weights, strict=True)]
        self.failed = False

    def close(self) -> None:
        """Ends the runs: as finished after `finish`, else as failed. Waits twice PATIENCE at most."""
        if not self.thread.is_alive():
            return
        self.rows.put(None)
        self.thread.join(2 * PATIENCE)
        if self.thread.is_alive():
            self._say("the upload is not complete; it continues, and `wandb sync` uploads what it misses")

    # ------------------------------------------------------------------ rows

    def _put(self, module: Any, step: int, validation: int | None) -> None:
        """The row of each network at `step`. validation: index of the row of its series that belongs to it."""
        recipe = self.recipe
        for i, network in enumerate(self.fleet.networks):
            last = module.series[network.name][-1:]
            if i not in module.active and last and last[0]["step"] < step:
                continue  # it has diverged or was stopped, and ended there
            row = {"learning_rate": recipe.rate_at(max(0, step - 1)), "epoch": step * recipe.batch / self.images}
            if validation is not None:
                row |= validation_row(network, module.series[network.name], validation, recipe.batch)
            if step in self.training:
                row["train_loss"], row["train_top1"] = self.training[step][i]
            self.rows.put((i, step, row))

    def _say(self, message: str) -> None:
        """Says the first thing that goes wrong; the others mostly follow from it."""
        if not self.silent:
            say(message)
        self.silent = True

    # ------------------------------------------------------------------ the thread

    def _send(self) -> None:
        runs = self._open_all()
        sent = dict.fromkeys(runs, -1)  # index of a network → the step of its last row
        while (item := self.rows.get()) is not None:
            i, step, row = item
            sent[i] = step
            if i in runs and step > runs[i][1]:
                try:
                    runs[i][0].log(row, step=step, commit=True)
                except Exception as error:
                    self._say(f"{self.fleet.networks[i].name} is no longer logged: {in_short(error)}")
                    del runs[i]
        for i, (run, _) in runs.items():
            network = self.fleet.networks[i]
            try:
                if self.summaries:
                    summary, weights = self.summaries[i]
                    run.summary.update(summary)
                    if weights is not None:
                        self._keep(run, network, weights)
                run.finish(exit_code=int(self.failed))
                wait_for(self.folder.network(network.name), sent[i])
            except Exception as error:
                self._say(f"the run of {network.name} does not end: {in_short(error)}")

    def _open_all(self) -> dict[int, tuple[Any, int]]:
        """Index of each network that can be logged → its run, and the last step that was logged before."""
        runs: dict[int, tuple[Any, int]] = {}
        for i, network in enumerate(self.fleet.networks):
            try:
                keep_files_in(self.folder.root)
                runs[i] = self._open(network, first=not runs)
                self.opened += 1
            except Exception as error:
                self._say(f"{network.name} is not logged: {in_short(error)}")
        return runs

    def _open(self, network: Network, first: bool) -> tuple[Any, int]:
        """The network's run and the last step that was logged before; offline once the server has refused a run."""
        folder, config = self.folder.network(network.name), {**self.config, "recipe": asdict(network.recipe)}
        if self.mode == "online":
            try:
                return open_network(self.study, network, folder, "online", config)
            except Exception as error:
                self.mode = "offline"
                self._say(f"no run online ({in_short(error)}); runs are kept offline, `wandb sync` uploads them")
                if first:  # else wandb keeps the id of the run that failed
                    import wandb

                    wandb.teardown()
        return open_network(self.study, network, folder, "offline", config)

    def _keep(self, run: Any, network: Network, weights: Path) -> None:
        import wandb

        artifact = wandb.Artifact(
            run_id(self.study.name, network.name), type="weights", metadata={"name": network.name}
        )
        artifact.add_file(str(weights.resolve()), name=weights.name, policy="immutable")  # no second copy on disk
        run.log_artifact(artifact)


def summary_of(result: Result) -> dict[str, Any]:
    """What the summary of a run shows of a result."""
    return {key: value for key in SUMMARY if (value := getattr(result, key)) is not None}


LOGGED = (
    "train_loss",
    "train_top1",
    "val_loss",
    "val_top1",
    "val_top5",
    "val_class_top1",
    "val_map",
    "val_auc",
    "val_seen",
    "val_unseen",
    "val_harmonic",
    "inner_top1",
    "domain_loss",
    "domain_top1",
)


def validation_row(network: Network, series: Sequence[Mapping[str, float]], k: int, batch: int) -> dict[str, float]:
    """What is logged at the k-th validation of a network.

    Each value once under a name that all networks share; accuracy and losses also under the split and the
    treatment: a panel of W&B chooses by the name of a value, not by the group of a run.
    """
    row, previous = series[k], series[k - 1] if k else {"step": 0, "seconds": 0.0}
    seconds = row["seconds"] - previous["seconds"]
    logged = {
        **{key: row[key] for key in LOGGED if key in row},
        "images_per_second": (row["step"] - previous["step"]) * batch / seconds if seconds > 0 else math.nan,
        "diverged": float(row["step"] > 0 and not math.isfinite(row["val_loss"])),
    }
    treatment = treatment_of(network)
    for key in ("val_top1", "val_loss", "train_loss"):
        logged[f"{network.split}/{key}/{treatment}"] = row[key]
    return logged


# ------------------------------------------------------------------------------------------ after training


def nothing_new(networks: Sequence[Network], folder: StudyFolder, experiment: Path, mode: str) -> None:
    """Says, in one line, which of `networks` were finished before W&B could follow them, if there are any."""
    finished = [network for network in networks if is_done(folder, network.name)]
    if mode == "disabled" or not finished:
        return
    line = f"{len(finished)} of {len(networks)} networks were finished before: nothing new is logged for them"
    without = sum(not fragments(folder.network(network.name)) for network in finished)
    if without:
        line += (
            f"; {without} of them have no W&B run, which `transferability track {experiment} --wandb {mode}` "
            "makes from their results"
        )
    say(line)


def track(study: Study, networks: Sequence[Network], folder: StudyFolder, mode: str) -> str:
    """Logs those of `networks` that are finished from their result.json; what was done, in one line.

    A run gets what training would have logged at each validation and the summary; the training loss between
    validations and the epoch are not in result.json. Safe to call again: a network whose folder holds a whole run,
    from training or from here, is left alone, and a part is completed. Held if another process trains or logs one
    of the networks. Refused where W&B does not take a run.
    """
    keep_files_in(folder.root)
    logged, whole = 0, 0
    for network in networks:
        file, place = folder.result(network.name), folder.network(network.name)
        if not is_done(folder, network.name):
            continue
        with hold([folder.lock(network.name)]):
            result = read_result(file)
            try:
                if is_whole(place, result.steps):
                    whole += 1
                    continue
                log_result(study, network, folder, mode, result)
            except Refused:
                raise
            except Exception as error:
                raise Refused(f"{network.name} is not logged: {in_short(error)}; {logged} networks were") from None
        logged += 1
    unfinished = len(networks) - logged - whole
    return (
        f"{logged} networks logged from their results"
        + (f", {whole} had a whole run" if whole else "")
        + (f", {unfinished} are not finished" if unfinished else "")
        + f"; the runs are in {folder.root}"
        + ("; `wandb sync` uploads what was logged offline" if whole and mode == "online" else "")
    )


def log_result(study: Study, network: Network, folder: StudyFolder, mode: str, result: Result) -> None:
    """Logs a network from its result: what training would have logged at each validation, and the summary."""
    place = folder.network(network.name)
    provenance = {key: value for key, value in result.provenance.items() if key not in ("finished", "forms_tried")}
    run, last = open_network(study, network, place, mode, {**provenance, "recipe": result.recipe})
    columns = result.series
    # JSON has null for what is not a number.
    series = [
        dict(zip(columns, (math.nan if value is None else value for value in values), strict=True))
        for values in zip(*columns.values(), strict=True)
    ]
    for k, row in enumerate(series):
        step = int(row["step"])
        if step > last:
            logged = validation_row(network, series, k, result.recipe["batch"])
            run.log({"learning_rate": row["rate"], **logged}, step=step, commit=True)
    run.summary.update(summary_of(result))
    run.finish()
    wait_for(place, result.steps)

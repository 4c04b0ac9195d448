"""W&B: what is logged is read back from the files, after kills, from fleets and from several processes."""

import base64
import http.server
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from forked import start, start_together
from project import EXPERIMENTS, HELPERS
from tiny import RECIPE, full_name, tiny_study
from typer.testing import CliRunner
from waiting import LIMIT, wait_for

from transferability.cli import app
from transferability.data.packed import PackedImages
from transferability.files import Refused, read_json
from transferability.readout import Readout
from transferability.runs.paths import study_folder
from transferability.study import Study, fleets
from transferability.study import network as named
from transferability.training import tracking
from transferability.training.tracking import fragments, history, in_short, last_logged, ready, run_id, track

pytest.importorskip("wandb")
COURSE = replace(RECIPE, steps=240, validate_every=60)
NAMES = ("R1A", "R2A", "R3A+")  # one fleet, which needs no base
STEPS = [50, 60, 100, 120, 150, 180, 200, 240]  # every 50th, and the validations
KEY = "0123456789abcdef0123456789abcdef01234567"

SCRIPT = """
import os, signal, sys
from dataclasses import replace
sys.path.insert(0, {tests!r})
from tiny import RECIPE, tiny_study
from transferability.runs.machine import Machine, follow_launcher, settle_rank
from transferability.runs.paths import data_root, study_folder
from transferability.study import fleets
from transferability.training import tracking
from transferability.training.fleet import FleetModule
from transferability.training.train import FleetTraining, train_fleet
from transferability.training.trainer import quiet

def main(kill_at, devices):
    tracking.PATIENCE = {limit}
    study = tiny_study({names!r}, replace(RECIPE, steps=240, validate_every=60))
    start = FleetModule.on_train_batch_start

    def until_killed(module, batch, index):
        if module.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        start(module, batch, index)

    FleetModule.on_train_batch_start = until_killed
    first = settle_rank(devices, 1)
    follow_launcher()
    quiet()
    (fleet,) = fleets(study.networks)
    machine = Machine("cpu", devices, wandb="offline")
    train_fleet(FleetTraining(study, fleet, study_folder("tiny"), data_root(), machine, first))

if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
"""


def train_apart(folder: Path, kill_at: int = -1, devices: int = 1) -> list[int]:
    """Trains the fleet in processes of their own; their exit codes."""
    script = folder / "script.py"
    script.write_text(SCRIPT.format(tests=str(HELPERS), names=NAMES, limit=LIMIT))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_API_KEY": KEY}
    environment.pop("WANDB_SERVICE", None)  # that of this process, which would outlive the other
    words = (script, kill_at, devices)
    if devices == 1:
        return [start(*words, environment=environment, folder=folder).ended()[0]]
    return [rank.ended()[0] for rank in start_together(devices, *words, environment=environment, folder=folder)]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training waits for wandb until it is done, however busy the machine is."""
    monkeypatch.setattr(tracking, "PATIENCE", LIMIT)
    monkeypatch.setattr(tracking, "wait_for", partial(tracking.wait_for, seconds=LIMIT))


def rows_of(study: Study, last: int = 0) -> dict[str, list[list[tuple[int, dict[str, Any]]]]]:
    """Name of each network → what each of its fragments holds, once all have a row of step `last`."""
    folder = study_folder(study.name)
    places = [folder.network(network.name) for network in study.networks]
    wait_for("rows", lambda: all(last_logged(place) >= last for place in places))
    return {n.short_name: [list(history(f)) for f in fragments(folder.network(n.name))] for n in study.networks}


def has_key(folder: Path) -> list[Path]:
    """The files under `folder` that contain the key."""
    return [file for file in folder.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]


def train_all(study: Study, **machine: Any) -> None:
    from trained import train_fleet

    from transferability.runs.machine import Machine

    for fleet in fleets(study.networks):
        train_fleet(study, fleet, Machine("cpu", **machine))


def test_a_fleet_that_fails_and_is_killed_logs_every_step_once(
    packed: PackedImages, roots: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trained import train_fleet

    from transferability.runs.machine import Machine
    from transferability.training.fleet import FleetModule

    study = tiny_study(NAMES, COURSE)
    (fleet,) = fleets(study.networks)

    def fail(module: FleetModule, batch: Any, index: int, start: Any = FleetModule.on_train_batch_start) -> None:
        if module.step == 170:
            raise RuntimeError("the machine is on fire")
        start(module, batch, index)

    # Fails 50 steps after its last checkpoint: a row after the checkpoint, that of step 150, is in the files.
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="on fire"):
        patch.setattr(FleetModule, "on_train_batch_start", fail)
        train_fleet(study, fleet, Machine("cpu", wandb="offline"))
    assert all([step for step, _ in parts[0]] == STEPS[:5] for parts in rows_of(study, 150).values())
    # Killed, with rows on their way to the files: wandb writes them every 15 seconds or so.
    assert train_apart(roots, kill_at=205) == [-9]
    train_fleet(study, fleet, Machine("cpu", wandb="offline"))
    rows = rows_of(study, 240)
    for network in study.networks:
        parts = rows[network.short_name]
        assert len(parts) in (2, 3)  # the second process may have been too short to begin a file
        assert [step for part in parts for step, _ in part] == STEPS
        result = read_json(study_folder("tiny").result(network.name))
        at = {step: row for part in parts for step, row in part}
        for k, step in enumerate((60, 120, 180, 240)):
            assert at[step]["val_top1"] == result["series"]["val_top1"][k]
            assert at[step]["val_loss"] == result["series"]["val_loss"][k]
            assert at[step]["learning_rate"] == result["series"]["rate"][k]
            assert at[step]["images_per_second"] > 0
            # The mean over the stretch is that over the windows that make it up, whatever was between.
            first, second = (50, 10) if k == 0 else (40, 20) if k == 1 else (30, 30) if k == 2 else (20, 40)
            window = STEPS[STEPS.index(step) - 1]
            mean = (first * at[window]["train_loss"] + second * at[step]["train_loss"]) / 60
            assert mean == pytest.approx(result["series"]["train_loss"][k], rel=1e-9)
        assert at[240]["epoch"] == pytest.approx(240 * 8 / packed_images(packed))
    # `wandb sync` joins the fragments.
    places = [str(f.parent) for n in study.networks for f in fragments(study_folder("tiny").network(n.name))]
    sync = [sys.executable, "-m", "wandb", "sync", "--yes", *places]
    subprocess.run(sync, env={**os.environ, "WANDB_API_KEY": KEY}, timeout=LIMIT, check=True, capture_output=True)
    uploaded = {name: [row["_step"] for row in rows] for name, rows in Server.rows.items()}
    assert uploaded == {run_id("tiny", network.name): STEPS for network in study.networks}
    assert not has_key(roots / "runs")  # which was in the environment


def packed_images(packed: PackedImages) -> int:
    from transferability.splits import task_classes

    return sum(int((packed.train.labels == c).sum()) for c in task_classes(packed.classes, "random-0", "A"))


def test_two_processes_log_once(packed: PackedImages, roots: Path) -> None:
    study = tiny_study(NAMES, COURSE)
    assert train_apart(roots, devices=2) == [0, 0]
    for network, parts in rows_of(study, 240).items():
        assert len(parts) == 1, network
        assert [step for step, _ in parts[0]] == STEPS
        # Half of the images of a batch each: the loss in between is the first process's, and a number.
        assert all(math.isfinite(row["train_loss"]) for _, row in parts[0])


def test_each_network_of_a_fleet_is_a_run_with_its_names(packed: PackedImages, roots: Path) -> None:
    study = tiny_study(("baseA", "R3A+0.1", "R1A@2"), replace(COURSE, steps=12, validate_every=6))
    train_all(study, wandb="offline", wandb_artifacts=True)
    folder = study_folder("tiny")
    expected = {"baseA": "base", "R3A+0.1": "RnB+0.1", "R1A@2": "RnB@2"}
    for network in study.networks:
        (file,) = fragments(folder.network(network.name))
        leet = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        done = subprocess.run(leet, capture_output=True, text=True, timeout=LIMIT, check=True)
        records = [json.loads(line) for line in done.stdout.splitlines()]
        run = next(record["run"] for record in records if record["type"] == "run")
        config = run["config"]["update"]
        if isinstance(config, list):
            config = {item["key"]: item["value"] for item in config}
        assert run["run_id"] == run_id("tiny", network.name) == file.stem.removeprefix("run-")
        assert run["display_name"] == f"random-0/{network.short_name}"
        assert run["run_group"] == "random-0"
        assert run["job_type"] == expected[network.short_name] == config["treatment"]
        assert run["project"] == "transferability"
        assert set(run["tags"]) == {"tiny", network.treatment.kind, "target A", "seed 0"}
        assert config["n"] == network.treatment.n and config["target"] == "A" and config["seed"] == 0
        assert config["source"] == network.treatment.source
        assert config["recipe"]["rate"] == COURSE.rate and config["fleet"] and config["hardware"]["cpu"]
        assert config["git_commit"]
        # wandb's own reader sees the steps that this project's sees, and the final accuracy in the summary.
        steps = [record["history"]["step"]["num"] for record in records if record["type"] == "history"]
        assert steps == [step for step, _ in history(file)] == [6, 12]
        summary: dict[str, Any] = {}
        for record in records:
            summary |= record.get("summary", {}).get("update", {})
        result = read_json(folder.result(network.name))
        assert summary["val_top1"] == result["val_top1"] and summary["steps"] == 12
        artifacts = [record for record in records if record["type"] == "artifact"]
        assert len(artifacts) == (network.treatment.kind == "base")
    assert {part.name for part in (folder.root / "wandb").iterdir()} == {"cache", "data"}


def test_the_run_of_a_diverged_network_ends_with_its_training(
    packed: PackedImages, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a resumption. At the end nobody waits for rows that it never had."""
    from trained import train_fleet

    from transferability.runs.machine import Machine
    from transferability.training.fleet import FleetModule

    diverging = "R1A+1" + "0" * 30
    study = tiny_study(("R1A+", diverging), replace(COURSE, steps=180))
    (fleet,) = fleets(study.networks)
    waited: dict[str, int] = {}
    original_wait, original_step = tracking.wait_for, FleetModule.training_step

    def wait_for(folder: Path, step: int) -> None:
        waited[folder.parent.name] = step
        original_wait(folder, step)

    def fail(module: FleetModule, batch: Any, index: int) -> None:
        if module.step == 130:
            raise RuntimeError("the machine is on fire")
        original_step(module, batch, index)

    monkeypatch.setattr(tracking, "wait_for", wait_for)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="on fire"):
        patch.setattr(FleetModule, "training_step", fail)
        train_fleet(study, fleet, Machine("cpu", wandb="offline"))
    assert waited == {"R1A+": 120, diverging: 60}
    train_fleet(study, fleet, Machine("cpu", wandb="offline"))
    assert waited == {"R1A+": 180, diverging: 60}
    steps = {name: [step for part in parts for step, _ in part] for name, parts in rows_of(study).items()}
    assert steps == {"R1A+": [50, 60, 100, 120, 150, 180], diverging: [50, 60]}


def test_run_ids_are_valid_and_different() -> None:
    names = [f"random-0/{n}/seed-{s}" for n in ("A3B", "A3B+", "A3B+0.1", "A3Bp2", "A3B@250") for s in (0, 1)]
    ids = {run_id(study, name) for study in ("demo", "demo.2") for name in names}
    assert len(ids) == 20
    assert all(set("/\\#?%:+@ .").isdisjoint(name) and len(name) < 128 for name in ids)
    assert run_id("demo", names[0]) == "demo-random-0-A3B-seed-0-" + run_id("demo", names[0])[-8:]


# ------------------------------------------------------------------------------------------ keys and outages


class Server(http.server.BaseHTTPRequestHandler):
    """As much of W&B's server as a run needs. It knows one key; what is uploaded can be read in `rows`."""

    protocol_version = "HTTP/1.1"
    rows: dict[str, list[dict[str, Any]]]
    state: str  # "up"; "closed" to runs, though it knows the key; "down"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wanted = base64.b64encode(f"api:{KEY}".encode()).decode()
        asks_for_viewer = b"viewer { id }" in body
        if self.path == "/graphql" and self.headers.get("Authorization") != f"Basic {wanted}":
            self.answer(401, {})
        elif self.state == "down" or (self.state == "closed" and not asks_for_viewer):
            self.answer(503, {})
        elif self.path == "/graphql":
            self.answer(200, {"data": self.data(json.loads(body))})
        else:
            if self.path.endswith("/file_stream"):
                files = json.loads(body).get("files") or {}
                lines = files.get("wandb-history.jsonl", {}).get("content", [])
                self.rows.setdefault(self.path.split("/")[-2], []).extend(map(json.loads, lines))
            self.answer(200, {})

    do_PUT = do_GET = do_POST

    def data(self, query: dict[str, Any]) -> dict[str, Any]:
        variables = query.get("variables") or {}
        project = {"id": "p", "name": "transferability", "entity": {"id": "e", "name": "me"}}
        bucket = {"id": "b", "name": variables.get("name"), "displayName": "", "config": "{}", "historyLineCount": 0}
        files = [
            {"name": name, "uploadUrl": f"http://{self.headers['Host']}/up"} for name in variables.get("files") or []
        ]
        model: dict[str, Any] = {"bucket": None}
        if "RunResumeStatus" in query["query"] and (rows := self.rows.get(variables["name"])):
            known = {"historyLineCount": len(rows), "historyTail": json.dumps([json.dumps(rows[-1])])}
            none = {"logLineCount": 0, "eventsLineCount": 0, "eventsTail": "[]", "summaryMetrics": "{}"}
            model = {**project, "bucket": {**bucket, **none, **known, "wandbConfig": '{"t": 1}'}}
        return {
            "viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}"},
            "upsertBucket": {"bucket": {**bucket, "project": project}, "inserted": True},
            "createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files},
            "model": model,
            "serverInfo": {},
        }

    def answer(self, code: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(roots: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import wandb

    Server.rows, Server.state = {}, "up"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{serving.server_port}"
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("NETRC", str(roots / "netrc"))
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        wandb.teardown()  # what it read of the environment before
        yield address
        Server.state = "up"  # what wandb has left to send is taken, in silence
        wandb.teardown()
        serving.shutdown()


def test_a_key_is_found_and_tried_before_training(server: str, roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="--wandb online needs a key for http://127"):
        ready("online")
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    with pytest.raises(Refused, match="does not accept the key") as refused:
        ready("online")
    assert "f" * 40 not in str(refused.value)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert ready("online") == "online"
    monkeypatch.delenv("WANDB_API_KEY")
    (roots / "netrc").write_text(f"machine {server.removeprefix('http://')}\n  login user\n  password {KEY}\n")
    assert ready("online") == "online"


def test_an_unreachable_server_means_offline(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # where nobody listens
    lines: list[str] = []
    assert ready("online", lines.append) == "offline"
    assert len(lines) == 1 and "cannot be reached" in lines[0]


def test_rows_are_uploaded_while_training(
    server: str, packed: PackedImages, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    study = tiny_study(NAMES, COURSE)
    train_all(study, wandb=ready("online"))
    assert not has_key(roots / "runs")
    assert set(Server.rows) == {run_id("tiny", network.name) for network in study.networks}
    for rows in Server.rows.values():
        assert [row["_step"] for row in rows] == STEPS


@pytest.mark.parametrize("state", ["closed", "down"])
def test_an_outage_does_not_stop_training(
    state: str,
    server: str,
    packed: PackedImages,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """closed: no run can be opened. down: after they were, at the first validation."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(tracking, "PATIENCE", 2.0)
    import wandb

    validated, init = tracking.Tracker.validated, wandb.init

    def patient_init(mode: str, settings: Any, **identity: Any) -> Any:
        if mode == "offline" or state == "down":  # this run can be opened, be it slowly
            settings.init_timeout = LIMIT
        return init(mode=mode, settings=settings, **identity)

    def then_down(tracker: tracking.Tracker, module: Any) -> None:
        validated(tracker, module)
        wait_for("two runs", lambda: tracker.opened == 2)
        Server.state = "down"

    monkeypatch.setattr(wandb, "init", patient_init)

    if state == "closed":
        Server.state = "closed"
    else:
        monkeypatch.setattr(tracking.Tracker, "validated", then_down)
    study = tiny_study(NAMES[:2], COURSE)
    train_all(study, wandb=ready("online"))
    for network in study.networks:
        assert study_folder("tiny").result(network.name).exists()
    for parts in rows_of(study, 240).values():
        assert [step for part in parts for step, _ in part] == STEPS
    printed = capsys.readouterr().err
    assert printed.count("W&B:") == 1 and "wandb sync" in printed
    assert KEY not in printed


def test_without_wandb_all_else_works(packed: PackedImages, roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(Refused, match=r"needs wandb: in the project's folder, pip install '\.\[wandb\]'"):
        ready("offline")
    assert ready("disabled") == "disabled"
    study = tiny_study(("baseA",), replace(COURSE, steps=6, validate_every=6))
    train_all(study)
    assert study_folder("tiny").result("random-0/baseA/seed-0").exists()


@pytest.mark.parametrize("command", ["train", "run", "submit"])
def test_commands_refuse_what_they_cannot_log(command: str, roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    experiment = str(EXPERIMENTS / "smoke.py")
    fleet = ["--fleet", "0"] if command == "train" else []
    refused = CliRunner().invoke(app, [command, experiment, "--wandb", "offline", *fleet]).exception
    assert isinstance(refused, Refused) and "[wandb]" in str(refused)
    refused = CliRunner().invoke(app, [command, experiment, "--wandb", "somewhere", *fleet]).exception
    assert isinstance(refused, Refused) and "--wandb somewhere: write" in str(refused)


# ------------------------------------------------------------------------------------------ what wandb minds


def test_long_names_are_cut(packed: PackedImages) -> None:
    """Studies may have names of any length, tags of W&B have 64 characters."""
    name = "features-of-tiny-imagenet-" * 3
    study = tiny_study(("baseA",), replace(COURSE, steps=6, validate_every=6), name=name)
    train_all(study, wandb="offline")
    (network,) = study.networks
    (file,) = fragments(study_folder(name).network(network.name))
    run = next(record.run for record in tracking.records(file) if record.WhichOneof("record_type") == "run")
    assert name[:64] in run.tags and len(name) > 64
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["study"] == name
    assert [step for step, _ in history(file)] == [6]


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("WANDB_PROJECT", "me/transfer", "WANDB_ENTITY=ENTITY"),
        ("WANDB_PROJECT", "p" * 129, "128 characters"),
        ("WANDB_BASE_URL", "localhost:8080", "base_url URL scheme should be 'http' or 'https'"),
        ("WANDB_HTTP_TIMEOUT", "soon", "x_graphql_timeout_seconds"),
    ],
)
def test_what_wandb_minds_is_refused_before_training(
    variable: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(Refused, match=reason):
        ready("offline")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ImportError('cannot import name runtime_version')", "ImportError: cannot import name runtime_version"),
        ("import os; os.kill(os.getpid(), 9)", "its process ended with code -9"),
    ],
)
def test_a_broken_wandb_is_not_said_to_be_missing(
    code: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Refused) as refused:
        ready("offline")
    assert reason in str(refused.value) and "pip install" not in str(refused.value)


def test_leftovers_of_the_environment_change_no_run(packed: PackedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a notebook, a sweep agent or a launcher leaves behind; what a user means stays."""
    leftovers = {
        "WANDB_SERVICE": "3-1-unix-/nowhere/socket",
        "WANDB_MODE": "disabled",
        "WANDB_DISABLED": "true",
        "WANDB_SWEEP_ID": "s",
        "WANDB_SWEEP_PARAM_PATH": "/nowhere/sweep.yaml",
        "WANDB_RUN_ID": "someone-elses",
        "WANDB_RUN_GROUP": "group",
        "WANDB_RESUME": "must",
        "WANDB_RESUME_FROM": "run?_step=1",
        "WANDB_NAME": "name",
        "WANDB_LAUNCH": "true",
        "WANDB_CONFIG": '{"n": 7}',
        "WANDB_CONFIG_PATHS": "/nowhere.yaml",
        "WANDB_DIR": "/nowhere",
        "WANDB_X_SKIP_TRANSACTION_LOG": "true",
        "WANDB__LABEL": "label",
    }
    meant = {
        "WANDB_ENTITY": "me",
        "WANDB_TAGS": "paper, final",
        "WANDB_NOTES": "note",
        "WANDB__FILE_STREAM_RETRY_MAX": "3",
    }
    for variable, value in (leftovers | meant).items():
        monkeypatch.setenv(variable, value)
    lines: list[str] = []
    assert ready("offline", lines.append) == "offline"
    assert not leftovers.keys() & os.environ.keys()
    assert {variable: os.environ[variable] for variable in meant} == meant
    (line,) = lines
    assert all((variable in line) == (variable != "WANDB_SERVICE") for variable in leftovers)
    study = tiny_study(("baseA",), replace(COURSE, steps=6, validate_every=6))
    train_all(study, wandb="offline")
    (network,) = study.networks
    (file,) = fragments(study_folder("tiny").network(network.name))
    run = next(record.run for record in tracking.records(file) if record.WhichOneof("record_type") == "run")
    assert (run.run_id, run.display_name, run.run_group) == (run_id("tiny", network.name), "random-0/baseA", "random-0")
    assert {"tiny", "paper", "final"} <= set(run.tags) and not run.sweep_id


def test_errors_are_shown_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """pydantic quotes the value that it refuses."""
    import pydantic

    class Settings(pydantic.BaseModel):
        api_key: int

    with pytest.raises(pydantic.ValidationError) as refused:
        Settings(api_key=KEY + " ")  # type: ignore[arg-type]
    assert KEY in str(refused.value)
    assert KEY[:6] not in in_short(refused.value) and "valid integer" in in_short(refused.value)
    monkeypatch.setenv("WANDB_API_KEY", KEY + "\n")
    assert in_short(ValueError(f"bad key {KEY}")) == "ValueError: bad key …"
    assert in_short(OSError("no proxy at http://me:secret@proxy:80")) == "OSError: no proxy at http://proxy:80"


# ------------------------------------------------------------------------------------------ after training


EXPERIMENT = """
import sys
sys.path.insert(0, {helpers!r})
from dataclasses import replace
from tiny import RECIPE, tiny_study
study = tiny_study({names!r}, replace(RECIPE, steps=120, validate_every=60))
"""


def logged(study: Study) -> dict[str, dict[int, dict[str, Any]]]:
    """Name of each network → step → row, over all fragments; a step that was logged twice is an error."""
    rows = {name: [row for part in parts for row in part] for name, parts in rows_of(study).items()}
    assert all(len(dict(pairs)) == len(pairs) for pairs in rows.values())
    return {name: dict(pairs) for name, pairs in rows.items()}


def test_finished_networks_are_logged_from_their_results(
    packed: PackedImages, roots: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    experiment, study = roots / "tiny.py", tiny_study(NAMES, replace(RECIPE, steps=120, validate_every=60))
    experiment.write_text(EXPERIMENT.format(helpers=str(HELPERS), names=NAMES))

    def command(*words: str) -> str:
        result = CliRunner().invoke(app, [words[0], str(experiment), *words[1:]])
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output + capfd.readouterr().err

    train_all(replace(study, networks=study.networks[:2]))
    assert "1 are not finished" in command("track", "--only", "random-0/R2A", "--only", "random-0/R3A+")
    train_all(study)
    printed = command("run", "--wandb", "offline")
    assert "3 of 3 networks were finished before: nothing new is logged" in printed
    assert f"2 of them have no W&B run, which `transferability track {experiment} --wandb offline` makes" in printed
    assert "2 networks logged from their results, 1 had a whole run" in command("track")
    rows = logged(study)
    assert "0 networks logged from their results, 3 had a whole run" in command("track")
    assert logged(study) == rows and all(list(steps) == [60, 120] for steps in rows.values())
    assert "have no W&B run" not in command("run", "--wandb", "offline")
    # The same values that training logs.
    study_folder("tiny").root.rename(roots / "runs" / "before")
    train_all(study, wandb="offline")
    for name, steps in logged(study).items():
        for step, row in rows[name].items():
            same = row.keys() - {"images_per_second", "train_loss", "train_top1"}
            assert {key: steps[step][key] for key in same if key[0] != "_"} == {
                key: row[key] for key in same if key[0] != "_"
            }
            assert (
                row[f"random-0/train_loss/{tracking.treatment_of(study.by_name[f'random-0/{name}/seed-0'])}"]
                == row["train_loss"]
            )


def test_a_run_that_ends_in_the_middle_is_completed(packed: PackedImages, roots: Path) -> None:
    study = tiny_study(("R1A",), replace(RECIPE, steps=120, validate_every=60))
    (network,), folder = study.networks, study_folder("tiny")
    train_all(study)
    run, last = tracking.open_network(study, network, folder.network(network.name), "offline", {})
    run.log({"val_top1": 0.0}, step=60, commit=True)
    run.finish(exit_code=1)
    tracking.wait_for(folder.network(network.name), 60)
    assert last == -1 and track(study, study.networks, folder, "offline").startswith("1 networks logged")
    assert list(logged(study)["R1A"]) == [60, 120]
    assert track(study, study.networks, folder, "offline").startswith("0 networks logged")


def test_what_is_not_a_number_can_be_logged(packed: PackedImages) -> None:
    """A network that diverged: result.json has null."""
    study = tiny_study(("R1A",), replace(RECIPE, steps=12, validate_every=6, rate=1e9))
    train_all(study)
    result = read_json(study_folder("tiny").result("random-0/R1A/seed-0"))
    assert result["diverged_at"] is not None and None in result["series"]["val_loss"]
    assert track(study, study.networks, study_folder("tiny"), "offline").startswith("1 networks logged")
    assert [row["diverged"] for row in logged(study)["R1A"].values()] == [1.0] * len(result["series"]["step"])


def test_a_readout_is_a_run_with_its_summary(packed: PackedImages, roots: Path) -> None:
    """One while it runs, one from its result. Retrieval has no loss, which is logged as not a number."""
    svm = Readout("svm", RECIPE.crop, penalties=(0.1, 1.0), folds=2)
    kinds = {"R2A@svm": svm, "R2A@retrieval": replace(svm, classifier="retrieval")}
    networks = tuple(named(full_name(name), kind) for name, kind in kinds.items())
    study, folder = replace(tiny_study(NAMES), networks=networks), study_folder("tiny")
    train_all(replace(study, networks=networks[:1]), wandb="offline")
    train_all(study)
    assert track(study, networks, folder, "offline").startswith("1 networks logged from their results, 1 had a whole")
    for member in networks:
        (file,) = fragments(folder.network(member.name))
        ((step, row),) = history(file)
        result = read_json(folder.result(member.name))
        assert step == 0 and row["val_top1"] == result["val_top1"]
        summaries = (record.summary for record in tracking.records(file) if record.HasField("summary"))
        summary = {item.key: json.loads(item.value_json) for part in summaries for item in part.update}
        assert summary["val_top1"] == result["val_top1"] and summary["steps"] == 0


def test_results_are_uploaded(server: str, packed: PackedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    study, folder = tiny_study(NAMES, COURSE), study_folder("tiny")
    train_all(study)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    for _ in range(2):
        track(study, study.networks, folder, ready("online"))
        uploaded = {name: [row["_step"] for row in rows] for name, rows in Server.rows.items()}
        assert uploaded == {run_id("tiny", network.name): [60, 120, 180, 240] for network in study.networks}
    Server.rows, Server.state = {}, "closed"
    monkeypatch.setattr(tracking, "PATIENCE", 2.0)
    study = tiny_study(("R4A+",), replace(COURSE, steps=6, validate_every=6))
    train_all(study)
    with pytest.raises(Refused, match="random-0/R4A\\+/seed-0 is not logged: "):
        track(study, study.networks, folder, "online")

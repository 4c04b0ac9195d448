"""W&B: what is logged is read back from the files, after kills, from fleets and from several processes."""

import base64
import http.server
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from project import EXPERIMENTS, HELPERS
from tiny import RECIPE, tiny_study
from typer.testing import CliRunner

from transferability.cli import app
from transferability.data.packed import PackedImages
from transferability.files import Refused, read_json
from transferability.runs.paths import study_folder
from transferability.study import Study, fleets
from transferability.training import tracking
from transferability.training.tracking import fragments, history, ready, run_id

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
from transferability.training.fleet import FleetModule
from transferability.study import fleets
from transferability.training.train import Machine, quiet, train_fleet

def main(kill_at, devices):
    study = tiny_study({names!r}, replace(RECIPE, steps=240, validate_every=60))
    start = FleetModule.on_train_batch_start

    def until_killed(module, batch, index):
        if module.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        start(module, batch, index)

    FleetModule.on_train_batch_start = until_killed
    quiet()
    (fleet,) = fleets(study.networks)
    train_fleet(study, fleet, Machine("cpu", devices, wandb="offline"))

if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
"""


def train_apart(folder: Path, kill_at: int = -1, devices: int = 1) -> int:
    """Trains the fleet in a process of its own; its exit status."""
    script = folder / "script.py"
    script.write_text(SCRIPT.format(tests=str(HELPERS), names=NAMES))
    words = [sys.executable, str(script), str(kill_at), str(devices)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_API_KEY": KEY}
    environment.pop("WANDB_SERVICE", None)  # that of this process, which would outlive the other
    return subprocess.run(words, env=environment, timeout=240, check=False).returncode


def rows_of(study: Study) -> dict[str, list[list[tuple[int, dict[str, Any]]]]]:
    """Name of each network → what each of its fragments holds."""
    folder = study_folder(study.name)
    return {n.short_name: [list(history(f)) for f in fragments(folder.network(n.name))] for n in study.networks}


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
    assert all([step for step, _ in parts[0]] == STEPS[:5] for parts in rows_of(study).values())
    # Killed, with rows on their way to the files: wandb writes them every 15 seconds or so.
    assert train_apart(roots, kill_at=205) == -9
    train_fleet(study, fleet, Machine("cpu", wandb="offline"))
    found = rows_of(study)
    for network in study.networks:
        parts = found[network.short_name]
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
    subprocess.run(sync, env={**os.environ, "WANDB_API_KEY": KEY}, timeout=120, check=True, capture_output=True)
    uploaded = {name: [row["_step"] for row in rows] for name, rows in Server.rows.items()}
    assert uploaded == {run_id("tiny", network.name): STEPS for network in study.networks}
    # The key that was in the environment is nowhere.
    for file in (roots / "runs").rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


def packed_images(packed: PackedImages) -> int:
    from transferability.splits import task_classes

    return sum(int((packed.train.labels == c).sum()) for c in task_classes(packed.classes, "random-0", "A"))


def test_two_processes_log_once(packed: PackedImages, roots: Path) -> None:
    study = tiny_study(NAMES, COURSE)
    assert train_apart(roots, devices=2) == 0
    for network, parts in rows_of(study).items():
        assert len(parts) == 1, network
        assert [step for step, _ in parts[0]] == STEPS
        # Half of the images of a batch each: the loss in between is the first process's, and a number.
        assert all(math.isfinite(row["train_loss"]) for _, row in parts[0])


def test_each_network_of_a_fleet_is_a_run_with_its_names(packed: PackedImages, roots: Path) -> None:
    from trained import train_fleet

    from transferability.runs.machine import Machine

    study = tiny_study(("baseA", "R3A+0.1", "R1A@2"), replace(COURSE, steps=12, validate_every=6))
    for fleet in fleets(study.networks):
        train_fleet(study, fleet, Machine("cpu", wandb="offline", wandb_artifacts=True))
    folder = study_folder("tiny")
    expected = {"baseA": "base", "R3A+0.1": "RnB+0.1", "R1A@2": "RnB@2"}
    for network in study.networks:
        (file,) = fragments(folder.network(network.name))
        leet = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        done = subprocess.run(leet, capture_output=True, text=True, timeout=60, check=True)
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
    assert all(set("/\\#?%:+@ .").isdisjoint(each) and len(each) < 128 for each in ids)
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

    def data(self, asked: dict[str, Any]) -> dict[str, Any]:
        given = asked.get("variables") or {}
        project = {"id": "p", "name": "transferability", "entity": {"id": "e", "name": "me"}}
        bucket = {"id": "b", "name": given.get("name"), "displayName": "", "config": "{}", "historyLineCount": 0}
        files = [{"name": name, "uploadUrl": f"http://{self.headers['Host']}/up"} for name in given.get("files") or []]
        model: dict[str, Any] = {"bucket": None}
        if "RunResumeStatus" in asked["query"] and (rows := self.rows.get(given["name"])):
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
        serving.shutdown()
    wandb.teardown()


def test_a_key_is_found_and_tried_before_training(server: str, roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match="there is no key for http://127"):
        ready("online")
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    with pytest.raises(Refused, match="does not accept the key") as refused:
        ready("online")
    assert "f" * 40 not in str(refused.value)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert ready("online") == "online"
    monkeypatch.delenv("WANDB_API_KEY")
    (roots / "netrc").write_text(f"machine 127.0.0.1\n  login user\n  password {KEY}\n")
    assert ready("online") == "online"


def test_an_unreachable_server_means_offline(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # where nobody listens
    import wandb

    wandb.teardown()
    said: list[str] = []
    assert ready("online", said.append) == "offline"
    assert len(said) == 1 and "cannot be reached" in said[0]


def test_rows_are_uploaded_while_training(server: str, packed: PackedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    from trained import train_fleet

    from transferability.runs.machine import Machine

    monkeypatch.setenv("WANDB_API_KEY", KEY)
    study = tiny_study(NAMES, COURSE)
    train_fleet(study, fleets(study.networks)[0], Machine("cpu", wandb=ready("online")))
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
    from trained import train_fleet

    from transferability.runs.machine import Machine

    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(tracking, "PATIENCE", 2.0)
    validated = tracking.Tracker.validated

    def then_down(tracker: tracking.Tracker, module: Any) -> None:
        validated(tracker, module)
        until = time.monotonic() + 20
        while module.step == 60 and tracker.opened < 2 and time.monotonic() < until:
            time.sleep(0.05)
        Server.state = "down"

    if state == "closed":
        Server.state = "closed"
    else:
        monkeypatch.setattr(tracking.Tracker, "validated", then_down)
    study = tiny_study(NAMES[:2], COURSE)
    train_fleet(study, fleets(study.networks)[0], Machine("cpu", wandb=ready("online")))
    for network in study.networks:
        assert study_folder("tiny").result(network.name).exists()
        tracking.wait_for(study_folder("tiny").network(network.name), 240, 20.0)
    for parts in rows_of(study).values():
        assert [step for part in parts for step, _ in part] == STEPS
    said = capsys.readouterr().err
    assert said.count("W&B:") == 1 and "wandb sync" in said
    assert KEY not in said


def test_without_wandb_all_else_works(packed: PackedImages, roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(Refused, match=r"needs wandb: pip install 'transferability\[wandb\]'"):
        ready("offline")
    assert ready("disabled") == "disabled"
    from trained import train_fleet

    from transferability.runs.machine import Machine

    study = tiny_study(("baseA",), replace(COURSE, steps=6, validate_every=6))
    train_fleet(study, fleets(study.networks)[0], Machine("cpu"))
    assert study_folder("tiny").result("random-0/baseA/seed-0").exists()


@pytest.mark.parametrize("command", ["train", "run", "submit"])
def test_commands_refuse_what_they_cannot_log(command: str, roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    experiment = str(EXPERIMENTS / "smoke.py")
    words = [command, experiment, "--wandb", "offline", *(["--fleet", "0"] if command == "train" else [])]
    refused = CliRunner().invoke(app, words).exception
    assert isinstance(refused, Refused) and "[wandb]" in str(refused)
    refused = CliRunner().invoke(app, [*words[:-1], "somewhere"]).exception if command == "run" else refused
    assert isinstance(refused, Refused)

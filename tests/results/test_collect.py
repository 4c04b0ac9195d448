"""results.csv and curves.csv, gathered from result files that are written here."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from outcomes import whole_study, write_results
from waiting import LIMIT

from transferability.files import Refused, read_json, write_json
from transferability.results import collect as collecting
from transferability.results.table import COLUMNS, CURVES, full_names, read_curves, read_results
from transferability.runs.ledger import refuse_difference
from transferability.runs.paths import study_folder
from transferability.runs.result import read_result
from transferability.study import Study, record


def collect(study: Study) -> list[str]:
    return collecting.collect(study, study_folder(study.name))


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes read what one would otherwise."""
    monkeypatch.setattr(collecting, "NETWORKS_PER_PROCESS", 20)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})


def test_a_row_says_what_the_result_says(roots: Path) -> None:
    study = whole_study()
    write_results(study)
    assert collect(study) == []
    folder = study_folder(study.name)
    table = read_results(folder.results)
    assert full_names(table) == [network.name for network in study.networks] and list(table.columns) == list(COLUMNS)
    assert table["rule"].tolist() == [network.treatment.rule for network in study.networks]
    assert set(table["rule"]) == {"", "frozen", "full"}
    row = table.iloc[full_names(table).index("random-0/A2B+/seed-1")]
    result = read_json(folder.result("random-0/A2B+/seed-1"))
    same = [column for column in COLUMNS if column != "recipe" and result.get(column) is not None]
    assert {column: row[column] for column in same} == {column: result[column] for column in same}
    assert row["recipe"] == "small <b>" and row["validations"] == 1
    assert row[["val_top1_best10", "diverged_at"]].isna().all() and row["images_per_class"] == ""
    lines = [line.split(",") for line in folder.curves.read_text().splitlines()]
    assert lines[0] == CURVES and len(lines) == 1 + len(study.networks)
    numbers = ["12", "96", "0.01", "0.5", "0.9", "1.5", "1.2", "0.6", "30.0", "", ""]
    assert lines[1] == ["tiny", "random-0", "baseA", "0", *numbers]


def test_the_validation_before_the_first_step_is_in_the_curves_and_not_counted(roots: Path) -> None:
    study = whole_study()
    write_results(study)
    folder = study_folder(study.name)
    name = study.networks[0].name
    result = read_json(folder.result(name))
    series = {key: [value[0], *value] for key, value in result["series"].items()}
    result["series"] = series | {"step": [0, 12], "train_loss": [None, 1.2], "train_top1": [None, 0.6]}
    write_json(folder.result(name), result)
    assert collect(study) == []
    assert read_results(folder.results)["validations"].tolist() == [1] * len(study.networks)
    lines = folder.curves.read_text().splitlines()
    assert lines[1] == "tiny,random-0,baseA,0,0,0,0.01,0.5,0.9,1.5,,,30.0,,"
    curves = read_curves(folder.curves)
    assert curves["step"].tolist()[:2] == [0, 12] and curves["train_loss"].isna().tolist()[:2] == [True, False]


def test_results_of_before_weights_took_all_bits_are_read(roots: Path) -> None:
    study = whole_study()
    write_results(study)
    folder = study_folder(study.name)
    for network in study.networks:
        result = read_json(folder.result(network.name))
        del result["record"]["draws"]
        if "source" in result["record"]:
            del result["record"]["source"]["draws"]
        write_json(folder.result(network.name), result)
    assert collect(study) == []
    network = study.by_name["random-0/A2B+/seed-1"]
    file = folder.result(network.name)
    with pytest.raises(Refused, match=r"draws was not there \(its default\), is 'philox'"):  # but nothing is added
        refuse_difference(network.name, file, read_result(file).record, record(study, network, {study.data: "abc123"}))


def test_several_processes_gather_what_one_does(
    roots: Path, several: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    study = whole_study()
    leave_out = (study.networks[7].name, study.networks[-1].name)
    write_results(study, leave_out)
    folder = study_folder(study.name)
    with monkeypatch.context() as patch:
        patch.setattr(collecting, "NETWORKS_PER_PROCESS", 1000)
        assert collect(study) == list(leave_out)
    alone = [file.read_text() for file in (folder.results, folder.curves)]
    folder.results.unlink()
    assert collect(study) == list(leave_out)
    assert [file.read_text() for file in (folder.results, folder.curves)] == alone
    assert capfd.readouterr() == ("", "")


def test_what_one_of_several_processes_refuses_is_refused(roots: Path, several: None) -> None:
    study = whole_study()
    write_results(study)
    folder, last = study_folder(study.name), study.networks[-1].name
    collect(study)
    result = read_json(folder.result(last))
    untouched = folder.results.read_text()
    write_json(folder.result(last), {key: result[key] for key in result if key != "val_top5"})
    with pytest.raises(Refused, match=f"{last}/result.json lacks val_top5; move it away to train that network again"):
        collect(study)
    folder.result(last).write_text("{")
    with pytest.raises(Refused, match=f"{last}/result.json is not readable as JSON"):
        collect(study)
    assert folder.results.read_text() == untouched


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("series", {"step": [6, 12], "val_top1": [0.5]}, "is damaged"),
        ("series", {"step": None}, "is damaged"),
        ("val_images", None, "holds no result (val_images is None)"),
        ("val_images", 0, "holds no result (it counts no validation images)"),
        ("val_top1", "0.5", "holds no result (val_top1 is '0.5')"),
        ("val_top1", 50.5, "holds no result (val_top1 is 50.5, no share of 1)"),
        ("chance", -1, "holds no result (chance is -1, no share of 1)"),
        ("seed", 7, "is not the result of random-0/A2B/seed-1"),
        ("network", "x", "is not the result of random-0/A2B/seed-1"),
        ("series", [1], "holds no result"),
        ("series", {}, "lacks 'step'"),
        ("recipe", {"batch": 8}, "lacks 'name'"),
        ("recipe", "small", "holds no result"),
        ("record", {}, "lacks 'data'"),
        ("provenance", {}, "lacks 'git_commit'"),
    ],
)
def test_a_result_that_cannot_be_used_is_refused_by_its_file(
    roots: Path, field: str, value: object, reason: str
) -> None:
    study = whole_study()
    write_results(study)
    file = study_folder(study.name).result("random-0/A2B/seed-1")
    write_json(file, read_json(file) | {field: value})
    with pytest.raises(Refused, match=f"^{re.escape(f'{file} {reason}')}.*move it away to train that network again"):
        collect(study)
    write_json(file, [])
    with pytest.raises(Refused, match=f"^{re.escape(str(file))} holds no result"):
        collect(study)


def test_the_caller_has_something_done_while_others_read(
    roots: Path, several: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = whole_study()
    write_results(study)
    folder, calls = study_folder(study.name), []
    collecting.collect(study, folder, meanwhile=lambda: calls.append(folder.results.exists()))
    monkeypatch.setattr(collecting, "NETWORKS_PER_PROCESS", 1000)
    collecting.collect(study, folder, meanwhile=lambda: calls.append(folder.results.exists()))
    assert calls == [False, True]  # once each time, before the table is written


def test_collecting_needs_neither_pandas_nor_torch() -> None:
    command = "import sys, transferability.results.collect; sys.exit(bool({'pandas', 'torch'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", command], timeout=LIMIT).returncode == 0


def test_a_killed_reader_is_refused(roots: Path, several: None, monkeypatch: pytest.MonkeyPatch) -> None:
    study = whole_study()
    write_results(study)
    collect(study)
    untouched = study_folder(study.name).results.read_text()
    monkeypatch.setattr(collecting, "_curve", lambda result: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(Refused, match=r"a process that read the results in .* was killed"):
        collect(study)
    assert study_folder(study.name).results.read_text() == untouched

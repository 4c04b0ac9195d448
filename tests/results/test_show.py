"""The results table for people: no cell is ever cut, and what is left out for want of room is named."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pandas as pd
import pytest
from commands import Command
from handmade import complete, frame, row
from outcomes import whole_study, write_results
from project import EXPERIMENTS, HELPERS, PROJECT
from rich.console import Console
from tiny import write_table
from waiting import LIMIT

from transferability import results
from transferability.results.show import Column, fit, footnotes, points, print_columns, print_table, summary_tables
from transferability.results.statistics import networks, summary
from transferability.results.table import read_results
from transferability.runs.paths import study_folder

SEEDS = EXPERIMENTS / "results" / "demo_seeds.csv"
ALWAYS = ("treatment", "n", "networks", "units", "top-1 %", "- base", "verdict")
SPARE = ("co-adaptation", "specificity", "train loss", "train %")


def printed(table: pd.DataFrame, width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    print_table(table, console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# ------------------------------------------------------------------------------------------- as data


def test_points() -> None:
    assert points(0.0449, 0.0129) == "+4.5 ±3.2"
    assert points(-0.0004) == "+0.0"  # no negative zero
    assert points(0.7, sign=False) == "70.0"
    assert points(float("nan")) == ""


def test_the_rows_are_those_of_the_summary() -> None:
    rows = networks(complete(3))
    random, natural = summary_tables(rows)
    assert (random.group, random.title, random.about) == ("random", "Random splits", "units differ in splits")
    assert (natural.group, natural.title, natural.about) == (
        "manmade-natural",
        "Man-made / natural",
        "one unit: no intervals",
    )
    assert tuple(column.head for column in random.columns) == (*ALWAYS, *SPARE[:3])  # train_top1 is empty
    lines = {row[:2]: row[2:] for row in random.rows}
    assert len(lines) == 36
    assert lines["base", ""] == ("6", "3", "60.0", "", "", "", "", "1.40")
    assert lines["AnB", "7"] == ("6", "3", "53.0", "-7.0 ±0.0", "below", "-7.0 ±0.0", "+0.0 ±0.0", "1.47")
    assert lines["BnB+", "7"] == ("6", "3", "60.0", "+0.0 ±0.0", "same", "", "", "1.40")
    assert {row[:2]: row[2:] for row in natural.rows}["AnB", "7"][3:5] == ("-7.0", "?")


def test_the_accuracy_has_its_interval_where_there_is_room_for_it() -> None:
    rows = networks(complete(3))
    (first, *_), _ = (table.rows for table in summary_tables(rows, accuracy_interval=True))
    assert first[:5] == ("base", "", "6", "3", "60.0 ±0.0")


def test_a_group_of_ones_own_has_its_name_for_a_title() -> None:
    table = frame(*(row(f"photo-sketch/{name}/seed-0", 0.5) for name in ("baseA", "B3A")))
    (only,) = summary_tables(networks(table))
    assert (only.group, only.title) == ("photo-sketch", "photo-sketch") and len(only.rows) == 2


def test_footnotes_name_what_is_in_no_mean() -> None:
    names = ["baseB", "B1B", "A1B", *(f"A{n}B" for n in range(2, 8)), "R3A"]
    table = frame(*(row(f"random-0/{name}/seed-0", 0.5) for name in names))
    notes = footnotes(table, networks(table))
    assert "No BnB on the same target for random-0/A{2..7}B/seed-0: not in the specificity." in notes
    assert "No base to compare with: random-0/R3A/seed-0." in notes


# ------------------------------------------------------------------------------------------- in print


@pytest.mark.parametrize(
    ("width", "kept"), [(54, 0), (60, 0), (70, 1), (79, 1), (80, 2), (90, 2), (92, 3), (100, 4), (140, 4), (10_000, 4)]
)
def test_no_column_is_lost_in_silence(width: int, kept: int) -> None:
    text = printed(read_results(SEEDS), width)
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    headings = [line for line in text.splitlines() if line.startswith("treatment")]
    assert [re.split(r" {2,}| (?=n |networks|units|top|- base|verdict|co-|spec|train)", line) for line in headings]
    for heading in headings:
        assert [head for head in (*ALWAYS, *SPARE) if head in heading] == [*ALWAYS, *SPARE[:kept]]
    said = " ".join(text.split())
    assert f"No room for: {', '.join(SPARE[kept:])}. " in said if kept < 4 else "No room" not in said
    # Whatever the width, each line has its n, its networks and its verdict.
    line = next(line for line in text.splitlines() if re.match(r"AnB +5 ", line))
    assert line.split()[:8] == ["AnB", "5", "6", "3", "65.5", "-6.0", "±4.3", "below"]


def test_a_terminal_that_is_too_narrow_for_anything_still_has_every_word() -> None:
    lines = printed(read_results(SEEDS), 20).splitlines()
    assert any(line.split()[:8] == ["AnB", "5", "6", "3", "65.5", "-6.0", "±4.3", "below"] for line in lines)


def test_columns_that_wrap_give_way_before_spare_ones_are_left_out() -> None:
    columns = [Column("claim", left=True, least=10), Column("n"), Column("a", spare=1), Column("b", spare=2)]
    natural = [30, 3, 5, 5]
    assert fit(columns, natural, 46) == {0: 30, 1: 3, 2: 5, 3: 5}
    assert fit(columns, natural, 45) == {0: 29, 1: 3, 2: 5, 3: 5}
    assert fit(columns, natural, 26) == {0: 10, 1: 3, 2: 5, 3: 5}
    assert fit(columns, natural, 25) == {0: 15, 1: 3, 2: 5}
    assert fit(columns, natural, 19) == {0: 15, 1: 3}
    assert fit(columns, natural, 5) == {0: 10, 1: 3}


def test_a_cell_of_several_lines_keeps_its_column() -> None:
    console = Console(width=24, file=io.StringIO())
    columns = [Column("what", left=True, least=10), Column("value"), Column("more", spare=1)]
    left_out = print_columns(
        console, columns, [["some words to wrap", "1.5\n22.5", "abcdefghij"], ["b", "3", ""]], "xy"
    )
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "what               value",
        "─" * 24,
        "some words to wrap   1.5",
        "                    22.5",
        "",
        "b                      3",
    ]
    assert left_out == ["more"]


# ------------------------------------------------------------------------------------------- the commands


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "transferability.cli", *map(str, words)]
    clean = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "PYTHONIOENCODING")}
    return subprocess.run(
        command, capture_output=True, cwd=PROJECT, env=clean | environment, timeout=LIMIT, stdin=subprocess.DEVNULL
    )


def in_a_terminal(columns: int, *words: object, **environment: str) -> str:
    """What a command prints in a terminal of so many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clean = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "transferability.cli", *map(str, words)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=PROJECT,
        env=clean | {"TERM": "xterm"} | environment,
    )
    os.close(slave)
    output = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        output += part
    os.close(master)
    assert process.wait(60) == 0, output
    return re.sub(r"\x1b\[[\d;]*m", "", output.decode().replace("\r", ""))  # bold and dim are no colours


@pytest.fixture
def experiment(roots: Path) -> Path:
    """A study whose results are there but for some."""
    study = whole_study()
    missing = [f"random-0/A{n}B+/seed-{seed}" for n in (1, 2, 3) for seed in (0, 1, 2)]
    write_results(study, (*missing, "random-0/B2A/seed-1"))
    file = roots / "experiment.py"
    file.write_text(
        f"import sys\nsys.path.insert(0, {str(HELPERS)!r})\nfrom outcomes import whole_study\nstudy = whole_study()\n"
    )
    return file


def test_results_and_claims_in_a_terminal_of_80_columns(experiment: Path) -> None:
    text = in_a_terminal(80, "results", experiment, NO_COLOR="1")
    assert max(map(len, text.splitlines())) <= max(80, len(str(study_folder("tiny").results)) + len("results: "))
    assert re.search(r"^AnB +3 +6 +3 +38\.0 +-12\.0 ±2\.5 below +\+0\.0 ±0\.0 +-12\.0 ±2\.5$", text, re.MULTILINE)
    assert "No room for: train loss, train %." in text
    text = in_a_terminal(80, "claims", SEEDS, NO_COLOR="1")
    assert max(map(len, text.splitlines())) <= 80
    assert "No room for: authors pooled, authors paired, authors show it?." in " ".join(text.split())


def test_results_name_what_is_missing_in_one_line_each_kind(experiment: Path, command: Command) -> None:
    code, output, errors = command("results", experiment)
    lines = output.splitlines()
    assert code == 0 and errors == ""
    assert [line for line in lines if line.startswith("missing: ")] == [
        "missing: random-0/A{1..3}B+/seed-{0..2}",
        "missing: random-0/B2A/seed-1",
    ]
    end = lines.index("71 of 81 networks are done")
    assert lines[end + 1] == "" and lines[end + 2].startswith("Random splits, BnB: up to n = 3 within a point of its")
    assert "No room" not in output  # a pipe holds lines of any length
    assert max(len(line) for line in lines if line.startswith("treatment")) > 80


def test_results_as_csv_have_every_column_and_nothing_else(experiment: Path, command: Command) -> None:
    _, output, errors = command("results", experiment, "--csv")
    table = pd.read_csv(io.StringIO(output), keep_default_na=False, na_values=[""])
    expected = summary(read_results(study_folder("tiny").results))
    assert list(table.columns) == list(expected.columns) and len(table.columns) == 41
    pd.testing.assert_frame_equal(table.fillna(""), expected.fillna(""), check_dtype=False)
    assert "missing: random-0/B2A/seed-1" in errors and "71 of 81 networks are done" in errors


def test_results_as_latex_are_tables_and_nothing_else(experiment: Path, command: Command) -> None:
    _, text, errors = command("results", experiment, "--latex")
    assert text.startswith(
        "% needs \\usepackage{booktabs}\n\\begin{table}\n\\caption{Random splits (units differ in seeds)}"
    )
    assert "treatment & n & networks & units & top-1 \\% & $-$ base & verdict" in text
    assert "AnB$^+$ & $1$ & " in text and "$+0.0 \\pm 0.0$ & same" in text
    assert text.count("{") == text.count("}") and text.count("\\begin") == text.count("\\end") > 0
    assert "71 of 81 networks are done" in errors
    assert "write one of them" in command("results", experiment, "--latex", "--csv")[2]


def test_results_of_a_study_that_was_not_started(
    roots: Path, experiment: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSFERABILITY_RUNS", str(roots / "elsewhere"))
    code, output, errors = command("results", experiment, "--csv")
    assert code == 0 and "0 of 81 networks are done" in errors
    assert output.count("\n") == 1 and output.startswith("group,treatment,n,")


def test_an_encoding_without_a_character_is_no_reason_to_fail() -> None:
    wide = run("claims", SEEDS, PYTHONIOENCODING="utf-8", LC_ALL="C").stdout.decode().splitlines()
    for encoding, sign in (("ascii", "~"), ("latin-1", "±")):
        done = run("claims", SEEDS, PYTHONIOENCODING=encoding)
        assert done.returncode == 0 and done.stderr == b""
        lines = done.stdout.decode(encoding).splitlines()
        assert any(f"71.5 {sign}3.2" in line for line in lines)
        assert set(lines[2]) == {"-"} and "?" not in "".join(lines).replace("show it?", "")
        # One letter stands for each that is not there: the columns stay in line.
        assert [len(line) for line in lines] == [len(line) for line in wide]


def test_the_main_functions_are_those_of_the_package() -> None:
    assert results.print_table is print_table and results.read_results is read_results
    assert results.networks is networks and results.summary is summary
    assert not hasattr(results, "print_tables")


def test_the_width_that_the_environment_says_holds_in_a_pipe_too(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(complete(1), tmp_path / "results.csv")
    monkeypatch.setenv("COLUMNS", "70")
    lines = command("claims", tmp_path / "results.csv")[1].splitlines()
    assert max(map(len, lines)) <= 70 and any(line.startswith("No room for:") for line in lines)


def test_a_width_of_nothing_is_no_width(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some launchers set it."""
    monkeypatch.delenv("COLUMNS", raising=False)
    plain = command("claims")[1]
    monkeypatch.setenv("COLUMNS", "0")
    assert command("claims")[1] == plain != ""

"""No test depends on who is faster: none waits for a time, and no time limit but the emergency stop decides."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from project import HELPERS, PROJECT
from waiting import LIMIT, wait_for

TESTS = [file for file in sorted((PROJECT / "tests").rglob("*.py")) if file.name not in ("waiting.py", "torture.py")]
STAY = """
import os, signal, sys
from pathlib import Path
from waiting import stay
handled = []
signal.signal(signal.SIGUSR1, lambda *_: handled.append("handled"))
stay(Path("reached"), Path("go"))
print(*handled, "goes on")
"""


@pytest.mark.parametrize("file", TESTS, ids=lambda file: str(file.relative_to(PROJECT / "tests")))
def test_nothing_sleeps_and_no_number_of_seconds_decides(file: Path) -> None:
    for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
        name, place = ast.unparse(call.func), f"{file}:{call.lineno}"
        assert name not in ("time.sleep", "sleep"), f"{place}: wait for what is to happen: waiting.wait_for"
        for limit in (keyword.value for keyword in call.keywords if keyword.arg == "timeout"):
            assert not isinstance(limit, ast.Constant), f"{place}: timeout=waiting.LIMIT"


@pytest.mark.parametrize("reason", ["file", "signal"])
def test_a_process_stays_until_it_is_let_go(reason: str, tmp_path: Path) -> None:
    command, environment = [sys.executable, "-c", STAY], {**os.environ, "PYTHONPATH": str(HELPERS)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    wait_for("the file", (tmp_path / "reached").exists)
    assert int((tmp_path / "reached").read_text()) == process.pid
    if reason == "file":
        (tmp_path / "go").touch()
    else:
        process.send_signal(signal.SIGUSR1)
    assert process.communicate(timeout=LIMIT)[0].split() == ["handled"] * (reason == "signal") + ["goes", "on"]

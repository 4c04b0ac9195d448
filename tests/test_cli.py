"""The command line where no other test calls it: completion, exports, weights to keep."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import write_experiment
from waiting import LIMIT

from transferability.data.packed import PackedImages

MAIN = "import sys; sys.argv[0] = 'transferability'; from transferability.cli import main; sys.exit(main())"


def call(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    script = call("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert script.returncode == 0 and "_TRANSFERABILITY_COMPLETE=complete_" in script.stdout, script.stderr
    help_text = call("--help").stdout
    assert "--install-completion" in help_text and "--show-completion" in help_text


def test_bash_completes_a_command_and_an_option() -> None:
    asked = {"_TRANSFERABILITY_COMPLETE": "complete_bash"}
    assert call(COMP_WORDS="transferability rep", COMP_CWORD="1", **asked).stdout.split() == ["report"]
    options = call(COMP_WORDS="transferability submit --keep", COMP_CWORD="2", **asked).stdout.split()
    assert {"--keep", "--keep-weights"} <= set(options)


def test_what_is_kept_can_be_exported(packed: PackedImages, roots: Path) -> None:
    experiment = write_experiment(roots / "tiny_experiment.py", ["baseA", "baseB", "A2B", "B1B"], steps=2)
    wrong = call("run", experiment, "--keep", "random-0/A9B")
    assert wrong.returncode == 2 and "has no network like 'random-0/A9B'" in wrong.stderr
    done = call("run", experiment, "--accelerator", "cpu", "--workers", "1", "--keep", "random-0/A2B")
    assert done.returncode == 0, done.stderr
    status = call("status", experiment).stdout
    assert "can be exported: 3 of 4: random-0/baseA/seed-0; random-0/baseB/seed-0; random-0/A2B/seed-0;" in status
    lines = call("status", experiment, "--csv").stdout.splitlines()
    assert lines[0] == "network,state,detail,weights" and "random-0/B1B/seed-0,done,," in lines
    file = roots / "a2b.safetensors"
    written = call("export", experiment, "random-0/A2B", file)
    assert written.returncode == 0 and written.stdout.startswith(f"{file}: random-0/A2B/seed-0, 6 classes"), written
    refused = call("export", experiment, "random-0/B1B", file)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "the weights of random-0/B1B/seed-0 were not kept" in refused.stderr

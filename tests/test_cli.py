"""The command line where no other test calls it: completion, exports, weights to keep."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Command
from forked import fork_workers
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


def test_the_help_says_how_to_complete(command: Command) -> None:
    _, help_text, _ = command("--help")
    assert "--install-completion" in help_text and "--show-completion" in help_text


def test_bash_completes_a_command_and_an_option() -> None:
    asked = {"_TRANSFERABILITY_COMPLETE": "complete_bash"}
    assert call(COMP_WORDS="transferability rep", COMP_CWORD="1", **asked).stdout.split() == ["report"]
    options = call(COMP_WORDS="transferability submit --keep", COMP_CWORD="2", **asked).stdout.split()
    assert {"--keep", "--keep-weights"} <= set(options)


def test_what_is_kept_can_be_exported(
    packed: PackedImages, roots: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_workers(monkeypatch)
    experiment = write_experiment(roots / "tiny_experiment.py", ["baseA", "baseB", "A2B", "B1B"], steps=2)
    code, _, errors = command("run", experiment, "--keep", "random-0/A9B")
    assert code == 2 and "has no network like 'random-0/A9B'" in errors
    code, _, errors = command("run", experiment, "--accelerator", "cpu", "--workers", 1, "--keep", "random-0/A2B")
    assert code == 0, errors
    _, output, _ = command("status", experiment)
    assert "can be exported: 3 of 4: random-0/baseA/seed-0; random-0/baseB/seed-0; random-0/A2B/seed-0;" in output
    lines = command("status", experiment, "--csv")[1].splitlines()
    assert lines[0] == "network,state,detail,weights" and "random-0/B1B/seed-0,done,," in lines
    file = roots / "a2b.safetensors"
    code, output, errors = command("export", experiment, "random-0/A2B", file)
    assert code == 0 and output.startswith(f"{file}: random-0/A2B/seed-0, 6 classes"), errors
    code, _, errors = command("export", experiment, "random-0/B1B", file)
    assert code == 2 and errors.count("\n") == 1
    assert "the weights of random-0/B1B/seed-0 were not kept" in errors

"""What README.md and docs/ say is there: commands with their options, paths, links, tables, the map of the package."""

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from project import EXPERIMENTS, PROJECT
from typer.main import get_command

from transferability.cli import app
from transferability.study import load_study

sys.path.insert(0, str(PROJECT / "tools"))

import doc_tables

PACKAGE = PROJECT / "transferability"
PAGES = sorted([PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")])
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMANDS = vars(get_command(app))["commands"]
# First parts of paths that have to exist, below the project and below the package. The packed sets, the runs and the
# figures that a command makes lie elsewhere: data/, runs/, figures/.
FOLDERS = {path.name for path in PROJECT.iterdir() if path.is_dir()} - {"data", "runs", "figures", "wandb"}
MODULES = re.compile(r"(networks|data|runs|training|launch|results|report)/\w+\.(py|css)")


def code(text: str) -> Iterator[str]:
    """The lines of code blocks and the code spans of a page, without the output of commands in a console."""
    for language, block in FENCED.findall(text):
        lines = block.splitlines()
        yield from (line[2:] for line in lines if line.startswith("$ ")) if language == "console" else lines
    text = FENCED.sub("", text)
    yield from (line.strip() for line in text.splitlines() if line.startswith("    "))
    for span in SPAN.findall(text):
        # In a sentence, `transferability run` is a command's name and needs no arguments.
        yield f"{span} --help" if re.fullmatch(r"transferability \w+", span) else span


def wrong_command(line: str) -> str:
    """What is wrong with a command of this project, "" if nothing is, or if the line is another program's."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # no shell line
        return ""
    program, rest = (words[0].rpartition("/")[2], words[1:]) if words else ("", [])
    if program == "transferability" and rest:
        return wrong_options(rest)
    if program == "python" and rest and rest[0] not in ("-m", "-c"):
        script = PROJECT / rest[0]
        if not script.is_file():
            return f"there is no {rest[0]}"
        source = script.read_text()
        if rest[0].startswith("plots/"):  # a script for a figure of the package; all of them share options
            figures = PROJECT / "transferability" / "plots"
            source = (figures / script.name).read_text() + (figures / "command.py").read_text()
        absent = [word for word in rest if word.startswith("--") and f'"{word.partition("=")[0]}"' not in source]
        return f"{rest[0]} has no {absent[0]}" if absent else ""
    if program == "make" and rest:
        targets = re.findall(r"^(\w+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
        return "" if rest[0] in targets else f"there is no target {rest[0]}"
    return ""


def wrong_options(words: list[str]) -> str:
    """What the command line would refuse of a call; nothing is run."""
    command = COMMANDS.get(words[0])
    if command is None:
        return "" if words[0].startswith("--") else f"there is no command {words[0]}"
    try:
        command.make_context(words[0], words[1:])
    except typer.Exit:  # --help
        return ""
    except Exception as error:
        return getattr(error, "message", "") or str(error)
    return ""


def wrong_paths(line: str) -> list[str]:
    """The words of a line that name a file or folder of the project which is not there."""
    words = [re.sub(r"\.py:.*", ".py", word.strip("'\"`.,;:()")) for word in re.split(r"[\s=]", line)]  # FILE:STUDY
    paths = [word for word in words if "/" in word and not re.search(r"[*…{<$]", word)]
    paths = [word for word in paths if not word.startswith("experiments/asked/")]  # which `ask` writes
    named = {word: PROJECT / word for word in paths if word.partition("/")[0] in FOLDERS}
    named |= {word: PACKAGE / word for word in paths if MODULES.fullmatch(word)}
    # A figure's code and the script that draws it have the same name: plots/ is a folder of both.
    return [word for word, path in named.items() if not path.exists() and not (PACKAGE / word).exists()]


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def wrong_links(text: str, page: Path) -> list[str]:
    wrong = []
    for link in LINK.findall(FENCED.sub("", text)):
        if link.startswith(("http://", "https://")):
            continue
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


def problems(text: str, page: Path) -> list[str]:
    """Everything that is wrong on a page."""
    lines = list(code(text))
    wrong = [f"{line}: {why}" for line in lines if (why := wrong_command(line))]
    wrong += [f"there is no {word}" for line in lines if not wrong_command(line) for word in wrong_paths(line)]
    return wrong + [f"the link {link} leads nowhere" for link in wrong_links(text, page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_paths_and_links_of_a_page_exist(page: Path) -> None:
    assert problems(page.read_text(), page) == []


@pytest.mark.parametrize("experiment", sorted(EXPERIMENTS.glob("*.py")), ids=lambda file: file.name)
def test_commands_and_paths_of_an_experiments_docstring_exist(experiment: Path) -> None:
    docstring = ast.get_docstring(ast.parse(experiment.read_text()))
    assert docstring is not None and "Cost: " in docstring
    assert problems(docstring, experiment) == []


@pytest.mark.parametrize(
    "text",
    [
        "`transferability fly mine.py`",
        "    transferability run mine.py --fast\n",
        "    transferability plan mine.py --fleet-size many  # a comment\n",
        "    transferability pack somewhere\n",
        "```console\n$ transferability status\n```\n",
        "    python plots/figure9.py\n",
        "    .venv/bin/python plots/figure2.py results.csv --colour blue\n",
        "`make coffee`",
        "`transferability/nowhere.py`",
        "`training/nowhere.py`",
        "`docs/nowhere.md`",
        "[a page](nowhere.md)",
        "![an image](docs/images/nowhere.png)",
        "[a heading](#nowhere)",
        "[a heading](docs/paper.md#nowhere)",
    ],
)
def test_what_does_not_exist_is_noticed(text: str) -> None:
    assert len(problems(text, PROJECT / "README.md")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "`transferability`, `transferability run --help`, `transferability --version`",
        "    transferability run mine.py --only 'random-0/*' --workers 2  # and a comment\n",
        "    python plots/figure2.py runs/mine/results.csv --paper --out figures\n",
        "```console\n$ sinfo\ntransferability fly\n```\n",
        "`make demo`, `runs/mine/results.csv`, `data/NAME`, `random-0/A3B+`, `results/show.html`",
        "[a heading](docs/paper.md#what-the-published-numbers-cannot-show) [elsewhere](https://example.org)",
    ],
)
def test_what_exists_or_is_made_is_not_complained_of(text: str) -> None:
    assert problems(text, PROJECT / "README.md") == []


def test_the_first_page_is_short_and_leads_to_every_other() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert len(readme.splitlines()) <= 120
    linked = {link.partition("#")[0] for link in LINK.findall(readme)}
    assert {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs"} <= linked


def test_the_example_of_the_first_page_is_a_study(tmp_path: Path) -> None:
    examples = [
        block for language, block in FENCED.findall((PROJECT / "README.md").read_text()) if language == "python"
    ]
    assert len(examples) == 1
    (tmp_path / "mine.py").write_text(examples[0])
    assert len(load_study(tmp_path / "mine.py").networks) == 3 * 2 * 2 * (1 + 4 * 7) + 3


def test_tables_are_what_the_results_and_the_code_say() -> None:
    assert doc_tables.out_of_date() == [], "run: python tools/doc_tables.py"


def test_a_table_that_is_out_of_date_is_noticed() -> None:
    page = "<!-- table recipe -->\n| field |\n<!-- end -->\n"
    assert "`validate_every`" in doc_tables.filled(page) and doc_tables.filled(page) != page
    assert doc_tables.filled(doc_tables.filled(page)) == doc_tables.filled(page)


def test_the_map_names_every_file_of_the_package_once() -> None:
    rows = (PROJECT / "docs" / "design.md").read_text().partition("## Files of the package")[2]
    listed = re.findall(r"^\| `([\w/]+\.(?:py|css|html))` \|", rows, re.MULTILINE)
    kinds = (".py", ".css", ".html")
    files = [path for path in PACKAGE.rglob("*") if path.suffix in kinds and path.name != "__init__.py"]
    assert sorted(listed) == sorted(path.relative_to(PACKAGE).as_posix() for path in files)


def test_environment_variables_are_read_somewhere() -> None:
    sources = "".join(path.read_text() for path in [*PACKAGE.rglob("*.py"), *(PROJECT / "slurm").iterdir()])
    named = {word for page in PAGES for word in re.findall(r"\bTRANSFERABILITY_[A-Z]+\b", page.read_text())}
    assert named and [word for word in sorted(named) if word not in sources] == []

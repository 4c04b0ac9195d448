"""The shape of the code: which way imports run, how long functions are, where the environment is read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import PROJECT

PACKAGE = PROJECT / "transferability"
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST, MOST_PARAMETERS = 60, 7
# Who reads the environment: the entry points, and what speaks for a program that has variables of its own.
ENVIRONMENT = {
    "cli.py": "the command line: the width that COLUMNS gives",
    "runs/paths.py": "functions for entry points",
    "runs/machine.py": "ranks, GPUs, threads: what this process is on its machine",
    "runs/locks.py": "SLURM's number of this job",
    "launch/local.py": "what the workers find",
    "launch/slurm.py": "what sbatch finds, and the site's settings",
    "training/tracking.py": "W&B's own variables",
    "plots/__init__.py": "matplotlib's own variable",
}


def floors(text: str) -> dict[str, int]:
    """Name of a module or folder → its floor, from the block in docs/design.md; the lowest is 0."""
    block = text.split("```floors\n")[1].split("```")[0]
    lines = [line.split() for line in block.strip().splitlines()]
    return {name: len(lines) - 1 - height for height, names in enumerate(lines) for name in names}


def room(module: str) -> str:
    """`transferability.data.packed` → data."""
    return module.split(".")[1] if "." in module else "__init__"


def module_of(file: Path) -> str:
    parts = file.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules of the package that a file imports, also within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "transferability":
            yield from (f"transferability.{name.name}" for name in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("transferability."):
            submodules = [f"{node.module}.{name.name}" for name in node.names]
            known = {module_of(file) for file in FILES}
            yield from (name if name in known else str(node.module) for name in submodules)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("transferability."))


def imports_of_the_package() -> dict[str, set[str]]:
    known = {module_of(file) for file in FILES}
    trees = {module_of(file): ast.parse(file.read_text()) for file in FILES}
    return {module: {name for name in imported(tree) if name in known} - {module} for module, tree in trees.items()}


def rising(graph: dict[str, set[str]], heights: dict[str, int]) -> list[str]:
    """The imports from a module on a floor above one's own, or beside it in another room."""
    return [
        f"{module} imports {name}"
        for module, names in graph.items()
        for name in names
        if room(module) != room(name) and heights[room(module)] <= heights[room(name)]
    ]


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import themselves through others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        left = [start]
        while left:
            for name in graph[left.pop()] - seen:
                seen.add(name)
                left.append(name)
        return seen

    return [module for module in graph if module in reached(module)]


def test_imports_run_downwards_and_never_in_a_circle() -> None:
    heights = floors((PROJECT / "docs" / "design.md").read_text())
    graph = imports_of_the_package()
    rooms = {room(module) for module in graph if module != "transferability"}
    assert rooms - heights.keys() == set(), "docs/design.md has no floor for these"
    assert heights.keys() - rooms == set(), "docs/design.md has a floor for what is not there"
    assert rising({module: names for module, names in graph.items() if module != "transferability"}, heights) == []
    assert circles(graph) == []


def test_the_test_of_imports_sees_a_rise_and_a_circle() -> None:
    graph = {"transferability.a": {"transferability.b"}, "transferability.b": {"transferability.a"}}
    assert rising(graph, {"a": 1, "b": 0}) == ["transferability.b imports transferability.a"]
    assert circles(graph) == ["transferability.a", "transferability.b"]
    tree = ast.parse("def f():\n    from transferability.data import packed\n    import transferability.cli")
    assert set(imported(tree)) == {"transferability.data.packed", "transferability.cli"}


def functions(file: Path) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef):
            yield f"{file.relative_to(PROJECT)}:{node.name}", node


def is_command(function: ast.FunctionDef) -> bool:
    """Whether its parameters are the options of a command, which typer reads from the signature."""
    names = {ast.unparse(decorator).partition("(")[0] for decorator in function.decorator_list}
    return bool(names & {"app.command", "app.callback"})


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_functions_are_short_and_take_few_parameters(file: Path) -> None:
    for name, function in functions(file):
        first = function.body[0] if is_command(function) else function  # a command's options come before its body
        lines = (function.end_lineno or 0) - first.lineno + 1
        assert lines <= LONGEST, f"{name} has {lines} lines"
        arguments = function.args
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        count = len([parameter for parameter in parameters if parameter.arg not in ("self", "cls")])
        options = is_command(function) or name.endswith("cli.py:_machine")
        assert count <= MOST_PARAMETERS or options, f"{name} takes {count} parameters"


def test_the_environment_is_read_by_entry_points_alone() -> None:
    readers = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
                readers.add(str(file.relative_to(PACKAGE)))
    assert readers == ENVIRONMENT.keys()
    callers = {
        str(file.relative_to(PACKAGE))
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("study_folder", "data_root")
    }
    assert callers == {"api.py", "cli.py"}

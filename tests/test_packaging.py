"""pyproject.toml and constraints.txt: every requirement has a lower bound and a pin, and they agree."""

import importlib.metadata
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from project import PROJECT


def pins() -> dict[str, str]:
    """Name → version of each line of constraints.txt."""
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in requirements}


def test_every_requirement_has_a_lower_bound_and_a_pin_above_it() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    requirements = [requirement for requirement in map(Requirement, lines) if requirement.name != project["name"]]
    assert len(requirements) > 20
    versions = pins()
    for requirement in requirements:
        assert [part.operator for part in requirement.specifier] == [">="], requirement
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_no_pin_contradicts_what_an_installed_package_needs() -> None:
    """pip tries every version of a package in vain before it says that a pin makes it impossible."""
    versions = pins()
    for package in importlib.metadata.distributions():
        if versions.get(canonicalize_name(package.name)) != package.version:
            continue  # not what the constraints install
        for requirement in map(Requirement, package.requires or []):
            pin = versions.get(canonicalize_name(requirement.name))
            if pin is not None and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                assert requirement.specifier.contains(pin, prereleases=True), f"{package.name} needs {requirement}"

"""The type of the fixture `command`, which runs the command line in the process of the tests."""

from collections.abc import Callable

Command = Callable[..., tuple[int, str, str]]

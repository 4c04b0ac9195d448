"""Full names of networks in few lines, seconds and counts in words: how people are told of a study."""

import datetime
import re
from collections.abc import Iterable


def in_spans(names: Iterable[str]) -> list[str]:
    """Full names in few lines: networks that differ in n, in the seed or in the random split share one.

    Written with a shell's braces, random-{0..3}/A{1..7}B+/seed-0, and in the order of the first name of each line.
    """
    for pattern in (r"(.*/[A-Z]t?)(\d+)([A-Z].*)", r"(.*/seed-)(\d+)()", r"(random-)(\d+)(/.*)"):  # n, seed, split
        spans: dict[tuple[str, str], list[str]] = {}  # (text to the number, text from it on) → the numbers
        for name in names:
            match = re.fullmatch(pattern, name)
            head, number, tail = match.groups() if match else (name, "", "")
            spans.setdefault((head, tail), []).append(number)
        names = [head + braced(numbers) + tail for (head, tail), numbers in spans.items()]
    return list(names)


def braced(numbers: Iterable[str]) -> str:
    """Numbers as a shell's braces write them: 3, {1,3}, {1..7}."""
    ordered = sorted({*numbers}, key=lambda number: int(number or 0))
    if len(ordered) < 2:
        return "".join(ordered)
    first, last = int(ordered[0]), int(ordered[-1])
    if len(ordered) > 2 and len(ordered) == last - first + 1:
        return f"{{{first}..{last}}}"
    return "{" + ",".join(ordered) + "}"


def span(seconds: float) -> str:
    """Seconds in words of people: 40 s, 12 min, 3:20 h, 2 d 4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    span = datetime.timedelta(seconds=round(seconds))
    hours, minutes = divmod(span.seconds // 60, 60)
    return f"{span.days} d {hours} h" if span.days else f"{hours}:{minutes:02d} h"


def counted(count: int, noun: str) -> str:
    """As 1 seed, 2 seeds."""
    return f"{count} {noun}{'' if count == 1 else 's'}"

"""The command line that all figures share, and how figures are saved."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transferability.files import Refused, in_words, print_any_character, write_atomically
from transferability.plots import style
from transferability.plots.style import Page
from transferability.plots.tables import Drawn, NotDrawn, read_table

# No date in any of them: the same table gives the same bytes.
FORMATS: dict[str, dict[str, None]] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
LATEX = "tex"  # of table1 only
DEFAULT = ("png", "pdf")


def parser(doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """The arguments that every figure has: where it is saved, and how it looks."""
    arguments = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=Path("figures"), help="folder for the files (figures)")
    arguments.add_argument(
        "--format",
        action="append",
        choices=(*FORMATS, LATEX),
        help="png, pdf, svg, or tex for table1; may be repeated (png and pdf)",
    )
    arguments.add_argument("--width", type=inches, help="width in inches (the figure's own, 5.5 or 6.5)")
    arguments.add_argument("--style", type=Path, metavar="FILE", help="matplotlib style file, on top of the project's")
    arguments.add_argument("--no-counts", action="store_true", help="leave out the numbers of networks and units")
    arguments.add_argument("--caption", default="", help="text to print below the figure")
    arguments.set_defaults(**defaults)
    return arguments


def inches(text: str) -> float:
    try:
        width = float(text)
    except ValueError:
        width = 0.0
    if not 2.5 <= width <= 20:
        raise argparse.ArgumentTypeError(f"{text}: write a width in inches, from 2.5 to 20")
    return width


def table_parser(doc: str | None) -> argparse.ArgumentParser:
    """`parser` for a figure of a results table."""
    arguments = parser(doc)
    arguments.add_argument(
        "table", nargs="?", type=Path, metavar="RESULTS.CSV", help="of a study; without it, the paper's networks"
    )
    arguments.add_argument("--paper", action="store_true", help="set the paper's networks beside those of RESULTS.CSV")
    return arguments


def add_split(arguments: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add --split, for figures that show one group of splits."""
    arguments.add_argument("--split", default="", help="random (all random splits pooled) or the name of one split")
    return arguments


def page_of(options: argparse.Namespace) -> Page:
    return Page(options.width, not options.no_counts, options.caption)


def table_figure(
    draw: Callable[..., list[Drawn | NotDrawn]],
    arguments: argparse.ArgumentParser,
    given: Sequence[str] | None,
    refuse: bool = True,
) -> None:
    """Parse the arguments, read the table, call `draw(table, page, …)` with the figure's own options, save.

    Refused, with the reasons, if nothing could be drawn; `refuse=False` prints them instead.
    """
    options = arguments.parse_args(given)
    with style.settings(options.style):
        table = read_table(options.table, options.paper)
        if table.diverged:
            print("diverged, so not drawn: " + ", ".join(table.diverged))
        if table.rows.empty:
            raise Refused(f"{options.table} has no network that can be drawn")
        own = {key: value for key, value in vars(options).items() if key not in COMMON}
        publish(draw(table, page_of(options), **own), options, refuse)


COMMON = ("out", "format", "width", "style", "no_counts", "caption", "table", "paper")


def publish(drawings: Sequence[Drawn | NotDrawn], options: argparse.Namespace, refuse: bool = True) -> None:
    """Save the figures, print where they are, what they lack, and why others were not drawn."""
    reasons = [drawing for drawing in drawings if isinstance(drawing, NotDrawn)]
    if refuse and len(reasons) == len(drawings):
        raise Refused("; ".join(reason.reason for reason in reasons))
    for drawing in drawings:
        if isinstance(drawing, NotDrawn):
            print(drawing)
            continue
        print("  ".join(map(str, save(drawing, options.out, options.format or DEFAULT))))
        for line in drawing.lines:
            print(line)


def save(drawn: Drawn, folder: Path, formats: Sequence[str] = DEFAULT) -> list[Path]:
    """Write a figure into `folder` in each of the formats; their paths. Refused: LaTeX of what is no table."""
    if LATEX in formats and not drawn.latex:
        formats = [name for name in formats if name != LATEX]
        if not formats:
            raise Refused(f"{drawn.name}: only table1 can be written as LaTeX; choose {', '.join(FORMATS)}")
    paths = []
    for name in dict.fromkeys(formats):
        path = folder / f"{drawn.name}.{name}"
        if name == LATEX:
            with write_atomically(path, "w") as handle:
                handle.write(drawn.latex)
        else:
            with write_atomically(path) as handle:
                drawn.figure.savefig(handle, format=name, metadata=FORMATS[name])
        paths.append(path)
    return paths


def run(main: Callable[[], None]) -> None:
    """Run a figure's `main` as a program: an error for people is one line and exit code 2."""
    print_any_character()
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # a reader that has seen enough (`| head`) is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Refused, OSError) as error:  # a full disk, a folder of somebody else's
        if isinstance(error, OSError) and error.filename is None:
            raise
        print(in_words(error), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)

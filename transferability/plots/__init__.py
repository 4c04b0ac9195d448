"""The figures and tables, one file each. They read results tables, and nothing here imports torch.

Every figure's file has

    draw(table, page, …) -> list[Drawn | NotDrawn]    the figures, or the reasons why one could not be drawn
    main(arguments)                                    the same from the command line: `python plots/figure2.py --help`

`draw` takes the settings of matplotlib that are in force; `style.settings()` puts the project's own in force.
"""

import contextlib
import importlib.util
import os
import sys
from pathlib import Path


def _import_matplotlib() -> None:
    """Import matplotlib, with its own defaults where the user's settings for it make the import fail.

    MPLBACKEND may name a notebook's backend that is not installed here, and a matplotlibrc (of the current folder, of
    MATPLOTLIBRC, of the home folder) may be unreadable. No figure here needs either.
    """
    try:
        import matplotlib
    except ImportError:
        raise
    except Exception:
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]  # half imported
        package = importlib.util.find_spec("matplotlib")
        assert package is not None and package.origin is not None
        backend = os.environ.pop("MPLBACKEND", None)
        try:
            # matplotlib looks for a matplotlibrc in the current folder first. This folder has the one it came with.
            with contextlib.chdir(Path(package.origin).parent / "mpl-data"):
                import matplotlib  # noqa: F401
        finally:
            if backend is not None:
                os.environ["MPLBACKEND"] = backend


_import_matplotlib()

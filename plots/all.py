"""All figures and tables that the paper's published accuracies allow; `make figures` calls this.

    python plots/all.py [RESULTS.CSV] [--paper] [--out figures]

Without RESULTS.CSV the paper's accuracies are drawn, with it one's own, with both they are overlaid.
"""

from collections.abc import Sequence

import figure1
import figure2
import figure3
import paired
import preserved
import reduced_data
import style
import table1

from transferability.files import Refused

OWN_RUNS = {
    "training_curves": "python plots/training_curves.py runs/STUDY/curves.csv",
    "filters": "python plots/filters.py runs/STUDY",
}


def main(arguments: Sequence[str] | None = None) -> None:
    options = style.command_line(__doc__).parse_args(arguments)
    tables = [str(options.table)] if options.table else []
    paper = ["--paper"] if options.paper or not tables else []
    if tables:
        style.tables(options)  # a table that cannot be used ends it all here, with one line
    common = ["--out", str(options.out), "--caption", options.caption]
    for plot in (figure1, figure2, figure3, table1, reduced_data, preserved, paired):
        try:
            plot.main([*([] if plot is figure1 else tables + paper), *common])
        except Refused as error:
            if not tables:
                raise
            print(f"{plot.__name__}: not drawn: {error}")  # a study need not have every kind of network
    for name, command in OWN_RUNS.items():
        print(f"{name}: needs one's own runs: {command}")


if __name__ == "__main__":
    style.run(main)

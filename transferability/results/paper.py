"""The paper's own numbers: Yosinski, Clune, Bengio and Lipson, NIPS 2014, in the columns of results.csv.

Source: the training logs that the authors published beside their code (github.com/yosinski/convnet_transfer),
from which the accuracies of 148 networks were computed; 22 of the 170 have no log. Their statistic is
`val_top1_best10`, the mean of the ten highest of 450 validation accuracies (one per 1,000 iterations; three
logs are shorter); the final accuracy `val_top1` is empty. `val_loss` is the mean of the ten lowest losses.

Names are in the paper's notation: in manmade-natural A is man-made and B is natural, in whole W is all 1,000
classes. The authors' halves 0A and 0B are random-0's A and B; they trained BnB and BnB+ on A only.
"""

import pandas as pd

from transferability.classes import TABLES
from transferability.results.table import read_results

CITATION = "Yosinski et al. 2014"


def paper_results() -> pd.DataFrame:
    """The 148 networks with a published log, one row each, in the columns and types of `table.COLUMNS`."""
    return read_results(TABLES / "yosinski2014_networks.csv")


def paper_preserved() -> pd.DataFrame:
    """An experiment of the authors that the paper leaves out: BnB and AnB on random-0 with 0, 1 or 2 further
    layers that start from the base's weights and are trained (A3A, A3Ap1, A3Ap2, A3B, A3Bp1, A3Bp2).

    Source: the notebook beside their code. The numbers are single accuracies, not means of ten: they are in
    `val_top1`, and differ by up to half a point from those of the same networks in `paper_results`.
    """
    return read_results(TABLES / "preserved.csv")

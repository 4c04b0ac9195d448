"""What is taught about transfer, sentence by sentence, each with the rule that decides it, fixed before any run.

The sentences are those of courses, reviews and well-known papers; `stated` has the numbers that go with them. Each is a
difference that is claimed to be above 0, measured on the networks of one study of `experiments/`: paired within split,
seed and target, with a 95 % t interval over units. Where a way has several n, n is chosen on other validation images
(`strategies.py`). "Near" and "far" are random halves and man-made/natural halves of Tiny ImageNet; "few" and "many" the
fewest and the most images per class of the study.

Verdicts: "reproduced" (the interval lies above 0); "not reproduced" (below 0, or within one point of it); else "not
enough networks"; "not trained yet" where the table lacks the networks. Of a rank correlation over source networks the
interval has to lie above 0, or below.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from rich.console import Console

from transferability.results.claims import NOT_REPRODUCED, REPRODUCED
from transferability.results.show import Column, points, print_columns, print_note
from transferability.results.sources import network_of, rank_correlation, transferred
from transferability.results.statistics import NO_MEAN, NOT_ENOUGH, Mean, mean_of, mean_over_units, verdict
from transferability.results.strategies import ALL, difference, ways

NOT_TRAINED = "not trained yet"
COURSE = "course on deep features"
USUAL = "the usual table: size and distance of the target"


@dataclass(frozen=True)
class Taught:
    """One sentence: `left` is above `right`, in the study `study` (or those whose names begin so and go on with `-`).

    measure: "ways" (of `strategies.WAYS`), "shrinks" (the same difference, at few images minus at many), "treatments"
    (at the same n, the n averaged), "rank" (of sources, the way `left`), "family" (the best network whose name has
    `left`, minus the best other, fine-tuned at a tenth). images: "few" or "many"; "" for all of the study.
    """

    id: str
    source: str
    text: str
    stated: str
    study: str
    measure: str
    left: str
    right: str = ""
    group: str = ""
    images: str = ""

    @property
    def rule_text(self) -> str:
        if self.measure == "rank":
            return "the interval of the rank correlation above 0"
        sides = {
            "ways": f"{self.left} minus {self.right}",
            "treatments": f"{self.left} minus {self.right}",
            "shrinks": f"{self.left} minus {self.right}, at few minus at many images",
            "family": f"the best {self.left} minus the best other network",
        }[self.measure]
        return f"{sides}: the interval above 0"


NEAR, FAR, FLOWERS = "random", "manmade-natural", "imagenet-flowers17"
# fmt: off
TAUGHT = (
    Taught("S1", USUAL, "few images, near: pure transfer beats training from scratch", "VOC 2007: 83 over 40 mAP",
           "regimes", "ways", "frozen", "scratch", NEAR, "few"),
    Taught("S2", USUAL, "few images, near: features are better than fine-tuning, which overfits", "advice",
           "regimes", "ways", "frozen", "full", NEAR, "few"),
    Taught("S3", USUAL, "many images, near: fine-tuning beats pure transfer", "VOC 2007: 85 over 83 mAP",
           "regimes", "ways", "full", "frozen", NEAR, "many"),
    Taught("S4", USUAL, "many images, near: fine-tuning beats training from scratch", "advice",
           "regimes", "ways", "full", "scratch", NEAR, "many"),
    Taught("S5", USUAL, "few images, far: pure transfer still beats training from scratch", "advice",
           "regimes", "ways", "frozen", "scratch", FAR, "few"),
    Taught("S6", COURSE, "many images, far: training from scratch beats pure transfer",
           "Food-101: 53 over 40; M2CAI: 70 over 60", "regimes", "ways", "scratch", "frozen", FAR, "many"),
    Taught("S7", COURSE, "many images, far: fine-tuning beats training from scratch",
           "Food-101: 65 over 53; M2CAI: 80 over 70", "regimes", "ways", "full", "scratch", FAR, "many"),
    Taught("S8", COURSE, "few images: handmade features beat a network from scratch", "VOC 2007: 70 over 40 mAP",
           "regimes", "ways", "handmade", "scratch", NEAR, "few"),
    Taught("S9", COURSE, "many images: a network from scratch beats handmade features", "Food-101: 53 over 25",
           "regimes", "ways", "scratch", "handmade", NEAR, "many"),
    Taught("S10", COURSE, "pure transfer beats handmade features", "VOC 2007: 83 over 70 mAP",
           "regimes", "ways", "frozen", "handmade", NEAR, "few"),
    Taught("S11", "Kornblith et al. 2019", "what transfer gains over scratch shrinks as images grow", "figure 8",
           "regimes", "shrinks", "full", "scratch", NEAR),
    Taught("S12", "the usual advice", "few images: fine-tune at a tenth of the rate, not at the full rate", "advice",
           "regimes-flowers17", "ways", "tenth", "full", FLOWERS, "few"),
    Taught("S13", USUAL, "published network, few images: pure transfer beats training from scratch", "advice",
           "regimes-flowers17", "ways", "frozen", "scratch", FLOWERS, "few"),
    Taught("B1", "Kornblith et al. 2019", "better sources have better features", "r = 0.99 (16 networks)",
           "better_bases", "rank", "frozen", group=NEAR),
    Taught("B2", "Kornblith et al. 2019", "better sources are better when fine-tuned", "r = 0.96 (16 networks)",
           "better_bases", "rank", "full", group=NEAR),
    Taught("B3", "Kornblith et al. 2019", "the same of published networks: features", "r = 0.99 (16 networks)",
           "backbones", "rank", "frozen", group=FLOWERS),
    Taught("B4", "Kornblith et al. 2019", "the same of published networks: fine-tuned", "r = 0.96 (16 networks)",
           "backbones", "rank", "tenth", group=FLOWERS),
    Taught("B5", "often said", "the ResNet family transfers best", "advice",
           "backbones", "family", "resnet", group=FLOWERS),
    Taught("F1", "exercise on Flowers-17", "features beat training from scratch", "scratch < features",
           "four_models", "treatments", "AnB@40", "base@40"),
    Taught("F2", "exercise on Flowers-17", "fine-tuning beats features", "features < fine-tuned",
           "four_models", "treatments", "AnB+0.1@40", "AnB@40"),
    Taught("F3", "exercise on Flowers-17", "chain-thaw beats fine-tuning", "fine-tuned < chain-thaw",
           "four_models", "treatments", "AnB+chain@40", "AnB+0.1@40"),
    *(Taught(f"W{word}{images}", source, f"{images} per class: {text} beats fine-tuning at a tenth", "advice",
             f"rules_flowers17-{images}", "treatments", f"AnB+{word}@{images}", f"AnB+0.1@{images}")
      for images in (5, 40)
      for word, text, source in (
          ("chain", "chain-thaw", "Felbo et al. 2017"),
          ("gradual", "gradual unfreezing", "Howard and Ruder 2018"),
          ("probe", "probing first", "Kumar et al. 2022"),
          ("sp", "pulling towards the source", "Li et al. 2018"))),
)
# fmt: on


@dataclass(frozen=True)
class Judged:
    taught: Taught
    measured: Mean  # NO_MEAN where there are no networks; of "rank" the correlation, its networks the sources
    verdict: str


def judge(taught: Taught, rows: pd.DataFrame) -> Judged:
    """One sentence. rows: of `statistics.networks`, of one study or of several, put together."""
    own = rows[(rows["study"] == taught.study) | rows["study"].str.startswith(f"{taught.study}-")]
    if taught.measure in ("ways", "shrinks", "treatments"):
        own = own[own["study"] == taught.study]
    own = own[own["group"] == taught.group] if taught.group else own
    measured = {
        "ways": _of_ways,
        "shrinks": _shrinks,
        "treatments": _of_treatments,
        "rank": _rank,
        "family": _family,
    }[taught.measure](taught, own)
    if not measured.networks:
        return Judged(taught, measured, NOT_TRAINED)
    # A correlation has no margin of points around 0.
    decided = verdict(measured, 0.0) if taught.measure == "rank" else verdict(measured)
    return Judged(taught, measured, {"above": REPRODUCED, NOT_ENOUGH: NOT_ENOUGH}.get(decided, NOT_REPRODUCED))


def taught(rows: pd.DataFrame) -> list[Judged]:
    """Every sentence, on the networks of the studies that `rows` has."""
    return [judge(each, rows) for each in TAUGHT]


def _of_ways(taught: Taught, rows: pd.DataFrame) -> Mean:
    gaps = {images: mean for images, mean in difference(ways(rows), taught.left, taught.right).items() if images != ALL}
    return gaps[min(gaps) if taught.images == "few" else max(gaps)] if gaps else NO_MEAN


def _shrinks(taught: Taught, rows: pd.DataFrame) -> Mean:
    table = ways(rows)
    wide = table.pivot_table(index=["unit", "target", "images"], columns="way", values="accuracy")
    if taught.left not in wide or taught.right not in wide:
        return NO_MEAN
    gaps = (wide[taught.left] - wide[taught.right]).unstack("images").drop(columns=ALL, errors="ignore")
    if gaps.shape[1] < 2:
        return NO_MEAN
    shrunk = (gaps[gaps.columns.min()] - gaps[gaps.columns.max()]).rename("difference")
    return mean_of(shrunk.dropna().reset_index())


def _of_treatments(taught: Taught, rows: pd.DataFrame) -> Mean:
    sides = [rows[rows["treatment"] == treatment] for treatment in (taught.left, taught.right)]
    place = ["unit", "target"] if taught.right.startswith("base") else ["unit", "target", "n"]
    right = sides[1].set_index(place)["accuracy"].rename("right")
    joined = sides[0].join(right[~right.index.duplicated()], on=place)
    return mean_of(joined.assign(difference=joined["accuracy"] - joined["right"]))


def _rank(taught: Taught, rows: pd.DataFrame) -> Mean:
    found = [each for each in transferred(rows) if each.way == taught.left and not math.isnan(each.source)]
    most = max((each.images for each in found), default=0)
    found = [each for each in found if each.images == most]
    correlation = rank_correlation([each.source for each in found], [each.mean.value for each in found])
    return Mean(correlation.value, correlation.low, correlation.high, len(found), len(found), "networks")


def _family(taught: Taught, rows: pd.DataFrame) -> Mean:
    """The best of the family minus the best other, for each unit; each side chosen by the other units."""
    table = ways(rows)
    table = table[(table["way"] == "tenth") & (table["images"] == table["images"].max())]
    by_unit = table.pivot_table(index="unit", columns="study", values="accuracy")
    inside = [study for study in by_unit if taught.left in network_of(str(study))]
    outside = [study for study in by_unit if study not in inside]
    if not inside or not outside or len(by_unit) < 2:
        return NO_MEAN
    gaps = []
    for unit in by_unit.index:
        elsewhere = by_unit.drop(index=unit).mean()
        gaps.append(by_unit.loc[unit, elsewhere[inside].idxmax()] - by_unit.loc[unit, elsewhere[outside].idxmax()])
    return mean_over_units(gaps, table.drop_duplicates("unit"))


# ------------------------------------------------------------------------------------------------ for people


def value_of(judged: Judged) -> str:
    """A difference in points, or a rank correlation, with its interval; "–" without networks."""
    mean = judged.measured
    if math.isnan(mean.value):
        return "–"
    if judged.taught.measure == "rank":
        return f"{mean.value:+.2f} ({mean.low:+.2f} to {mean.high:+.2f})"
    return points(mean.value, mean.low)


def taught_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per sentence, for `transferability claims --taught --csv`: fractions, or a rank correlation."""
    lines = []
    for judged in taught(rows):
        each, mean = judged.taught, judged.measured
        line: dict[str, object] = {"id": each.id, "source": each.source, "claim": each.text, "stated": each.stated}
        line |= {"study": each.study, "rule": each.rule_text, "yours": mean.value}
        line |= {"yours_low": mean.low, "yours_high": mean.high}
        lines.append(line | {"networks": mean.networks, "units": mean.units, "verdict": judged.verdict})
    return pd.DataFrame(lines)


def print_taught(rows: pd.DataFrame, console: Console) -> None:
    """Prints every sentence with its rule, what was measured, and the verdict."""
    columns = [
        Column("what is taught, by whom, and the rule", left=True, least=30),
        Column("stated", left=True, least=13, spare=1),
        Column("study", left=True, spare=2),
        Column("yours\npaired"),
        Column("networks\n/units"),
        Column("verdict", left=True, least=11),
    ]
    lines: list[Sequence[str]] = []
    for judged in taught(rows):
        each, mean = judged.taught, judged.measured
        text = f"[bold]{each.id}[/] {each.text} ({each.source})\n[dim]{each.rule_text}[/]"
        counts = f"{mean.networks}/{mean.units}"
        lines.append([text, each.stated, each.study, value_of(judged), counts, judged.verdict])
    print_columns(console, columns, lines)
    console.print()
    print_note(console, "Differences in points, paired; ± is the half-width of the 95 % t interval over units.")

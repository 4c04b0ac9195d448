"""The paper's quantitative claims, each with the rule that decides it, fixed before any run.

`CLAIMS` is the one table: what the paper states, what is measured, at which layers, by which rule and margin.
Each claim is measured three times by the same code: on the authors' networks pooled as in the paper, on the
authors' networks paired with the base of their own split and target, and on one's own networks.

Rules, for the interval of the mean (a t interval over units, split x seed; none below three units):
  same    it lies within the margin around 0                ("~0")
  slight  it lies below 0, and within the margin
  below   it excludes 0 on the lower side
  above   it excludes 0 on the upper side
  near    it lies within the margin around the stated value; one's own networks are held against it only if
          they were trained by the paper's recipe and have its statistic: the value belongs to ImageNet
  count   at least as many as stated
A claim about several layers has to hold at each of them, unless they are averaged (`together`).

Verdicts on one's own networks: "reproduced"; "not reproduced" (the interval rules the claim out); else "not
supported by the paper's own numbers", if the authors' networks do not show the claim either; else "not enough
networks". Where the authors have three units, their interval has to pass the rule; where they have fewer, as
in everything that they trained once, the value itself is held against it. How many networks the authors trained, and
on how many classes, are facts about the paper, which no other study can reproduce: they have no verdict.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
from rich.console import Console

from transferability.classes import ilsvrc_classes
from transferability.files import write_atomically
from transferability.results.paper import paper_results
from transferability.results.show import Column, points, print_columns, print_note
from transferability.results.statistics import (
    BEST,
    FINAL,
    MARGIN,
    MIN_UNITS,
    NO_MEAN,
    NOT_ENOUGH,
    STATISTICS,
    Mean,
    diverged,
    has_best,
    mean_of,
    mean_over_units,
    networks,
    pooled_mean,
)
from transferability.splits import task_classes

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
NOT_SUPPORTED = "not supported by the paper's own numbers"
FACT = "about the paper"
HALF_POINT = MARGIN / 2
PAPER_RECIPES = ("paper", "paper-reduced")
CHANCE = 0.001  # of 1,000 classes
EACH = (1, 2, 3, 4, 5, 6, 7)


@dataclass(frozen=True)
class Claim:
    """One claim: `quantity` of `treatment` in `group` at `layers`, and the rule that decides it.

    Quantities: accuracy, error, difference (minus the own base), specificity (minus the selffer on the same
    target), dominance (|co-adaptation| - |specificity|), growth (difference at `layers` - at `others`),
    slope (of the difference over n, against the random splits'), over random (difference - that of random
    features), over A (base B - base A), networks, classes. Values are fractions.
    """

    id: str
    where: str  # in the paper
    text: str
    stated: str  # as the paper says it
    quantity: str
    treatment: str
    layers: tuple[int, ...]
    rule: str
    value: tuple[float, ...] = (0.0,)  # near, count: as stated, one for all layers or one for each
    margin: float = MARGIN
    group: str = "random"
    together: bool = False  # layers averaged
    others: tuple[int, ...] = ()
    images: tuple[int, ...] = ()  # images per class, in place of layers

    @property
    def is_fact(self) -> bool:
        """Whether it says what the authors trained, not what they found."""
        return self.rule == "count"

    @property
    def rule_text(self) -> str:
        """The rule in words, with its margin, in points."""
        margin = f"{100 * self.margin:g} point"
        rule = {
            "same": f"the interval within {margin} of 0",
            "slight": f"the interval below 0, within {margin}",
            "below": "the interval below 0",
            "above": "the interval above 0",
            "near": f"the interval within {margin} of it",
            "count": "at least as many",
        }[self.rule]
        return rule + (" at each" if len(_labels(self)) > 1 and self.rule != "count" else "")


S1_IMAGES = (1300, 1000, 750, 500, 250, 100, 50, 25, 10, 5, 2, 1)
S1_VALUES = (
    *(0.5517618, 0.5409419, 0.5147, 0.475682, 0.384284, 0.001106),
    *(0.00111, 0.001078, 0.001068, 0.001084, 0.004448, 0.003796),
)

# fmt: off
CLAIMS = (
    # Section 4.1, item 1: the bases
    Claim("C01", "4.1(1)", "500-class bases: top-1", "0.625", "accuracy", "base", (0,), "near", (0.625,)),
    Claim("C02", "4.1(1)", "500-class bases: error", "37.5 %", "error", "base", (0,), "near", (0.375,)),
    Claim("C03", "4.1(1)", "1,000-class base: error", "42.5 %", "error", "base", (0,), "near", (0.425,),
          group="whole"),
    Claim("C04", "Fig. 2", "number of bases", "8", "networks", "base", (0,), "count", (8,)),
    Claim("C05", "Fig. 2", "number of BnB", "28", "networks", "BnB", EACH, "count", (28,), together=True),
    Claim("C06", "Fig. 2", "number of AnB", "56", "networks", "AnB", EACH, "count", (56,), together=True),
    Claim("C07", "Fig. 2", "number of BnB+", "1 1 2 1 2 2 1", "networks", "BnB+", EACH, "count",
          (1, 1, 2, 1, 2, 2, 1)),
    Claim("C08", "Fig. 2", "number of AnB+", "1 2 2 2 1 1 1", "networks", "AnB+", EACH, "count",
          (1, 2, 2, 2, 1, 1, 1)),
    # items 2 and 3: selffers
    Claim("C09", "4.1(2)", "BnB at n = 1 is the same as the base", "~0", "difference", "BnB", (1,), "same"),
    Claim("C10", "4.1(2)", "BnB at n = 2 is the same as the base", "~0", "difference", "BnB", (2,), "same"),
    Claim("C11a", "4.1(2)", "BnB at n = 3 to 6 is worse", "< 0", "difference", "BnB", (3, 4, 5, 6),
          "below"),
    Claim("C11b", "4.1(2)", "particularly at 4 and 5", "lowest", "growth", "BnB", (4, 5), "below",
          others=(3, 6)),
    Claim("C12", "4.1(2)", "BnB is nearly back at 6 and 7", "~0", "difference", "BnB", (6, 7), "same"),
    Claim("C13", "4.1(3)", "BnB+ is similar to the base", "~0", "difference", "BnB+", EACH, "same"),
    # item 4: transfer, frozen
    Claim("C14", "4.1(4)", "AnB at 1 and 2 transfers almost perfectly", "~0", "difference", "AnB", (1, 2),
          "same"),
    Claim("C15", "4.1(4)", "AnB at 3: a slight drop", "slight", "difference", "AnB", (3,), "slight"),
    Claim("C16", "4.1(4)", "AnB at 4 to 7: a more significant drop", "< 0", "difference", "AnB",
          (4, 5, 6, 7), "below"),
    Claim("C17", "4.1(4)", "co-adaptation dominates at 3, 4, 5", "|BnB - base| larger", "dominance",
          "AnB", (3, 4, 5), "above"),
    Claim("C18", "4.1(4)", "specificity dominates at 6, 7", "|AnB - BnB| larger", "dominance",
          "AnB", (6, 7), "below"),
    # Table 1 and item 5: transfer, fine-tuned
    Claim("T1-1-7a", "Table 1", "AnB+ over base, n = 1-7", "1.6", "difference", "AnB+", EACH, "near",
          (0.016,), HALF_POINT, together=True),
    Claim("T1-1-7b", "Table 1", "AnB+ over BnB+, n = 1-7", "1.4", "specificity", "AnB+", EACH, "near",
          (0.014,), HALF_POINT, together=True),
    Claim("T1-3-7a", "Table 1", "AnB+ over base, n = 3-7", "1.8", "difference", "AnB+", EACH[2:], "near",
          (0.018,), HALF_POINT, together=True),
    Claim("T1-3-7b", "Table 1", "AnB+ over BnB+, n = 3-7", "1.4", "specificity", "AnB+", EACH[2:], "near",
          (0.014,), HALF_POINT, together=True),
    Claim("T1-5-7a", "Table 1", "AnB+ over base, n = 5-7", "2.1", "difference", "AnB+", EACH[4:], "near",
          (0.021,), HALF_POINT, together=True),
    Claim("T1-5-7b", "Table 1", "AnB+ over BnB+, n = 5-7", "1.7", "specificity", "AnB+", EACH[4:], "near",
          (0.017,), HALF_POINT, together=True),
    Claim("C19", "4.1(5)", "fine-tuned transfer improves on the base, n = 1-7", "1.6", "difference", "AnB+",
          EACH, "above", together=True),
    Claim("C20", "4.1(5)", "and if at least five layers are kept", "2.1", "difference", "AnB+", EACH[4:],
          "above", together=True),
    Claim("C21a", "4.1(5)", "longer training is no reason: BnB+ gains only 0.2", "0.2", "difference",
          "BnB+", EACH, "near", (0.002,), HALF_POINT, together=True),
    Claim("C21b", "4.1(5)", "AnB+ gains more than BnB+", "1.4", "specificity", "AnB+", EACH, "above",
          together=True),
    Claim("C22", "4.1(5)", "the more layers are kept the better: n = 5-7 over 1-4", "increasing", "growth",
          "AnB+", (5, 6, 7), "above", others=(1, 2, 3, 4)),
    # Section 4.2: man-made and natural
    Claim("C23", "4.2", "natural base above man-made base", "B > A", "over A", "base", (0,), "above",
          group="manmade-natural"),
    Claim("C24", "4.2", "classes, man-made and natural", "551 449", "classes", "", (), "count", (551, 449),
          group="manmade-natural"),
    # Section 4.3: similar and dissimilar tasks, random features
    Claim("C25", "4.3", "drop at the final layer, similar tasks", "-8", "difference", "AnB", (7,), "near",
          (-0.08,)),
    Claim("C26", "4.3", "drop at the final layer, dissimilar tasks", "-25", "difference", "AnB", (7,),
          "near", (-0.25,), group="manmade-natural"),
    Claim("C27", "4.3", "the gap grows faster with n for dissimilar tasks", "steeper", "slope", "AnB", EACH,
          "below", group="manmade-natural", together=True),
    Claim("C28", "4.3", "random features fall off quickly at 1, 2", "down", "difference", "RnB", (1, 2),
          "below", group=""),
    Claim("C29", "4.3", "three and more random layers: near chance", "~0.001", "accuracy", "RnB", EACH[2:],
          "near", (CHANCE,), group="whole"),
    Claim("C30", "fn. 5", "three random layers: chance", "0.001", "accuracy", "RnB", (3,), "near",
          (CHANCE,), group="whole"),
    Claim("C31", "4.3", "a distant task's features beat random ones", "> 0", "over random", "AnB", EACH,
          "above", group="manmade-natural"),
    Claim("C32a", "4.3", "transferred, frozen features beat random ones", "> 0", "over random", "AnB", EACH,
          "above"),
    Claim("C32b", "4.3", "transferred, fine-tuned ones too", "> 0", "over random", "AnB+", EACH, "above"),
    # Supplement, and the code's README
    Claim("S1", "suppl.", "accuracy over images per class", "0.552 ... 0.004", "accuracy", "base", (),
          "near", S1_VALUES, group="whole", images=S1_IMAGES),
    Claim("S4", "suppl.", "5 to 100 images per class stay at chance", "0.001", "accuracy", "base", (),
          "near", (CHANCE,), group="whole", images=(5, 10, 25, 50, 100)),
    Claim("N1", "README", "number of networks, random features apart", "163", "networks", "", (), "count",
          (163,), group=""),
)
# fmt: on


@dataclass(frozen=True)
class LayerMeans:
    """A claim's quantity at one layer (or over all, label ""): pooled as in the paper, paired, one's own."""

    label: str  # "n=3", "@250" (images per class), or ""
    pooled: Mean
    authors: Mean
    yours: Mean


@dataclass(frozen=True)
class ClaimResult:
    claim: Claim
    measured: tuple[LayerMeans, ...]
    supported: str  # do the authors' own networks show it? "yes", "yes, no interval" (below three units), "no"
    verdict: str  # on one's own networks; FACT for a claim that is none about networks


def claims(results: pd.DataFrame | None = None) -> list[ClaimResult]:
    """Every claim, measured on the authors' networks and on one's own (None: on the authors' alone)."""
    yours = _authors_networks()[:0] if results is None else networks(results, statistic_of(results))
    return [judge(claim, yours) for claim in CLAIMS]


def statistic_of(results: pd.DataFrame) -> str:
    """The paper's statistic if every network has enough validations for it, else the final accuracy.

    With the final accuracy nothing is held against a value of the paper: only signs and equivalences decide.
    """
    return BEST if len(results) and (results["diverged_at"].notna() | has_best(results)).all() else FINAL


@cache
def _authors_networks() -> pd.DataFrame:
    return networks(paper_results(), BEST)


@cache
def _measured_by_the_authors(claim: Claim) -> tuple[list[Mean], list[Mean]]:
    """The claim's quantity on the authors' networks: pooled, paired."""
    return measure(claim, _authors_networks(), pooled=True), measure(claim, _authors_networks())


def judge(claim: Claim, yours: pd.DataFrame) -> ClaimResult:
    """One claim. `yours` are rows of `statistics.networks`."""
    pooled, authors = _measured_by_the_authors(claim)
    own = measure(claim, yours)
    measured = tuple(LayerMeans(*means) for means in zip(_labels(claim), pooled, authors, own, strict=True))
    has_interval = [mean.units >= MIN_UNITS or claim.rule == "count" for mean in authors]
    shown = all(
        _decide(claim, i, mean) is True if has_interval[i] else _passes(claim, i, mean.value)
        for i, mean in enumerate(authors)
    )
    supported = "no" if not shown else "yes" if all(has_interval) else "yes, no interval"
    if claim.is_fact:
        return ClaimResult(claim, measured, supported, FACT)
    if claim.rule == "near":
        like_the_papers = yours["recipe"].isin(PAPER_RECIPES) & (yours["accuracy"] == yours[BEST])
        own = measure(claim, yours[like_the_papers])
    decisions = [_decide(claim, i, mean) for i, mean in enumerate(own)]
    if all(decision is True for decision in decisions):
        verdict = REPRODUCED
    elif any(decision is False for decision in decisions):
        verdict = NOT_REPRODUCED
    else:
        verdict = NOT_ENOUGH if shown else NOT_SUPPORTED
    return ClaimResult(claim, measured, supported, verdict)


# ------------------------------------------------------------------------------------------------ the rules


def _passes(claim: Claim, i: int, value: float) -> bool:
    """Whether a value, taken for exact, meets the rule."""
    return _decide(claim, i, Mean(value, value, value, 1, MIN_UNITS, "")) is True


def _decide(claim: Claim, i: int, mean: Mean) -> bool | None:
    """True: the interval meets the rule at the i-th layer. False: it rules it out. None: neither."""
    stated, margin = claim.value[i if len(claim.value) > 1 else 0], claim.margin
    if claim.rule == "count":
        # Too few networks rule nothing out.
        return True if mean.value >= stated else None
    low, high = mean.low, mean.high
    if math.isnan(low):
        return None
    if claim.rule in ("same", "near"):
        if stated - margin <= low and high <= stated + margin:
            return True
        return False if high < stated - margin or low > stated + margin else None
    if claim.rule == "slight":
        if -margin <= low and high < 0:
            return True
        return False if low > 0 or high < -margin else None
    if claim.rule == "below":
        low, high = -high, -low
    if low > 0:
        return True
    # Shown to be within a point of 0, or on its other side: there is no such effect.
    return False if high < 0 or (-margin <= low and high <= margin) else None


# ------------------------------------------------------------------------------------------- the quantities


def _labels(claim: Claim) -> list[str]:
    if claim.images:
        return [f"@{m}" for m in claim.images]
    if claim.quantity == "classes":
        return ["A", "B"]
    if len(claim.layers) < 2 or claim.together or claim.quantity == "growth":
        return [""]
    return [f"n={n}" for n in claim.layers]


def measure(claim: Claim, rows: pd.DataFrame, pooled: bool = False) -> list[Mean]:
    """The claim's quantity at each of its layers; pooled: over networks, whatever their targets, unpaired."""
    if claim.quantity == "classes":
        counts = [len(task_classes(ilsvrc_classes(), claim.group, task)) for task in "AB"]
        return [Mean(count, math.nan, math.nan, 0, 0, "") for count in counts]
    in_group = rows[rows["group"] == claim.group] if claim.group else rows
    if claim.images:
        return [_measure(claim, in_group[in_group["treatment"] == f"base@{m}"], rows, pooled) for m in claim.images]
    if claim.quantity == "networks" and not claim.treatment:
        return [_count(rows[rows["kind"] != "random"])]
    treated = in_group[in_group["treatment"] == claim.treatment]
    if claim.together or claim.quantity == "growth":
        return [_measure(claim, treated[treated["n"].isin((*claim.layers, *claim.others))], rows, pooled)]
    return [_measure(claim, treated[treated["n"] == n], rows, pooled) for n in claim.layers]


def _measure(claim: Claim, treated: pd.DataFrame, rows: pd.DataFrame, pooled: bool) -> Mean:
    """The claim's quantity on the networks `treated`, of all those in `rows`."""
    if claim.quantity == "networks":
        return _count(treated)
    if claim.quantity in ("accuracy", "error"):
        mean = pooled_mean(treated) if pooled else mean_of(treated, "accuracy")
        if claim.quantity == "accuracy":
            return mean
        return Mean(1 - mean.value, 1 - mean.high, 1 - mean.low, mean.networks, mean.units, mean.varies)
    if pooled:
        return _pooled(claim, treated, rows)
    if claim.quantity in ("difference", "specificity"):
        return mean_of(treated, claim.quantity)
    if claim.quantity == "dominance":
        treated = treated[treated["coadaptation"].notna() & treated["specificity"].notna()]
        units = treated.groupby(["unit", "target"])[["coadaptation", "specificity"]].mean().groupby("unit").mean()
        return mean_over_units(units["coadaptation"].abs() - units["specificity"].abs(), treated)
    if claim.quantity == "growth":
        treated = treated[treated["difference"].notna()]
        upper = _by_unit(treated[treated["n"].isin(claim.layers)])
        gain = (upper - _by_unit(treated[treated["n"].isin(claim.others)])).dropna()
        return mean_over_units(gain, treated[treated["unit"].isin(gain.index)])
    if claim.quantity == "over A":
        bases = treated.pivot_table(index="unit", columns="target", values="accuracy")
        gap = (bases["B"] - bases["A"]).dropna() if {"A", "B"} <= set(bases) else pd.Series(dtype=float)
        return mean_over_units(gap, treated[treated["unit"].isin(gap.index)])
    if claim.quantity == "slope":
        random = rows[(rows["group"] == "random") & (rows["treatment"] == claim.treatment)]
        random = random[random["n"].isin(claim.layers)]
        # The splits differ, so that only the seed can pair them.
        gap = (_slopes(treated) - _slopes(random)).dropna()
        return mean_over_units(gap, treated[treated["seed"].isin(gap.index)])
    if claim.quantity == "over random":
        return _over_random(treated, rows[rows["treatment"] == "RnB"])
    raise ValueError(f"unknown quantity {claim.quantity!r}")


def _pooled(claim: Claim, treated: pd.DataFrame, rows: pd.DataFrame) -> Mean:
    """Mean over networks minus mean over networks, as in the paper's Table 1: targets are not matched."""
    compared = "base" if claim.quantity == "difference" else {"AnB": "BnB", "AnB+": "BnB+"}.get(claim.treatment, "")
    if claim.quantity not in ("difference", "specificity") or treated.empty:
        return NO_MEAN
    others = rows[(rows["treatment"] == compared) & rows["group"].isin(treated["group"].unique())]
    if compared != "base":
        others = others[others["n"].isin(claim.layers)]
    mean = pooled_mean(treated)
    return Mean(mean.value - pooled_mean(others).value, math.nan, math.nan, mean.networks, mean.units, mean.varies)


def _count(rows: pd.DataFrame) -> Mean:
    return Mean(len(rows), math.nan, math.nan, len(rows), rows["unit"].nunique(), "")


def _by_unit(rows: pd.DataFrame) -> "pd.Series[float]":
    """Difference per unit, both directions averaged."""
    return rows.groupby(["unit", "target"])["difference"].mean().groupby("unit").mean()


def _slopes(rows: pd.DataFrame) -> "pd.Series[float]":
    """Least-squares slope of the difference over n for each seed, splits and directions averaged."""
    rows = rows[rows["difference"].notna()]
    if rows["n"].nunique() < 2:
        return pd.Series(dtype=float)
    means = rows.groupby(["seed", "n"])["difference"].mean().unstack()
    centred = means.columns.to_numpy(dtype=float) - means.columns.to_numpy(dtype=float).mean()
    return (means * centred).sum(axis=1, skipna=False) / (centred**2).sum()


def _over_random(treated: pd.DataFrame, random: pd.DataFrame) -> Mean:
    """Difference to the own base, minus that of random features at the same n.

    Of the same unit where random features were trained there; else of the same seed, on all classes (paper).
    """
    treated = treated[treated["difference"].notna()]
    random = random[random["n"].isin(treated["n"].unique())]
    same_unit = random[random["unit"].isin(treated["unit"].unique())]
    if len(same_unit):
        gap = (_by_unit(treated) - _by_unit(same_unit)).dropna()
        return mean_over_units(gap, treated[treated["unit"].isin(gap.index)])
    whole = random[random["group"] == "whole"]
    gap = (treated.groupby("seed")["difference"].mean() - whole.groupby("seed")["difference"].mean()).dropna()
    return mean_over_units(gap, treated[treated["seed"].isin(gap.index)])


# ------------------------------------------------------------------------------------------------ for people


def claims_table(results: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per claim and layer, for `transferability claims --csv`: fractions, or counts of networks.

    Without results of one's own there are no columns of them, and no verdict.
    """
    lines = []
    for result in claims(results):
        claim = result.claim
        for measured in result.measured:
            line: dict[str, object] = {"id": claim.id, "where": claim.where, "claim": claim.text, "at": measured.label}
            line |= {"paper": claim.stated, "quantity": claim.quantity, "rule": claim.rule_text}
            line |= {"authors_pooled": measured.pooled.value, **_mean_columns("authors", measured.authors)}
            line |= {} if results is None else _mean_columns("yours", measured.yours)
            line |= {"authors_show_it": result.supported}
            line |= {} if results is None else {"verdict": result.verdict}
            lines.append(line)
    return pd.DataFrame(lines)


def _mean_columns(owner: str, mean: Mean) -> dict[str, object]:
    columns = {owner: mean.value, f"{owner}_low": mean.low, f"{owner}_high": mean.high}
    return columns | {f"{owner}_networks": mean.networks, f"{owner}_units": mean.units, f"{owner}_varies": mean.varies}


def write_claims(results: pd.DataFrame | None, path: Path | str) -> None:
    """Writes `claims_table` as CSV, atomically."""
    with write_atomically(path, "w") as handle:
        claims_table(results).to_csv(handle, index=False, lineterminator="\n")


def print_claims(results: pd.DataFrame | None = None, console: Console | None = None) -> None:
    """Prints every claim with its rule: the paper's value, the authors' networks, and, if there are results of one's
    own, these and the verdict."""
    console = console or Console(highlight=False)
    columns = [
        Column("claim, where, and the rule", left=True, least=20),
        Column("paper", left=True, least=13, spare=1),
        Column("", left=True),
        Column("authors\npooled", spare=4),
        Column("authors\npaired", spare=2 if results is not None else 0),
        Column("authors\nshow it?", left=True, least=8, spare=3),
    ]
    columns += [Column("networks\n/units")] if results is None else []
    columns += [Column("yours\npaired"), Column("networks\n/units")] if results is not None else []
    columns += [Column("verdict", left=True, least=11)] if results is not None else []
    rows = []
    for result in claims(results):
        claim, measured = result.claim, result.measured
        counted = [layer.authors if results is None else layer.yours for layer in measured]
        row = [
            f"[bold]{claim.id}[/] {claim.text} ({claim.where})\n[dim]{claim.rule_text}[/]",
            claim.stated,
            "\n".join(layer.label for layer in measured),
            "\n".join(claim_value(claim, layer.pooled) for layer in measured),
            "\n".join(claim_value(claim, layer.authors) for layer in measured),
            result.supported,
        ]
        row += [] if results is None else ["\n".join(claim_value(claim, layer.yours) for layer in measured)]
        row += ["\n".join(f"{mean.networks}/{mean.units}" for mean in counted)]
        row += [] if results is None else [result.verdict]
        rows.append(row)
    left_out = print_columns(console, columns, rows)
    console.print()
    if left_out:
        names = ", ".join(head.replace("\n", " ") for head in left_out)
        print_note(console, f"No room for: {names}. A wider terminal shows them, and `claims --csv`.")
    for note in _footnotes(results):
        print_note(console, note)


def _footnotes(results: pd.DataFrame | None) -> list[str]:
    notes = [
        "Accuracies and errors in %, differences in points. Pooled: mean over networks minus mean over "
        "networks of other targets, as in the paper's Table 1. Paired: within split, target and seed; ± is "
        f"the half-width of the 95 % t interval over units (split x seed), from {MIN_UNITS} units on.",
        "Authors: their 148 networks with a published log, by the mean of the ten highest validations, one "
        "seed. They show a claim if their interval meets the rule or, below three units, their value does.",
    ]
    if results is None:
        return [*notes, "No results of your own: give a results.csv to have it judged."]
    notes += [
        "Rules about the paper's value ('of it') are for networks by its recipe and statistic only. How many networks "
        "and classes the authors had is a fact about the paper, and no finding of yours.",
        f"Yours: {STATISTICS[statistic_of(results)]}.",
    ]
    names = diverged(results)
    return notes + ([f"Diverged, in no mean: {', '.join(names)}."] if names else [])


def claim_value(claim: Claim, mean: Mean, nothing: str = "-") -> str:
    """A mean as its claim speaks of it: a count, an accuracy in %, or a difference in points; with its interval."""
    if math.isnan(mean.value):
        return nothing
    if claim.rule == "count":
        return f"{mean.value:.0f}"
    return points(mean.value, mean.low, sign=claim.quantity not in ("accuracy", "error"))

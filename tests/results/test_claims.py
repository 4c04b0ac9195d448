"""The claims: each verdict by a rule that stands in the table, for the authors' networks and one's own."""

import io
import math
import re
from pathlib import Path

import pandas as pd
import pytest
from project import EXPERIMENTS, SHARED
from rich.console import Console

from transferability.files import Refused
from transferability.results.claims import (
    CLAIMS,
    FACT,
    NOT_REPRODUCED,
    NOT_SUPPORTED,
    REPRODUCED,
    Claim,
    ClaimResult,
    claims,
    claims_table,
    judge,
    print_claims,
    statistic_of,
    write_claims,
)
from transferability.results.paper import paper_results
from transferability.results.statistics import NOT_ENOUGH, networks
from transferability.results.table import read_results

REFERENCE = SHARED / "reference/claims.csv"


def by_id(results: list[ClaimResult]) -> dict[str, ClaimResult]:
    return {result.claim.id: result for result in results}


@pytest.fixture(scope="module")
def alone() -> dict[str, ClaimResult]:
    return by_id(claims())


def points(result: ClaimResult, whose: str = "authors") -> list[float]:
    return [round(100 * getattr(at, whose).value, 1) for at in result.measured]


def ours(seeds: int, spread: float = 0.001, gain: float = 0.012) -> pd.DataFrame:
    """A complete grid by the paper's recipe: AnB+ gains `gain`, BnB+ nothing, the rest as the paper says."""
    template = paper_results().iloc[0].to_dict()
    frozen = {1: 0.0, 2: 0.0, 3: -0.004, 4: -0.02, 5: -0.03, 6: 0.0, 7: 0.0}
    specific = {1: 0.0, 2: 0.0, 3: -0.001, 4: -0.005, 5: -0.017, 6: -0.04, 7: -0.08}
    rows = []
    for seed in range(seeds):
        for target, other, level in (("A", "B", 0.60), ("B", "A", 0.65)):
            grid = [(f"base{target}", "base", "", 0, "", 0.0)]
            for n in range(1, 8):
                grid += [
                    (f"{target}{n}{target}", "selffer", target, n, "", frozen[n]),
                    (f"{target}{n}{target}+", "selffer", target, n, "1", 0.0),
                    (f"{other}{n}{target}", "transfer", other, n, "", frozen[n] + specific[n]),
                    (f"{other}{n}{target}+", "transfer", other, n, "1", gain + 0.002 * (n > 4)),
                ]
            for name, kind, source, n, plus, effect in grid:
                noise = spread * (seed - (seeds - 1) / 2) if n else 0.0
                accuracy = level + effect + noise
                values = {"val_top1": accuracy, "val_top1_best10": accuracy}
                place = {"study": "mine", "split": "random-0", "network": name, "kind": kind, "seed": seed}
                place |= {"source": source, "target": target, "n": n, "plus": plus}
                rows.append(template | place | values)
    return pd.DataFrame(rows)


def test_every_claim_has_an_id_a_rule_and_a_measurement(alone: dict[str, ClaimResult]) -> None:
    assert len(alone) == len(CLAIMS)
    for result in alone.values():
        assert result.claim.rule_text and result.measured
        assert len(result.claim.value) in (1, len(result.measured))


@pytest.mark.skipif(not REFERENCE.exists(), reason="the list of claims is not here")
def test_no_claim_of_the_paper_is_left_out() -> None:
    listed = set(pd.read_csv(REFERENCE)["id"])
    ours = {claim.id.rstrip("abc") if claim.id.startswith("C") else claim.id for claim in CLAIMS}
    assert listed == ours


# ---------------------------------------------------------------------------------- the authors' own networks


def test_table_1_is_reproduced_by_pooling_and_not_supported_by_pairing(alone: dict[str, ClaimResult]) -> None:
    ids = ["T1-1-7a", "T1-1-7b", "T1-3-7a", "T1-3-7b", "T1-5-7a", "T1-5-7b"]
    assert [points(alone[i], "pooled")[0] for i in ids] == [1.6, 1.4, 1.8, 1.4, 2.1, 1.7]
    assert [points(alone[i])[0] for i in ids[::2]] == [1.0, 1.2, 1.2]
    assert all(alone[i].measured[0].authors.networks == 0 for i in ids[1::2])  # no target has both
    assert {alone[i].verdict for i in ids} == {NOT_SUPPORTED}


def test_the_logs_contradict_that_fine_tuned_selffers_gain_nothing(alone: dict[str, ClaimResult]) -> None:
    assert points(alone["C21a"]) == [1.0] and points(alone["C21a"], "pooled") == [0.2]
    assert points(alone["C13"]) == [0.3, 0.6, 1.2, 1.4, 1.1, 0.9, 1.2]
    assert alone["C13"].verdict == alone["C21a"].verdict == alone["C21b"].verdict == NOT_SUPPORTED


def test_coadaptation_does_not_dominate_at_layer_3(alone: dict[str, ClaimResult]) -> None:
    third, fourth, fifth = (at.authors for at in alone["C17"].measured)
    assert third.low < 0 < third.high
    assert fourth.low > 0 and fifth.low > 0
    assert alone["C17"].verdict == NOT_SUPPORTED
    assert alone["C18"].supported == "yes"


def test_what_the_authors_networks_show(alone: dict[str, ClaimResult]) -> None:
    shown = {i for i, result in alone.items() if result.supported == "yes"}
    assert shown >= {"C01", "C02", "C09", "C10", "C11b", "C12", "C14", "C15", "C16", "C18", "C25"}
    once = {i for i, result in alone.items() if result.supported == "yes, no interval"}
    assert once == {
        *("C03", "C19", "C20", "C22", "C23", "C26", "C27", "C28", "C30", "C31", "C32a", "C32b", "S1", "S4"),
    }
    assert points(alone["C26"]) == [-25.0] and points(alone["C25"]) == [-8.3]
    assert points(alone["C03"]) == [42.4]
    assert [at.authors.value for at in alone["C24"].measured] == [551, 449]
    assert alone["N1"].measured[0].authors.value == 141  # 22 of 163 have no log


def test_without_results_nothing_is_reproduced(alone: dict[str, ClaimResult]) -> None:
    assert not {i for i, r in alone.items() if r.verdict in (REPRODUCED, NOT_REPRODUCED)}


FACTS = {"C04", "C05", "C06", "C07", "C08", "C24", "N1"}  # how many networks, on how many classes


def test_what_the_paper_says_of_itself_is_no_finding_of_a_study() -> None:
    whole = by_id(claims(ours(seeds=4)))
    assert whole["C05"].measured[0].yours.value == 56 and whole["C24"].measured[0].yours.value == 551
    assert {i for i, result in whole.items() if result.verdict == FACT} == FACTS
    assert {result.claim.id for result in claims() if result.claim.is_fact} == FACTS
    # A study that learnt nothing has found nothing.
    chance = ours(seeds=1).assign(recipe="demo", val_top1=0.1, val_top1_best10=0.1)
    assert not {i for i, result in by_id(claims(chance)).items() if result.verdict == REPRODUCED}


# -------------------------------------------------------------------------------------- one's own networks


def test_a_grid_that_is_as_the_paper_says_reproduces_it() -> None:
    judged = by_id(claims(ours(seeds=4)))
    for name in (
        "C09",
        "C10",
        "C11b",
        "C12",
        "C13",
        "C14",
        "C15",
        "C16",
        "C18",
        "C19",
        "C20",
        "C21a",
        "C21b",
        "C22",
    ):
        assert judged[name].verdict == REPRODUCED, name
    assert judged["C13"].measured[0].yours.units == 4 and judged["C13"].measured[0].yours.networks == 8
    assert judged["C13"].measured[0].yours.varies == "seeds"


def test_a_gain_that_own_features_share_is_not_reproduced_as_transfer() -> None:
    table = ours(seeds=4)
    table.loc[(table["kind"] == "selffer") & (table["plus"] == "1"), "val_top1_best10"] += 0.02
    judged = by_id(claims(table))
    assert judged["C21b"].verdict == NOT_REPRODUCED  # AnB+ is below BnB+
    assert judged["C13"].verdict == NOT_REPRODUCED
    assert judged["C19"].verdict == REPRODUCED


def test_two_units_decide_nothing() -> None:
    judged = by_id(claims(ours(seeds=2)))
    assert judged["C09"].verdict == NOT_ENOUGH
    assert judged["C13"].verdict == NOT_SUPPORTED
    assert judged["C09"].measured[0].yours.units == 2 and math.isnan(judged["C09"].measured[0].yours.low)


def test_a_wide_interval_decides_nothing() -> None:
    assert by_id(claims(ours(seeds=3, spread=0.02)))["C09"].verdict == NOT_ENOUGH


def test_values_of_the_paper_are_for_its_recipe_and_statistic_only() -> None:
    table = ours(seeds=4, gain=0.016)
    assert by_id(claims(table))["T1-1-7a"].verdict == REPRODUCED
    small = table.assign(recipe="demo")
    judged = by_id(claims(small))
    assert judged["T1-1-7a"].verdict == NOT_SUPPORTED  # nothing comparable: only the authors' networks speak
    assert judged["T1-1-7a"].measured[0].yours.value == pytest.approx(0.016 + 0.002 * 3 / 7)
    assert judged["C19"].verdict == REPRODUCED


def test_the_statistic_is_the_papers_only_where_there_are_100_validations() -> None:
    table = ours(seeds=3)
    assert statistic_of(table) == "val_top1_best10"
    table.loc[5, "validations"] = 99
    assert statistic_of(table) == "val_top1"
    table.loc[5, "diverged_at"] = 12.0
    assert statistic_of(table) == "val_top1_best10"
    with pytest.raises(Refused):
        claims(table.assign(val_top1=math.nan, validations=10))


def rule(name: str, value: float = 0.0) -> Claim:
    return Claim("X", "", "", "", "difference", "AnB", (7,), name, (value,))


@pytest.mark.parametrize(
    ("name", "effect", "verdict"),
    [
        ("same", 0.002, REPRODUCED),
        ("same", 0.03, NOT_REPRODUCED),
        ("same", 0.0100, NOT_ENOUGH),
        ("slight", -0.005, REPRODUCED),
        ("slight", -0.05, NOT_REPRODUCED),
        ("below", -0.05, REPRODUCED),
        ("below", 0.05, NOT_REPRODUCED),
        ("below", 0.0, NOT_REPRODUCED),
        ("above", 0.05, REPRODUCED),
        ("above", -0.05, NOT_REPRODUCED),
        ("near", -0.08, REPRODUCED),
        ("near", 0.05, NOT_REPRODUCED),
    ],
)
def test_each_rule(name: str, effect: float, verdict: str) -> None:
    table = ours(seeds=4)
    seventh = table["network"].isin(["A7B", "B7A"])
    table.loc[seventh, "val_top1_best10"] += 0.08 + effect
    table["val_top1"] = table["val_top1_best10"]
    rows = networks(table, "val_top1_best10")
    result = judge(rule(name, -0.08 if name == "near" else 0.0), rows)
    expected = {verdict} | ({NOT_SUPPORTED} if verdict == NOT_ENOUGH else set())
    assert result.verdict in expected


# ----------------------------------------------------------------------------------------------------- output


def printed(results: pd.DataFrame | None, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    print_claims(results, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


SEEDS = EXPERIMENTS / "results" / "demo_seeds.csv"
HEADS = ("paper", "authors pooled", "authors paired", "authors show it?")


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(60, HEADS), (80, HEADS[1:]), (90, HEADS[1::2]), (98, HEADS[1:2]), (100, ()), (140, ()), (10_000, ())],
)
def test_the_printed_claims_have_id_n_and_verdict_at_any_width(width: int, left_out: tuple[str, ...]) -> None:
    lines = printed(read_results(SEEDS), width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width and "…" not in text
    assert {line.split()[0] for line in lines if re.match("[CTSN][-0-9]", line)} == {claim.id for claim in CLAIMS}
    tenth = lines.index(next(line for line in lines if line.startswith("C10 ")))
    assert {"+6.2", "±1.4", "6/3"} <= {*lines[tenth].split()}
    assert "reproduced" in (lines[tenth] + " " + lines[tenth + 1]).split()
    said = " ".join(text.split())
    assert "the interval within 1 point of 0" in said
    assert ("No room for: " + ", ".join(left_out) + ". " in said) if left_out else "No room" not in said


def test_where_there_is_room_a_claim_has_one_line_a_layer() -> None:
    lines = printed(read_results(SEEDS), 10_000)
    first = next(i for i, line in enumerate(lines) if line.startswith("C14 "))
    start = "C14 AnB at 1 and 2 transfers almost perfectly (4.1(4)) ~0 n=1 +0.3 +0.3 ±0.3 yes +5.0 ±3.1 6/3"
    assert " ".join(lines[first].split()) == start + " not reproduced"
    second = "the interval within 1 point of 0 at each n=2 -0.1 -0.1 ±0.3 +4.2 ±5.7 6/3"
    assert " ".join(lines[first + 1].split()) == second


def test_claims_without_results_have_no_verdicts() -> None:
    lines = printed(None, 120)
    assert "verdict" not in lines[0] and not any(NOT_ENOUGH in line or REPRODUCED in line for line in lines)
    first = next(line for line in lines if line.startswith("C01 "))
    assert first.split()[-2:] == ["yes", "8/4"]  # with the authors' networks and units
    assert not {"verdict", "yours", "yours_networks"} & {*claims_table()}


def test_the_csv_has_a_row_for_each_claim_and_layer(tmp_path: Path) -> None:
    write_claims(None, tmp_path / "claims.csv")
    table = pd.read_csv(tmp_path / "claims.csv")
    assert len(table) == len(claims_table()) == sum(len(result.measured) for result in claims())
    assert table.set_index("id").loc["C25", "authors"] == pytest.approx(-0.0829, abs=5e-4)
    write_claims(ours(seeds=3), tmp_path / "claims.csv")
    assert {"id", "paper", "rule", "authors", "authors_low", "yours", "yours_units", "verdict"} <= set(
        pd.read_csv(tmp_path / "claims.csv")
    )


def test_the_papers_own_table_can_be_judged() -> None:
    judged = by_id(claims(paper_results()))
    measured = judged["C25"].measured[0]
    assert measured.yours == measured.authors and judged["C25"].verdict == REPRODUCED

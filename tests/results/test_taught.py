"""What is taught, judged on numbers made by hand."""

import io
from pathlib import Path

import pandas as pd
import pytest
from commands import Command
from handmade import frame, row

from transferability.results.claims import NOT_REPRODUCED, REPRODUCED
from transferability.results.statistics import NOT_ENOUGH, networks_of_several
from transferability.results.taught import NOT_TRAINED, TAUGHT, judge, taught, taught_table

BY_ID = {each.id: each for each in TAUGHT}


def regimes(
    study: str, split: str, few: dict[str, float], many: dict[str, float], spread: float = 0.01
) -> pd.DataFrame:
    """Accuracies of networks at 5 and at 200 images per class; three seeds, the first network's `spread` apart."""
    rows = []
    for seed in range(3):
        for images, of in ((5, few), (200, many)):
            for i, (name, value) in enumerate(of.items()):
                shift = spread * (seed - 1) * (i == 0)
                spelled, _, variant = name.partition("@")
                full = f"{spelled}@{images}" + (f"@{variant}" if variant else "")
                rows.append(row(f"{split}/{full}/seed-{seed}", value + shift, study=study))
    return frame(*rows)


FEW = {"baseB": 0.2, "A7B": 0.4, "A7B+": 0.4, "R0B@hog": 0.1}
MANY = {"baseB": 0.5, "A7B": 0.45, "A7B+": 0.6, "R0B@hog": 0.3}


def test_each_sentence_is_judged_by_the_sign_of_its_own_difference() -> None:
    rows = networks_of_several([regimes("regimes", "random-0", FEW, MANY)])
    judged = {each.taught.id: each for each in taught(rows)}
    assert judged["S1"].measured.value == pytest.approx(0.2)
    assert judged["S11"].measured.value == pytest.approx(0.1)  # 0.2 with few images, 0.1 with many
    outcomes = {"S1": REPRODUCED, "S2": NOT_REPRODUCED, "S3": REPRODUCED, "S4": REPRODUCED, "S8": NOT_REPRODUCED}
    outcomes |= {"S9": REPRODUCED, "S10": REPRODUCED, "S11": REPRODUCED, "S5": NOT_TRAINED, "F1": NOT_TRAINED}
    assert {key: judged[key].verdict for key in outcomes} == outcomes


def test_wide_intervals_decide_nothing() -> None:
    rows = networks_of_several([regimes("regimes", "random-0", FEW, MANY, spread=0.2)])
    assert judge(BY_ID["S1"], rows).verdict == NOT_ENOUGH
    assert judge(BY_ID["S10"], rows).verdict == REPRODUCED  # scratch, which is spread, is not in it


def test_rules_are_compared_at_the_same_n_and_only_in_their_study() -> None:
    of = {"baseB": 0.2, "A13B+0.1": 0.5, "A19B+0.1": 0.6, "A13B+probe": 0.53, "A19B+probe": 0.63, "A19B+chain": 0.3}
    table = regimes("rules_flowers17-5", "imagenet-flowers17", of, {})
    rows = networks_of_several([table, table.assign(study="mine")])
    assert judge(BY_ID["Wprobe5"], rows).measured.value == pytest.approx(0.03)
    assert judge(BY_ID["Wprobe5"], rows).verdict == REPRODUCED
    assert judge(BY_ID["Wchain5"], rows).verdict == NOT_REPRODUCED
    assert judge(BY_ID["Wprobe40"], rows).verdict == NOT_TRAINED


def sources(names: dict[str, float]) -> pd.DataFrame:
    """A study for each network; on three seeds, all of them are worth `names` when fine-tuned at a tenth."""
    tables = []
    for name, worth in names.items():
        of = {"baseB": 0.1, "A7B+0.1": worth, "A7B": worth}
        tables.append(regimes(f"backbones-{name}", "imagenet-flowers17", of, of))
    return networks_of_several(tables)


def test_rank_and_family_are_over_networks() -> None:
    worth = {"squeezenet1_0": 0.5, "resnet18": 0.7, "tf_efficientnet_lite0": 0.8, "resnet50": 0.9, "vgg16": 0.72}
    worth |= {"mobilenet_v2": 0.75, "tf_efficientnet_lite1": 0.92, "tf_efficientnet_lite2": 0.95}
    rows = sources(worth)
    ranked = judge(BY_ID["B4"], rows)
    assert (ranked.measured.networks, ranked.verdict) == (8, REPRODUCED)
    family = judge(BY_ID["B5"], rows)
    assert family.measured.value == pytest.approx(0.9 - 0.95)
    assert family.verdict == NOT_REPRODUCED
    few = judge(BY_ID["B4"], sources({name: worth[name] for name in ("squeezenet1_0", "vgg16", "resnet50")}))
    assert few.verdict == NOT_ENOUGH
    assert judge(BY_ID["B5"], sources({"vgg16": 0.5, "squeezenet1_0": 0.4})).verdict == NOT_TRAINED


def test_the_command_takes_several_tables(tmp_path: Path, command: Command) -> None:
    models = (("baseB", 0.2), ("A19B", 0.4), ("A19B+0.1", 0.6))
    rows = [
        row(f"imagenet-flowers17/{name}@40/seed-{seed}", value, study="four_models")
        for seed in range(3)
        for name, value in models
    ]
    files = [str(tmp_path / "regimes.csv"), str(tmp_path / "four_models.csv")]
    regimes("regimes", "random-0", FEW, MANY).to_csv(files[0], index=False)
    frame(*rows).to_csv(files[1], index=False)
    code, out, errors = command("claims", "--taught", "--csv", *files)
    assert code == 0, errors
    verdicts = pd.read_csv(io.StringIO(out)).set_index("id")["verdict"]
    assert (verdicts["S1"], verdicts["S2"], verdicts["F2"]) == (REPRODUCED, NOT_REPRODUCED, REPRODUCED)
    assert verdicts["F3"] == NOT_TRAINED  # no chain-thaw
    code, out, _ = command("claims", "--taught", files[1])
    assert code == 0 and "fine-tuning beats features" in " ".join(out.split()) and REPRODUCED in out
    assert command("claims", *files)[0] != 0  # several tables without --taught


def test_without_tables_nothing_is_trained_yet_and_every_sentence_is_listed_once() -> None:
    table = taught_table(networks_of_several([]))
    assert set(table["verdict"]) == {NOT_TRAINED}
    assert table["id"].is_unique and len(table) == len(TAUGHT)

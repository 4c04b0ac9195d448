"""results.csv is read as it was written, and as pandas, R and spreadsheets write it; nothing is taken for another."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from handmade import complete, frame, row
from tiny import write_table

from transferability.files import Refused
from transferability.names import in_spans
from transferability.results.claims import claims
from transferability.results.table import (
    COLUMNS,
    DRAWN,
    lines_of,
    listed,
    read_curves,
    read_results,
    write_lines,
)

COMMAS = "," * (len(COLUMNS) - 1) + "\n"
EQUAL = pd.testing.assert_frame_equal


def table_of_all_kinds() -> pd.DataFrame:
    names = [
        "baseA",
        "baseB",
        "A3B",
        "B3B+",
        "A3B+0.1",
        "A3B+0.00001",
        "A3Bp2",
        "R3B",
        "B8B+",
        "A3B+@250",
        "baseB@none",
    ]
    numbers = {"val_loss": 1234.5, "images_seen": 1_234_567.0, "seconds": 0.000125, "git_commit": "6bd9eab"}
    rows = [row(f"random-0/{name}/seed-{seed}", 0.7 - 0.0123 * seed, **numbers) for name in names for seed in (0, 12)]
    rows.append(row("random-0/baseB@1300@long/seed-0", 0.5, diverged_at=1_200.0))
    table = frame(*rows)
    table["recipe"] = "demo"
    return table


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A results.csv as the package writes it."""
    write_table(table_of_all_kinds(), tmp_path / "results.csv")
    return tmp_path / "results.csv"


def spelled_in_german(value: str) -> str:
    """1234567.5 as 1.234.567,5."""
    try:
        return f"{float(value):,.12g}".translate(str.maketrans(".,", ",."))
    except ValueError:
        return value


def texts(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def with_numbers(path: Path, spell: Callable[[str], str]) -> pd.DataFrame:
    table = texts(path)
    for column, kind in COLUMNS.items():
        if kind is not str or column in ("plus", "images_per_class"):
            table[column] = table[column].map(spell)
    return table


REWRITTEN: dict[str, Callable[[Path, Path], object]] = {
    "pandas": lambda source, copy: pd.read_csv(source).to_csv(copy, index=False),
    "pandas with its index": lambda source, copy: pd.read_csv(source).to_csv(copy),
    "pandas with a named index": lambda source, copy: pd.read_csv(source).set_index("study").to_csv(copy),
    "pandas, six digits": lambda source, copy: pd.read_csv(source).to_csv(copy, index=False, float_format="%.6f"),
    "scientific": lambda source, copy: pd.read_csv(source).to_csv(copy, index=False, float_format="%.12E"),
    "NA": lambda source, copy: pd.read_csv(source).to_csv(copy, index=False, na_rep="NA"),
    "NaN": lambda source, copy: pd.read_csv(source).to_csv(copy, index=False, na_rep="NaN"),
    "None": lambda source, copy: pd.read_csv(source).to_csv(copy, index=False, na_rep="None"),
    "#N/A": lambda source, copy: pd.read_csv(source).to_csv(copy, index=False, na_rep="#N/A"),
    "filled with 0": lambda source, copy: texts(source).replace({"plus": "", "images_per_class": ""}, "0").to_csv(copy),
    "truth": lambda source, copy: texts(source).replace({"plus": {"1": "TRUE", "": "FALSE"}}).to_csv(copy),
    "quoted": lambda source, copy: texts(source).to_csv(copy, index=False, quoting=csv.QUOTE_ALL),
    "CRLF and a mark": lambda source, copy: texts(source).to_csv(
        copy, index=False, encoding="utf-8-sig", lineterminator="\r\n"
    ),
    "old Mac": lambda source, copy: texts(source).to_csv(copy, index=False, lineterminator="\r"),
    "semicolons": lambda source, copy: texts(source).to_csv(copy, sep=";", index=False, encoding="utf-8-sig"),
    "tabs in UTF-16": lambda source, copy: texts(source).to_csv(copy, sep="\t", index=False, encoding="utf-16"),
    "decimal commas": lambda source, copy: pd.read_csv(source).to_csv(copy, sep=";", decimal=",", index=False),
    "decimal commas between commas": lambda source, copy: pd.read_csv(source).to_csv(copy, decimal=",", index=False),
    "German": lambda source, copy: with_numbers(source, spelled_in_german).to_csv(copy, sep=";", index=False),
    "grouped digits": lambda source, copy: with_numbers(
        source, lambda value: f"{float(value):,.12g}" if value else ""
    ).to_csv(copy, index=False),
    "a line for spreadsheets": lambda source, copy: copy.write_text("sep=,\n" + source.read_text()),
    "empty lines at the start": lambda source, copy: copy.write_text("\n" + COMMAS + source.read_text()),
    "empty lines at the end": lambda source, copy: copy.write_text(source.read_text() + "\n" + COMMAS),
    "put together": lambda source, copy: copy.write_text(
        "".join(texts(source)[part].to_csv(index=False) for part in (slice(0, 3), slice(3, None)))
    ),
    "columns the other way round": lambda source, copy: texts(source).iloc[:, ::-1].to_csv(copy, index=False),
    "more columns": lambda source, copy: texts(source).assign(why='naïve; he said "so"\n', level_0=1).to_csv(copy),
    "Latin-1": lambda source, copy: texts(source).assign(why="naïve").to_csv(copy, encoding="latin-1"),
    "R, row names": lambda source, copy: copy.write_text(
        "".join(
            " ".join(f'"{cell}"' if cell else "NA" for cell in cells) + "\n"
            for cells in [list(COLUMNS), *([str(i), *line] for i, line in enumerate(texts(source).to_numpy().tolist()))]
        )
    ),
    **{
        how: lambda source, copy, how=how: pd.read_csv(source).to_csv(copy, index=False, compression=how)
        for how in ("gzip", "bz2", "xz", "zip")
    },
    "DOS's end of a file": lambda source, copy: copy.write_bytes(source.read_bytes() + b"\x1a"),
    "spaces after commas": lambda source, copy: copy.write_text(source.read_text().replace(",", ", ")),
}


@pytest.mark.parametrize("how", REWRITTEN)
def test_a_table_reads_the_same_however_it_was_written(how: str, original: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine.csv"
    REWRITTEN[how](original, other)
    assert other.read_bytes() != original.read_bytes() or how == "pandas"
    EQUAL(read_results(other), read_results(original), rtol=1e-9)


@pytest.mark.parametrize("how", ["NA", "tabs in UTF-16", "decimal commas", "a line for spreadsheets", "quoted"])
def test_curves_read_the_same_however_they_were_written(how: str, tmp_path: Path) -> None:
    original, other = tmp_path / "curves.csv", tmp_path / "mine.csv"
    validations = ("6,48,0.25,2.75,1234.5", "12,96,0.5,2.5,")
    rest_of_columns = "," * (len(DRAWN) - 9)
    lines = [f"demo,random-0,{name},0,{rest}{rest_of_columns}\n" for name in ("baseB", "A3B+") for rest in validations]
    write_lines(original, DRAWN, lines)
    REWRITTEN[how](original, other)
    EQUAL(read_curves(other), read_curves(original))
    assert read_curves(other)["val_loss"].tolist() == [2.75, 2.5] * 2
    assert read_curves(other)["val_top1"].tolist() == [0.25, 0.5] * 2
    assert read_curves(other)["train_loss"].isna().tolist() == [False, True] * 2


def test_a_table_of_before_there_were_rules_is_read(original: Path, tmp_path: Path) -> None:
    """The rule is in the network's name."""
    texts(original).drop(columns="rule").to_csv(tmp_path / "earlier.csv", index=False)
    EQUAL(read_results(tmp_path / "earlier.csv"), read_results(original))


def test_a_table_of_before_there_were_names_of_layers_is_read(original: Path, tmp_path: Path) -> None:
    named = read_results(original).assign(layer="conv3")
    write_table(named, tmp_path / "named.csv")
    assert set(read_results(tmp_path / "named.csv")["layer"]) == {"conv3"}
    texts(tmp_path / "named.csv").drop(columns="layer").to_csv(tmp_path / "earlier.csv", index=False)
    EQUAL(read_results(tmp_path / "earlier.csv"), named.assign(layer=""))


def test_rows_in_another_order_are_the_same_rows(original: Path, tmp_path: Path) -> None:
    texts(original).sample(frac=1, random_state=0).to_csv(tmp_path / "mine.csv", index=False)
    key = ["network", "seed"]
    EQUAL(
        read_results(tmp_path / "mine.csv").sort_values(key).reset_index(drop=True),
        read_results(original).sort_values(key).reset_index(drop=True),
    )


def test_what_pandas_wrote_is_judged_as_the_original(tmp_path: Path) -> None:
    write_table(complete(3), tmp_path / "results.csv")
    pd.read_csv(tmp_path / "results.csv").to_csv(tmp_path / "mine.csv", index=False)
    assert ",1.0," in (tmp_path / "mine.csv").read_text()
    own, mine = (claims(read_results(tmp_path / name)) for name in ("results.csv", "mine.csv"))
    fine_tuned = {result.claim.id: result.measured[0].yours.networks for result in own}
    assert fine_tuned["C19"] == 42 and fine_tuned["C13"] == 6
    assert repr(own) == repr(mine)  # NaN is not equal to itself


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    table = complete(1)
    write_table(table, tmp_path / "results.csv")
    again = read_results(tmp_path / "results.csv")
    assert set(map(str, again[["n", "seed", "validations"]].dtypes)) == {"int64"}
    EQUAL(again, table, check_dtype=False)
    write_lines(tmp_path / "written.csv", COLUMNS, [lines_of(texts(tmp_path / "results.csv").to_numpy().tolist())])
    EQUAL(read_results(tmp_path / "written.csv"), again)
    write_lines(tmp_path / "none.csv", COLUMNS, [])
    assert len(read_results(tmp_path / "none.csv")) == 0


# ------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("plus", "0.1", "plus is '0.1', but the network is B3B+, whose plus is '1'"),
        ("plus", "", "plus is '', but the network is B3B+"),
        ("rule", "frozen", "rule is 'frozen', but the network is B3B+, whose rule is 'full'"),
        ("network", "B3B", "plus is '1', but the network is B3B, whose plus is ''"),
        ("network", "B4B+", "n is '3', but the network is B4B+, whose n is '4'"),
        ("network", "A3B+", "kind is 'selffer', but the network is A3B+, whose kind is 'transfer'"),
        ("network", "B3B+@long", "variant is '', but the network is B3B+@long"),
        ("network", "b3b+", "'b3b+' is no treatment"),
        ("network", "", "'' is no treatment"),
        ("network", "B3B+1", "'B3B+1' is spelled B3B+"),
        ("target", "A", "target is 'A'"),
        ("images_per_class", "250", "images_per_class is '250'"),
        ("preserved", "1", "preserved is '1'"),
        ("n", "three", "n is 'three'"),
        ("n", "3.5", "n is '3.5'"),
        ("seed", "0.5", "seed is '0.5', not a whole number"),
        ("seed", "", "seed is '', not a whole number"),
        ("seed", "x", "seed is 'x', not a number"),
        ("val_top1", "70.4", "val_top1 is '70.4'; accuracies are fractions"),
        ("val_top1", "-0.1", "val_top1 is '-0.1'; accuracies are fractions"),
        ("val_top1", "70 %", "val_top1 is '70 %', not a number"),
        ("val_loss", "1,23,4", "val_loss is '1,23,4', not a number"),
        ("val_loss", "1.2.3", "val_loss is '1.2.3', not a number"),
        ("val_loss", "12-03", "val_loss is '12-03', not a number"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused_by_its_line(
    column: str, value: str, reason: str, original: Path
) -> None:
    table = texts(original)
    (number,) = table.index[(table["network"] == "B3B+") & (table["seed"] == "0")]
    table.loc[number, column] = value
    table.to_csv(original, index=False)
    with pytest.raises(Refused, match=re.escape(f"results.csv, line {number + 2}: {reason}")):
        read_results(original)


def test_decimal_commas_and_points_in_one_file_are_refused(original: Path) -> None:
    table = texts(original)
    table.loc[0, "val_top1"] = "0,7042"
    table.to_csv(original, index=False)
    with pytest.raises(Refused, match=r"line \d+: .* is '.*\..*', not a number"):
        read_results(original)


def test_what_is_no_results_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="does not exist"):
        read_results(tmp_path / "nowhere.csv")
    with pytest.raises(Refused, match="Is a directory"):
        read_results(tmp_path)
    (tmp_path / "empty.csv").touch()
    with pytest.raises(Refused, match="no results table"):
        read_results(tmp_path / "empty.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Refused, match="lacks the column study, split"):
        read_results(tmp_path / "other.csv")
    (tmp_path / "book.csv").write_bytes(b"PK\x03\x04\x14\x00")
    with pytest.raises(Refused, match="save it as CSV"):
        read_results(tmp_path / "book.csv")
    (tmp_path / "table.json").write_text('{"study": "' + "x" * 200_000)
    with pytest.raises(Refused, match="no results table"):
        read_results(tmp_path / "table.json")
    (tmp_path / "noise.csv").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(Refused, match="no results table"):
        read_results(tmp_path / "noise.csv")


def test_a_table_that_lost_something_is_refused(original: Path, tmp_path: Path) -> None:
    texts(original).drop(columns="diverged_at").to_csv(tmp_path / "mine.csv")
    with pytest.raises(Refused, match=r"lacks the column diverged_at$"):
        read_results(tmp_path / "mine.csv")
    table = texts(original)
    pd.concat([table, table[["plus"]]], axis=1).to_csv(tmp_path / "mine.csv")
    with pytest.raises(Refused, match="has two columns plus"):
        read_results(tmp_path / "mine.csv")
    lines = original.read_text().splitlines()
    (tmp_path / "mine.csv").write_text("\n".join([*lines[:3], lines[3][:60]]))
    with pytest.raises(Refused, match=rf"line 4: \d+ cells under {len(COLUMNS)} columns"):
        read_results(tmp_path / "mine.csv")


# ------------------------------------------------------------------------------------------- names in few words


def test_names_that_differ_in_a_number_share_a_line() -> None:
    names = [f"random-{s}/A{n}B+/seed-{seed}" for s in range(4) for n in range(1, 8) for seed in (0, 1, 2)]
    assert in_spans(names) == ["random-{0..3}/A{1..7}B+/seed-{0..2}"]
    assert in_spans(["random-0/A3B/seed-1"]) == ["random-0/A3B/seed-1"]
    names = ["random-0/baseA/seed-0", "random-0/A1B/seed-0", "random-0/A3B/seed-0", "random-0/A3B+/seed-0"]
    names += ["whole/R10W@250/seed-3", "whole/R2W@250/seed-3", "manmade-natural/baseA/seed-0", "random-1/baseA/seed-0"]
    assert in_spans(names) == [
        "random-{0,1}/baseA/seed-0",
        "random-0/A{1,3}B/seed-0",
        "random-0/A3B+/seed-0",
        "whole/R{2,10}W@250/seed-3",
        "manmade-natural/baseA/seed-0",
    ]
    # What is not missing of a product must not seem so.
    names = ["random-0/A1B/seed-0", "random-0/A2B/seed-0", "random-0/A1B/seed-1"]
    assert in_spans(names) == ["random-0/A{1,2}B/seed-0", "random-0/A1B/seed-1"]
    assert in_spans([]) == []


def test_a_long_list_says_how_long_it_is() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"

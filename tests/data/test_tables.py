"""Tables of pictures as people, spreadsheets and pandas write them."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import picture, pixels, put

from transferability.data.pack import Options, pack
from transferability.data.packed import PackedImages, describe, verify
from transferability.files import Refused

HEADING = "path,label,subset"
ROWS = ("b/0.png,bus,train", "b/1.png,ant,train", "a/2.png,bus,train", "a/3.png,ant,val", "a/4.png,bus,val")


def packed_set(tmp_path: Path, table: str | bytes, name: str = "table.csv", pictures: int = 8) -> PackedImages:
    """Packs the table; pictures b/0.png, b/1.png, a/2.png, … lie beside it, number i with `pixels(i)`."""
    for i in range(pictures):
        put(tmp_path / "ba"[i > 1] / f"{i}.png", picture(i))
    path = put(tmp_path / name, table.encode() if isinstance(table, str) else table)
    return pack(str(path), tmp_path / "packed", Options(workers=1))


def refusal(tmp_path: Path, table: str | bytes, name: str = "table.csv") -> str:
    with pytest.raises(Refused) as refused:
        packed_set(tmp_path, table, name)
    assert not (tmp_path / "packed").exists() and "\n" not in str(refused.value)
    return str(refused.value)


def check(packed: PackedImages) -> None:
    """That it is what ROWS say: in the order of the table within each class."""
    assert [c.id for c in packed.classes] == ["ant", "bus"] and not packed.pool
    assert np.array_equal(packed.train.images, [pixels(i) for i in (1, 0, 2)])
    assert np.array_equal(packed.val.images, [pixels(i) for i in (3, 4)])
    assert packed.train.labels.tolist() == [0, 1, 1] and packed.val.labels.tolist() == [0, 1]


def written(lines: list[str], encoding: str = "utf-8", separator: str = ",", end: str = "\n") -> bytes:
    return end.join([*lines, ""]).replace(",", separator).encode(encoding)


VARIANTS = {
    "plain": written([HEADING, *ROWS]),
    "Excel in Germany": written([HEADING, *ROWS], "utf-8-sig", ";", "\r\n"),
    "Excel's Unicode text": written([HEADING, *ROWS], "utf-16", "\t", "\r\n"),
    "with Excel's hint": b"sep=;\r\n" + written([HEADING, *ROWS], "cp1252", ";", "\r\n"),
    "of pandas": pd.DataFrame([row.split(",") for row in ROWS], columns=HEADING.split(",")).to_csv().encode(),
    "other names and columns": written(
        ["Width,File,Class,Split,note", *(f"16,{row.replace('val', 'Validation')},x" for row in ROWS)]
    ),
    "of Windows": written([HEADING, *(row.replace("/", "\\") for row in ROWS)]),
    "quoted, with empty rows": written(
        [HEADING, "", *(f'"{row.split(",")[0]}" , ' + row.split(",", 1)[1] for row in ROWS)]
    ),
    "test in place of val": written([HEADING, *(row.replace("val", "test") for row in ROWS)]),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_a_table(tmp_path: Path, variant: str) -> None:
    packed = packed_set(tmp_path, VARIANTS[variant], "table.tsv" if "Unicode" in variant else "table.CSV")
    check(packed)
    assert verify(packed) and packed.train.several is None and packed.domains == ()


def test_test_pictures_are_left_out_where_there_are_val_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(packed_set(tmp_path, written([HEADING, *ROWS, "a/5.png,ant,test", "a/6.png,bus,Test"])))
    assert capsys.readouterr().err.splitlines()[0] == "left out: 2 test pictures, since some are val"


def test_without_subsets_it_is_a_pool(tmp_path: Path) -> None:
    packed = packed_set(tmp_path, "path,label\na/3.png,cat\nb/0.png,ant\na/2.png,cat\nb/1.png,ant\n")
    assert packed.pool and np.array_equal(packed.train.images, [pixels(i) for i in (0, 1, 3, 2)])


def test_names_in_windows_1252(tmp_path: Path) -> None:
    for i, name in enumerate(("café.png", "thé.png", "eau.png", "lait.png")):
        put(tmp_path / "é" / name, picture(i))
    rows = [
        "path;label;domain",
        "é\\café.png;chaud;été",
        "é\\thé.png;chaud;été",
        "é\\eau.png;frappé;an",
        "é\\lait.png;frappé;an",
    ]
    packed = packed_set(tmp_path, written(rows, "cp1252", ";"), pictures=0)
    assert [c.id for c in packed.classes] == ["chaud", "frappé"] and packed.domains == ("an", "été")
    assert np.array_equal(packed.train.images, [pixels(i) for i in range(4)])


def test_domains_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ("b/0.png,ant,web", "b/1.png,bus,dslr", "a/2.png,ant,dslr", "a/3.png,bus,dslr", "a/4.png,ant,web")
    packed = packed_set(tmp_path, written(["path,label,domain", *rows]))
    assert packed.domains == ("dslr", "web") and packed.train.domains is not None
    assert packed.train.domains.tolist() == [1, 0, 1, 0, 0] and packed.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert "domain web has no pictures of class bus" in capsys.readouterr().err


SEVERAL = (
    "b/0.png,train,sun;sea",
    "b/1.png,train,sun; ice ;",
    "a/2.png,train,sea",
    "a/3.png,val,sun;fog",
    "a/4.png,val,fog",
)


def test_several_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = packed_set(tmp_path, written(["path,subset,labels", *SEVERAL, "a/5.png,val,", "a/6.png,val,sea"]))
    assert [c.id for c in packed.classes] == ["ice", "sea", "sun"]
    assert packed.train.several is not None and packed.val.several is not None
    assert packed.train.several.tolist() == [[1, 0, 1], [0, 1, 1], [0, 1, 0]]
    assert packed.train.labels.tolist() == [0, 1, 1]
    assert np.array_equal(packed.train.images, [pixels(i) for i in (1, 0, 2)])
    assert packed.val.several.tolist() == [[0, 1, 0], [0, 0, 1]] and np.array_equal(packed.val.images[0], pixels(6))
    lines = capsys.readouterr().err.splitlines()[:3]
    assert lines[0] == "left out: class fog, which no training picture has"
    assert lines[1] == f"left out: {tmp_path}/a/4.png (and 1 more), in which no class is present"
    assert lines[2] == "class ice is in no validation picture: it has no average precision"
    assert "1.40 classes per image" in describe(packed)


def test_rare_classes_are_left_out_where_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = written(["path,subset,labels", *SEVERAL, "a/5.png,train,ice", "a/6.png,val,sea"])
    packed_set(tmp_path, table)  # with all of them
    packed = pack(str(tmp_path / "table.csv"), tmp_path / "frequent", Options(workers=1, least=2))
    assert [c.id for c in packed.classes] == ["ice", "sea", "sun"]  # ice has two by now
    capsys.readouterr()
    put(tmp_path / "table.csv", written(["path,subset,labels", *SEVERAL, "a/6.png,val,sea"]))
    packed = pack(str(tmp_path / "table.csv"), tmp_path / "two", Options(workers=1, least=2))
    assert [c.id for c in packed.classes] == ["sea", "sun"]
    assert packed.train.several is not None and packed.train.several.tolist() == [[1, 1], [1, 0], [0, 1]]
    assert np.array_equal(packed.train.images, [pixels(i) for i in (0, 2, 1)])
    assert "left out: class ice, which fewer than 2 training pictures have" in capsys.readouterr().err
    rows = ["a/5.png,cat,train", "a/6.png,cat,train", "a/7.png,cat,val"]
    put(tmp_path / "table.csv", written([HEADING, *ROWS, *rows]))  # one label per image; ant has one
    packed = pack(str(tmp_path / "table.csv"), tmp_path / "one", Options(workers=1, least=2))
    assert [c.id for c in packed.classes] == ["bus", "cat"] and packed.train.labels.tolist() == [0, 0, 1, 1]


def test_a_column_for_each_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.DataFrame(
        {
            "path": ["b/0.png", "b/1.png", "a/2.png", "a/3.png"],
            "Sun": [1.0, 0.0, 1.0, 1.0],  # as pandas writes a column that once had gaps
            "sea": [0, 1, -1, 1],
            "age": [31, 1, 0, 1],
            "rain": [0, 0, -1, 0],
        }
    )
    packed = packed_set(tmp_path, table.to_csv(index=False))
    assert [c.id for c in packed.classes] == ["sea", "sun"] and packed.pool
    assert packed.train.several is not None
    assert packed.train.several.tolist() == [[1, 0], [1, 1], [0, 1], [-1, 1]]
    assert np.array_equal(packed.train.images, [pixels(i) for i in (1, 3, 0, 2)])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "not read: column age (and 1 more)"
    assert not any("one picture only" in line for line in lines)
    assert "1.25 classes per image, 1 times not known" in describe(packed)


def test_a_class_of_one_picture_and_a_domain_that_lacks_a_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ("b/0.png,web,1,0", "b/1.png,web,1,-1", "a/2.png,dslr,1,1")
    packed = packed_set(tmp_path, written(["path,domain,sun,sea", *rows]))
    assert packed.train.labels.tolist() == [0, 1, 1] and packed.train.domains is not None
    assert packed.train.domains.tolist() == [0, 1, 1]
    assert capsys.readouterr().err.splitlines()[:2] == [
        "class sea is in one picture only: it can be trained or validated, not both",
        "domain web has no pictures of class sea",
    ]


def test_marks_are_part_of_what_is_packed(tmp_path: Path) -> None:
    packed_set(tmp_path, "path,sun,sea\nb/0.png,1,0\nb/1.png,0,1\n")
    with pytest.raises(Refused, match="holds another data set"):
        packed_set(tmp_path, "path,sun,sea\nb/0.png,1,-1\nb/1.png,0,1\n")


def test_a_class_whose_pictures_cannot_be_read_is_named(tmp_path: Path) -> None:
    table = put(tmp_path / "table.csv", b"path,labels\nbad.png,ant\n0.png,bus;cat\n1.png,cat\n")
    put(tmp_path / "bad.png", b"no picture")
    for i in range(2):
        put(tmp_path / f"{i}.png", picture(i))
    with pytest.raises(Refused, match=r"^no picture of class ant in train can be read"):
        pack(str(table), tmp_path / "packed", Options(skip_unreadable=True))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name,label\nb/0.png,ant\n", "table.csv needs the columns path, named in its first row"),
        (
            "path,size\nb/0.png,12\n",
            "needs a column label, a column labels (separated by semicolons), or one column per",
        ),
        ("path,label\n", "has no rows below the names of its columns"),
        ("path,label\nb/9.png,ant\nb/8.png,ant\n", "there is no file b/9.png (and 1 more): paths are relative to the"),
        ("path,label\n,ant\n", "there is no file "),
        ("path,label\nb/0.png,ant\nb/../b/0.png,bus\n", "names b/../b/0.png twice: give each picture one row"),
        ("path,label,subset\nb/0.png,ant,dev\n", "subset 'dev' of b/0.png is not train, val or test"),
        ("path,label,split\nb/0.png,ant,\n", "split '' of b/0.png is not train, val or test"),
        ("path,label,subset\nb/0.png,ant,train\nb/1.png,bus,train\n", "no picture's subset is val or test; for a pool"),
        ("path,label,subset\nb/0.png,ant,test\nb/1.png,bus,test\n", "no picture's subset is train"),
        ("path,label\nb/0.png,\n", "b/0.png has no label: give one, or delete its row"),
        ("path,label,domain\nb/0.png,ant,\n", "b/0.png has no domain"),
        ("path,sun,sea\nb/0.png,1,0\nb/1.png,,1\n", "b/1.png has nothing in column sun: give 1, 0 or -1"),
        ("path,sun,sea\nb/0.png,0,0\nb/1.png,-1,0\n", "no class is present in any training picture"),
        ("path,labels\nb/0.png,sun\nb/1.png,sun\n", "one class only, sun"),
        ("path,label\nb/0.png,sun\nb/1.png,sun\n", "one class only, sun"),
        ("path,label\nb/0.png,sun\nb/1.png,sea\na/2.png,sea\n", "class sun has one picture only"),
        ("path,label,subset\nb/0.png,sun,train\nb/1.png,sea,train\na/2.png,sea,val\n", "class sun has training but no"),
        (
            "path,label,subset\nb/0.png,sun,val\nb/1.png,sea,train\na/2.png,sea,val\na/3.png,cat,train\n",
            "class sun has val",
        ),
        (b"PK\x03\x04", "is a spreadsheet or an archive, not a CSV file: save it as CSV"),
    ],
)
def test_what_is_wrong_in_a_table_is_one_line(tmp_path: Path, table: str | bytes, message: str) -> None:
    assert message in refusal(tmp_path, table)


def test_a_spreadsheet_is_refused(tmp_path: Path) -> None:
    handle = io.BytesIO(b"PK\x03\x04 of Excel")
    assert "is a spreadsheet or an archive, not a CSV file: save it as CSV" in refusal(
        tmp_path, handle.getvalue(), "table.xlsx"
    )

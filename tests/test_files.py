"""Files are whole or not there, whatever the file system lacks; tables are read as spreadsheets write them."""

import errno
import os
import sys
from pathlib import Path

import pytest

from transferability import cli
from transferability.files import (
    Refused,
    as_windows_text,
    in_words,
    parse_table,
    read_table,
    write_atomically,
    write_json,
)


def fails_for_folders(monkeypatch: pytest.MonkeyPatch, code: int) -> list[str]:
    """fsync of a folder fails as on file systems that lack it. Returns the list of folders that were tried."""
    original, tried = os.fsync, []

    def fsync(handle: int) -> None:
        target = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if target.is_dir():
            tried.append(str(target))
            raise OSError(code, os.strerror(code))
        original(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return tried


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_folders_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    tried = fails_for_folders(monkeypatch, code)
    write_json(tmp_path / "a.json", {"a": 1})
    assert (tmp_path / "a.json").read_bytes() == b'{\n  "a": 1\n}\n'
    assert tried == [str(tmp_path)] and os.listdir(tmp_path) == ["a.json"]


def test_a_folder_that_cannot_be_synced_for_another_reason_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_for_folders(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output error") as error, write_atomically(tmp_path / "a.json") as handle:
        handle.write(b"{}")
    assert error.value.filename == str(tmp_path)


def test_a_file_that_cannot_be_synced_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error") as error, write_atomically(tmp_path / "a.json") as handle:
        handle.write(b"{}")
    assert error.value.filename == str(tmp_path / "a.json") and os.listdir(tmp_path) == []


def test_errors_in_words() -> None:
    assert in_words(Refused("what to do")) == "what to do"
    assert in_words(OSError(errno.EINVAL, "Invalid argument", "x.json")) == "x.json: Invalid argument"
    assert (
        in_words(OSError(errno.ENOSPC, "No space left", "x"))
        == "x: No space left; make room and run the same command again"
    )
    assert in_words(OSError(errno.EINVAL, "Invalid argument")) == "the operating system says: Invalid argument"
    assert in_words(OSError("of its own\nmaking")) == "OSError: of its own making"
    assert in_words(ValueError("no")) == "ValueError: no"
    assert in_words(ImportError("libx.so: no file", name="torch._C")).startswith(
        "this command needs torch._C, which cannot be imported (libx.so: no file); install it anew: "
    )
    assert in_words(ImportError("of something else", name="numpy")) == "ImportError: of something else"


@pytest.mark.parametrize("error", [OSError(errno.EINVAL, "Invalid argument"), OSError("odd"), Refused("no")])
def test_the_command_line_says_any_error_of_the_system_in_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"transferability: {in_words(error)}\n"


# -------------------------------------------------------------------------------------------------- tables

ROWS = [
    {"id": "ant", "group": "natural", "name": "the ant, or emmet"},
    {"id": "café", "group": "man-made", "name": 'a "café"'},
    {"id": "猫", "group": "", "name": "cat\nor kitten"},
]
COMMAS = 'id,group,name\nant,natural,"the ant, or emmet"\ncafé,man-made,"a ""café"""\n猫,,"cat\nor kitten"\n'
SEMICOLONS = 'id;group;name\nant;natural;the ant, or emmet\ncafé;man-made;"a ""café"""\n猫;;"cat\nor kitten"\n'
TABS = 'id\tgroup\tname\nant\tnatural\tthe ant, or emmet\ncafé\tman-made\t"a ""café"""\n猫\t\t"cat\nor kitten"\n'


@pytest.mark.parametrize(
    "text",
    [
        COMMAS,
        SEMICOLONS,
        TABS,
        f"sep=;\n{SEMICOLONS}",
        f'"sep=\t"\n{TABS}',
        COMMAS.replace("id,group,name", ' ID , "Group",NAME\u00a0'),
        COMMAS.replace("ant,natural", " ant ,natural "),
        COMMAS.replace('"\n', '",,\n').replace("name\n", "name,,\n"),  # empty columns that were once used
        f"\n{COMMAS}\n,,\n ,,\n",  # and rows
        COMMAS.replace("id,group,name", '"id","group","name"'),
    ],
    ids=str.__len__,
)
def test_tables_as_spreadsheets_write_them(text: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"):
        for end in ("\n", "\r\n", "\r"):
            rows = parse_table(text.replace("\n", end).encode(encoding), "groups.csv", ("id", "group"))
            assert [{column: row[column] for column in ROWS[0]} for row in rows] == ROWS


def test_cells_in_another_encoding_survive_as_they_are() -> None:
    """Names of files may have such bytes, so a table of them may too."""
    data = "id,group,name\ncaf\xe9,natural,na\xefve \x93x\x94\n".encode("latin-1")
    (row,) = parse_table(data, "groups.csv", ("id",))
    assert row["id"] == os.fsdecode(b"caf\xe9") and as_windows_text(row["id"]) == "café"
    assert as_windows_text(row["name"]) == "naïve “x”" and as_windows_text("猫") == "猫"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "groups.csv needs the columns id and group, named in its first row"),
        (b"ant,natural\n", "needs the columns id and group"),
        (b"id,group\nant,natural,or not\n", "the row 'ant' has more cells than the first row: quote its commas"),
        (b"id,group,v,V\nant,natural,1,2\n", "has two columns of the name 'v'; give each a name of its own"),
        (b"PK\x03\x04 and so on", "is a spreadsheet or an archive, not a CSV file: save it as CSV"),
        (b"id,group\n" + b"x" * 200_000, "cannot be read as a table: field larger than field limit"),
    ],
)
def test_what_is_no_such_table_is_named(data: bytes, message: str) -> None:
    with pytest.raises(Refused, match=message):
        parse_table(data, "groups.csv", ("id", "group"))


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(Refused, match=f"{path.name} cannot be read: {why}"):
            read_table(path, ("id",))

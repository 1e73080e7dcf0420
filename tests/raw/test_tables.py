"""Tables as spreadsheets and people write them."""

import os

import pytest
from pydantic import ValidationError

from pipeline.core.errors import RawDataError
from pipeline.raw.samples import Sample
from pipeline.raw.splits.groups import find_groups
from pipeline.raw.splits.rules import Group
from pipeline.raw.tables import read_columns, read_text

ROWS = {"001": "p1", "002": "p2, left"}


def read(tmp_path, data):
    path, problems = tmp_path / "t.csv", []
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_columns(path, "id", "patient", problems), problems


@pytest.mark.parametrize(
    "text",
    [
        'id,patient\n001,p1\n002,"p2, left"\n',
        "id;patient\r\n001;p1\r\n002;p2, left\r\n",
        "patient\tid\np1\t001\np2, left\t002\n",
        'sep=;\nid;patient\n001;p1\n002;"p2, left"\n',
        'id, patient\n "001", p1\n002, "p2, left"\n',
        '\n,\nid,patient\n,\n001,p1\n\n002,"p2, left"\n,,\n',
        'patient,id\np1,001\n# end\n"p2, left",002\n',
        'id,patient\n"=""001""",p1\n="002","p2, left"\n',
        'id,note,patient\r001,,p1\r002,"two\rlines","p2, left"\r',
    ],
)
def test_table_is_read_as_spreadsheets_write_it(tmp_path, text):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert read(tmp_path, text.encode(encoding)) == (ROWS, [])


@pytest.mark.parametrize(
    ("data", "found", "remedy"),
    [
        (b"PK\x03\x04....", "a spreadsheet", "CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0....", "an Excel workbook", "CSV UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git-LFS pointer", "git lfs pull"),
        ("id,patient\n1,p\u00e4\n".encode("cp1252"), "bytes in line 2 that are not UTF-8 text", "CSV UTF-8"),
        ("id,patient\n".encode("utf-16-le"), "zero bytes", "CSV UTF-8"),
        (b"", "the columns []", "fetch"),
        (b"name;patient\n", "the columns ['name', 'patient']", "fetch"),
        (b"id,patient,patient\n", "the column 'patient' twice", "fetch"),
        (b"id;patient\n\n1;a\n1;b\n", "a second row with the id '1'", "remove one"),
    ],
)
def test_file_that_is_no_such_table_is_named(tmp_path, data, found, remedy):
    _, (problem,) = read(tmp_path, data)
    assert found in problem.found
    assert remedy in problem.remedy


@pytest.mark.parametrize("path", ["/dev/zero", "pipe", "huge"])
def test_files_without_end_are_refused_before_reading(tmp_path, path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**28 + 1)
    found = "a file of 268435457 bytes" if path == "huge" else "a pipe or a device"
    for read_file in (
        lambda file: read_text(file, "a list", "correct it"),
        lambda file: find_groups([Sample("1", "1.png")], Group(file=str(file), column="a"), tmp_path),
    ):
        with pytest.raises(RawDataError, match=found):
            read_file(tmp_path / path)


def test_cells_of_large_masks_are_read(tmp_path):
    codes = "1 2 " * 10**5
    assert read(tmp_path, f'id,patient\n1,{codes}\n2,"{codes}"\n') == ({"1": codes, "2": codes}, [])


@pytest.mark.parametrize("pattern", ["(a{9999999999})", "(" * 2000 + "a" + ")" * 2000, "(a"])
def test_patterns_that_cannot_be_compiled_are_refused(pattern):
    with pytest.raises(ValidationError, match="is not a regular expression"):
        Group(pattern=pattern)


def test_identifiers_without_their_zeros_are_explained(tmp_path):
    (tmp_path / "t.csv").write_text("id;patient\n7;a\n8;b\n")
    samples = [Sample(name, "i", mask="m") for name in ("007", "008", "9")]
    with pytest.raises(RawDataError) as caught:
        find_groups(samples, Group(column="patient", file="t.csv"), tmp_path)
    (problem,) = caught.value.problems
    assert "no 'patient' for 3 of 3 samples" in problem.found
    assert "the table has '7' for '007', '8' for '008'" in problem.found
    assert "format text" in problem.remedy


@pytest.mark.parametrize("mark", ["", " ", "NA", "nan", "#N/A", "None"])
def test_marks_of_missing_values_are_no_group(tmp_path, mark):
    (tmp_path / "t.csv").write_text(f"id,patient\na,p1\nb,{mark}\n")
    with pytest.raises(RawDataError, match="no 'patient' for 1 of 2 samples: b"):
        find_groups([Sample(name, "i", mask="m") for name in "ab"], Group(column="patient", file="t.csv"), tmp_path)


@pytest.mark.parametrize(("first", "second"), [("P1", "p1"), ("1", "1.0"), ("01", "1")])
def test_groups_in_two_spellings_are_refused(tmp_path, first, second):
    (tmp_path / "t.csv").write_text(f"id,patient\na,{first}\nb,{second}\nc,other\n")
    with pytest.raises(RawDataError, match=f"'{first}' and '{second}'|'{second}' and '{first}'"):
        find_groups([Sample(name, "i", mask="m") for name in "abc"], Group(column="patient", file="t.csv"), tmp_path)
    samples = [Sample(f"{name}_{number}", "i", mask="m") for number, name in enumerate(("P1", "p1"))]
    with pytest.raises(RawDataError, match="'P1' and 'p1'"):
        find_groups(samples, Group(pattern="(.*)_"), tmp_path)


def test_spaces_and_composed_letters_make_no_new_group(tmp_path):
    (tmp_path / "t.csv").write_text("id,patient\na,M\u00fcller 1\nb,Mu\u0308ller\u00a01\n", encoding="utf-8")
    samples = [Sample(name, "i", mask="m") for name in "ab"]
    assert set(find_groups(samples, Group(column="patient", file="t.csv"), tmp_path).values()) == {"M\u00fcller 1"}

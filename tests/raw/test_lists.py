import csv

import pytest
from sources import assigned

from pipeline.core.errors import RawDataError
from pipeline.raw.samples import Sample
from pipeline.raw.splits.lists import select_listed

SAMPLES = [
    Sample("21", "/d/images/21_training.tif", mask="/d/manual/21_manual1.gif"),
    Sample("b (1)", "/d/images/b (1).png", mask="/d/masks/b (1).png"),
    Sample("c", "/d/images/c.jpg", mask="/d/masks/c_mask.png"),
    Sample("train-7", "/d/train/img/7.png", mask="/d/train/lab/7.png"),
    Sample("test-7", "/d/test/img/7.png", mask="/d/test/lab/7.png"),
    Sample("#12", "/d/images/#12.png", mask="/d/masks/#12.png"),
]


def select(tmp_path, text, samples=SAMPLES):
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())
    return select_listed(path, samples, "test")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("21", "21"),
        ("21_training.tif", "21"),
        ("21_training.png", "21"),
        ("21_manual1.gif", "21"),
        ("b (1)", "b (1)"),
        ("  b (1).png  ", "b (1)"),
        ("/home/someone/else/c.jpg", "c"),
        (r"D:\data\images\c.JPG", "c"),
        ("c.jpg c_mask.png", "c"),
        ("images/c.jpg masks/b (1).png", "c"),
        ("c,1,0.5", "c"),
        ("b (1).png;masks/b (1).png", "b (1)"),
        ("/home/x/test/img/7.png", "test-7"),
        (r"E:\train\img\7.png", "train-7"),
        ("train-7", "train-7"),
        ("#12", "#12"),
        ("#12.png,3", "#12"),
    ],
)
def test_list_entry_matches_in_many_notations(tmp_path, line, name):
    assert select(tmp_path, f"\ufeff# a comment\r\n\r\n{line}\r\n") == {name}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("c;train", "'c;train', in the list for the split 'test'"),
        ("c,Training", "'c,Training', in"),
        ("c\tVAL", "in the list"),
        ("c validation", "in the list"),
        ('"c","train"', "in the list"),
        ("c.jpg,patient 3,train_set", "in the list"),
        ("c,unlabelled", "in the list"),
        ("# train:", "the heading '# train:'"),
        ("c,21", "which names the samples 21, c"),
    ],
)
def test_line_that_names_another_split_or_sample_is_refused(tmp_path, line, found):
    with pytest.raises(RawDataError) as caught:
        select(tmp_path, f"21\n{line}\n")
    (problem,) = caught.value.problems
    assert problem.where.endswith("line 2")
    assert found in problem.found


@pytest.mark.parametrize("header", ["id,split", "File Name;Subset", "set\tid"])
def test_table_of_all_splits_is_refused_with_its_other_rows(tmp_path, header):
    cells = ["c", "train"] if header.startswith(("id", "File")) else ["c", "21"]
    with pytest.raises(RawDataError) as caught:
        select(tmp_path, f"{header}\n21,test\n{','.join(cells)}\n")
    assert caught.value.problems[-1].where.endswith("line 3")


@pytest.mark.parametrize("header", ["id,is_train,is_test", "id,fold"])
def test_columns_that_select_by_number_are_refused(tmp_path, header):
    with pytest.raises(RawDataError, match="in the list for the split 'test'"):
        select(tmp_path, f"{header}\n21,0,1\n")


@pytest.mark.parametrize("text", ["id\n21\nc\n", "filename,split\n21,test\nc.jpg,TEST\n", "21 test\nc;Testing\n"])
def test_header_row_and_the_lists_own_split_are_accepted(tmp_path, capsys, text):
    assert select(tmp_path, text) == {"21", "c"}
    assert not capsys.readouterr().err


def test_further_cells_without_meaning_are_logged_once(tmp_path, capsys):
    for _ in range(2):
        select(tmp_path, "21,1,0.5\nc,2\n")
    (line,) = capsys.readouterr().err.splitlines()
    assert "only the first entry of a line is read; more in 2 lines, such as '21,1,0.5'" in line


@pytest.mark.parametrize(
    ("entry", "name"), [("7", "007"), ("7.0", "007"), ("1.23457E+17", "123456789012345678"), ("IMG_1", "img_1")]
)
def test_entry_that_a_spreadsheet_changed_names_the_sample(tmp_path, entry, name):
    samples = [
        Sample(sample_id, f"/d/{sample_id}.png", mask="m") for sample_id in ("007", "123456789012345678", "img_1")
    ]
    with pytest.raises(RawDataError, match=f"although there is '{name}'"):
        select(tmp_path, f"{entry}\n", samples)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_list_with_byte_order_mark_is_read_in_its_encoding(tmp_path, encoding):
    (tmp_path / "list.txt").write_bytes('"21"\r\nb (1).png\r\n'.encode(encoding))
    assert select_listed(tmp_path / "list.txt", SAMPLES, "test") == {"21", "b (1)"}


def test_ambiguous_and_unknown_entries_are_listed_with_lines(tmp_path):
    with pytest.raises(RawDataError) as caught:
        select(tmp_path, "21\nnobody\n\n7.png\nelsewhere/7\nc\n")
    found = {problem.where.rpartition(", ")[2]: problem.found for problem in caught.value.problems}
    assert set(found) == {"line 2", "line 4", "line 5"}
    assert "matches no sample" in found["line 2"]
    assert "matches 2 samples: test-7, train-7" in found["line 4"]


def test_a_list_of_other_samples_is_not_read_to_its_end(tmp_path):
    with pytest.raises(RawDataError) as caught:
        select(tmp_path, "nobody\n" * 300_000)
    assert len(caught.value.problems) == 1001
    assert "line 1001" in caught.value.problems[-1].where
    with pytest.raises(RawDataError) as caught:
        select(tmp_path, "nobody\n" * 1000)
    assert len(caught.value.problems) == 1000


@pytest.mark.parametrize("start", ['21\n"', "# test ", "train,x,", "id,train,"])
def test_long_lines_are_cut_in_messages(tmp_path, start):
    with pytest.raises(RawDataError) as caught:
        select(tmp_path, start + "x" * 400_000)
    assert len(str(caught.value)) < 2000


def test_a_cell_that_the_csv_library_refuses_is_one_entry(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.raw.tables.csv.reader", csv_error)
    with pytest.raises(RawDataError, match="matches no sample"):
        select(tmp_path, '21\n"x')


def csv_error(*_, **__):
    raise csv.Error("new-line character seen in unquoted field")


@pytest.mark.parametrize(
    ("content", "found"),
    [(None, "No such file"), (b"# only\n", "no entry"), (b"21\n\xff", "line 2 that are not UTF-8")],
)
def test_file_that_is_not_a_list_is_refused(tmp_path, content, found):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RawDataError, match=found):
        select_listed(path, SAMPLES, "test")


def test_lists_are_relative_to_the_root_or_absolute(tmp_path):
    (tmp_path / "test.txt").write_text("21\n")
    (tmp_path / "val.txt").write_text("c\n")
    splits = assigned(
        SAMPLES,
        tmp_path,
        test={"rule": "list", "file": "test.txt"},
        validation={"rule": "list", "file": str(tmp_path / "val.txt")},
    )
    assert [sample.id for sample in splits["test"]] == ["21"]
    assert [sample.id for sample in splits["validation"]] == ["c"]
    assert len(splits["train"]) == len(SAMPLES) - 2


def test_sample_in_both_lists_is_refused(tmp_path):
    (tmp_path / "list.txt").write_text("21\nc\n")
    both = {"rule": "list", "file": "list.txt"}
    with pytest.raises(RawDataError, match="that the list of `validation` contains too") as caught:
        assigned(SAMPLES, tmp_path, test=both, validation=both)
    assert len(caught.value.problems) == 2


def test_sample_without_mask_cannot_be_listed(tmp_path):
    (tmp_path / "list.txt").write_text("u\n")
    with pytest.raises(RawDataError, match="matches no sample"):
        assigned([*SAMPLES, Sample("u", "u.png")], tmp_path, test={"rule": "list", "file": "list.txt"})


def test_list_entries_match_accents_in_any_unicode_form(tmp_path):
    samples = [Sample("caf\u00e9", "/d/images/cafe\u0301.png", mask="/d/masks/caf\u00e9_m.png")]
    for line in ("cafe\u0301", "caf\u00e9", "x/caf\u00e9.png", "cafe\u0301.png", "cafe\u0301_m.png"):
        assert select(tmp_path, line, samples) == {"caf\u00e9"}

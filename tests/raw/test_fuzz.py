from collections import Counter

from fuzz_decode import KINDS, fuzz, judge, make_files, make_input


def test_damaged_files_are_refused_by_name_or_harmless():
    counts = fuzz(500, seed=0)
    assert counts.total() == 500
    assert {outcome for *_, outcome in counts} == {"refused", "same", "changed"}
    assert sum(count for (_, kind, outcome), count in counts.items() if (kind, outcome) == ("truncate", "refused")) > 50
    assert not [key for key in counts if key[0] == "png" and key[2] == "changed"]


def test_the_judge_detects_violations():
    files = make_files()
    assert judge(files["rgb.png"], "rgb.png", "flip", files["palette.png"]).startswith("violation: a changed PNG")
    assert judge(files["photo.jpg"], "photo.jpg", "truncate", files["rgb.png"]).startswith("violation: a truncated")
    assert judge(files["photo.jpg"], "photo.jpg", "flip", files["photo.jpg"]) == "same"


def test_fuzz_inputs_are_reproducible_and_of_every_kind():
    files = make_files()
    inputs = [make_input(files, 5, index) for index in range(100)]
    assert inputs == [make_input(files, 5, index) for index in range(100)]
    assert Counter(kind for _, kind, _ in inputs).keys() == set(KINDS)
    assert {name for name, _, _ in inputs} == files.keys()

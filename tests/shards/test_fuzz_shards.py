import fuzz_shards
from fuzz_decode import fuzz


def test_damaged_shards_are_refused_or_unchanged():
    counts = fuzz(300, 0, script=fuzz_shards.__file__, files=fuzz_shards.make_files())
    assert counts.total() == 300
    assert {outcome for *_, outcome in counts} == {"refused", "same"}


def test_the_judge_of_shards_detects_violations(tmp_path):
    files = fuzz_shards.make_files()
    grey, other = files["grey.h5"], files["uint8.h5"]
    assert fuzz_shards.judge(tmp_path, grey, "grey.h5", "flip", other).startswith("violation: changed contents")
    assert fuzz_shards.judge(tmp_path, grey, "grey.h5", "flip", grey) == "same"
    assert fuzz_shards.judge(tmp_path, grey, "grey.h5", "flip", grey[:-1]) == "refused"

"""Messages list the first problems of each kind, errors hold all."""

from pipeline.core.errors import Problem, RawDataError, ShardError, join_first, plural


def test_messages_stop_after_ten_problems_of_a_kind():
    pointers = [Problem(f"a/{n}.png", "a pointer", "an image", "run `git lfs pull`", kind="git-lfs") for n in range(90)]
    sizes = [Problem(f"b/{n}.png", f"{n}x3", f"a mask of 5x{n}, like a/{n}.png", "resize it") for n in range(12)]
    other = Problem("c.png", "NaN", "finite values", "correct them")
    error = RawDataError([*pointers, other, *sizes])
    assert len(error.problems) == 103
    message = str(error)
    assert message.count("a pointer") == 10
    assert "(103 problems)" in message
    assert "... and 80 more of this kind (`python -m pipeline check` writes a report" in message
    assert "... and 2 more of this kind" in message
    assert "c.png" in message
    assert "check" not in str(ShardError(pointers))
    assert "more of this kind" not in str(RawDataError(pointers[:10]))


def test_names_stop_after_ten_with_a_count():
    assert join_first("cab") == "a, b, c"
    assert join_first(map(str, range(12))).endswith("7 and 2 more")


def test_counts_have_the_fitting_noun():
    assert [plural(count, "image") for count in range(3)] == ["0 images", "1 image", "2 images"]
    assert "(1 problem)" in str(ShardError("a", "b", "c", "d"))

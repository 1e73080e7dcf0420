import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sources import source

from pipeline.core.counts import VOID
from pipeline.core.errors import RawDataError
from pipeline.raw.decode.labels import BLACK_AND_WHITE, LabelMap
from pipeline.raw.decode.palette import (
    COLOURS,
    class_colours,
    colour_distance,
    format_mask_value,
    overlapping_values,
    parse_colour,
    parse_mask_value,
)

RED, BLUE = (255, 0, 0), (0, 0, 255)


def mask_labels(layout, **options):
    return source(layout, ".", options).layout.mask_labels()


def refusal(labels, pixels):
    with pytest.raises(RawDataError) as caught:
        labels.classify(np.asarray(pixels), "mask.png")
    return str(caught.value)


def test_undeclared_values_are_listed_with_their_counts():
    plane = np.array([[0, 255, 1], [1, 7, 0]], dtype=np.uint8)
    assert "1 (2 pixels), 7 (1 pixel)" in refusal(BLACK_AND_WHITE, plane)


@pytest.mark.parametrize(
    ("colours", "labels", "found"),
    [
        (
            [(0, 0, 0), (3, 0, 0), (7, 0, 0)],
            {"0": "background", "1": "fence", "3": "road"},
            "#030000 (1 pixel), #070000",
        ),
        ([(0, 0, 0), (0, 0, 255), (255, 255, 0)], {"0": "background", "255": "cell"}, "#0000ff (1 pixel), #ffff00"),
    ],
)
def test_colours_are_not_read_as_grey_values(colours, labels, found):
    label_map = mask_labels("folder", labels=labels, tolerance=0 if len(labels) > 2 else 30).label_map
    message = refusal(label_map, np.array([colours], dtype=np.uint8))
    assert found in message
    assert "the mask is coloured: declare its colours under `labels`" in message


def test_grey_mask_with_traces_of_colour_is_read_within_tolerance():
    label_map = mask_labels("folder", labels={"0": "background", "255": "cell"}, tolerance=4).label_map
    pixels = np.array([[(2, 0, 3), (254, 255, 252)]], dtype=np.uint8)
    assert label_map.classify(pixels, "mask.png").tolist() == [[0, 1]]
    for blue in (1, 4):  # whose luma is 0
        refusal(BLACK_AND_WHITE, np.array([[(0, 0, blue)]], dtype=np.uint8))
    drive_observer = np.array([[(4, 2, 4), (252, 254, 252), (0, 0, 0)]], dtype=np.uint8)
    assert LabelMap({0: 0, 3: 0, 253: 1, 255: 1}).classify(drive_observer, "mask.gif").tolist() == [[0, 1, 0]]


def test_soft_masks_in_colours_or_of_0_and_1_are_refused(tmp_path):
    labels = LabelMap({0: 0, 255: 1})
    path = tmp_path / "m.png"
    Image.fromarray(np.array([[(0, 0, 127), (255, 0, 0)]], dtype=np.uint8)).save(path)
    with pytest.raises(RawDataError, match="a mask with colours"):
        labels.read_soft(path)
    Image.fromarray(np.array([[0, 1]], dtype=np.uint8)).save(path)
    with pytest.raises(RawDataError, match="multiply the values by 255"):
        labels.read_soft(path)
    Image.fromarray(np.array([[(0, 3, 1), (90, 98, 95)]], dtype=np.uint8)).save(path)  # as after JPEG
    assert labels.read_soft(path).shape == (1, 2)


def test_a_mask_of_0_and_1_is_refused_not_read_as_empty(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(path)
    with pytest.raises(RawDataError, match=r"1 \(8 pixels\)"):
        BLACK_AND_WHITE.read(path)


@pytest.mark.parametrize("kind", ["1-bit", "8-bit", "16-bit", "palette"])
def test_black_and_white_masks_of_every_bit_depth(tmp_path, kind):
    truth = np.eye(8, dtype=np.uint8)
    path = tmp_path / "mask.png"
    image = {
        "1-bit": Image.fromarray(truth * 255).convert("1"),
        "8-bit": Image.fromarray(truth * 255),
        "16-bit": Image.fromarray(truth.astype(np.uint16) * np.uint16(65535)),
        "palette": Image.fromarray(truth).convert("P"),
    }[kind]
    if kind == "palette":
        image.putpalette((0, 0, 0, 255, 255, 255))
    image.save(path)
    np.testing.assert_array_equal(BLACK_AND_WHITE.read(path), truth)


def test_values_may_share_a_class_or_be_void():
    labels = LabelMap({0: 0, 1: 1, 2: 1, 255: VOID})
    plane = np.array([[0, 1, 2, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(labels.classify(plane, "m"), [[0, 1, 1, VOID]])


def test_16_bit_indices_below_256_are_kept(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(np.array([[0, 1], [2, 255]], dtype=np.uint16)).save(path)
    labels = LabelMap({0: 0, 1: 1, 2: 2, 255: VOID})
    np.testing.assert_array_equal(labels.read(path), [[0, 1], [2, VOID]])
    Image.fromarray(np.array([[0, 1], [2, 256]], dtype=np.uint16)).save(path)
    with pytest.raises(RawDataError, match="from 0 to 256"):
        labels.read(path)


def test_grey_label_among_colours_means_equal_channels():
    labels = LabelMap({0: 0, RED: 1, BLUE: 2, (9, 8, 7): VOID})
    image = np.array([[(0, 0, 0), RED, BLUE, (9, 8, 7)]], dtype=np.uint8)
    np.testing.assert_array_equal(labels.classify(image, "m"), [[0, 1, 2, VOID]])
    np.testing.assert_array_equal(labels.classify(np.zeros((2, 2), np.uint8), "m"), np.zeros((2, 2)))


def test_tolerance_is_the_maximum_difference_per_channel():
    image = np.array([[(2, 2, 255), (0, 0, 253), (3, 0, 0)]], dtype=np.uint8)
    meaning = {0: 0, BLUE: 1}
    message = refusal(LabelMap(meaning), image)
    for part in ("#0202ff (1 pixel)", "#0000fd", "#030000"):
        assert part in message
    assert "#030000" in refusal(LabelMap(meaning, tolerance=2), image)
    np.testing.assert_array_equal(LabelMap(meaning, tolerance=3).classify(image, "m"), [[1, 1, 0]])


def test_tolerance_applies_at_both_ends_of_the_grey_range():
    labels = LabelMap({0: 0, 255: 1}, tolerance=2)
    np.testing.assert_array_equal(labels.classify(np.array([[0, 2, 253, 255]], np.uint8), "m"), [[0, 0, 1, 1]])
    assert "3 (1 pixel), 252 (1 pixel)" in refusal(labels, np.array([[3, 252]], np.uint8))


def test_inverted_swaps_the_two_classes_but_not_void(tmp_path):
    labels = LabelMap({0: 0, 255: 1, 7: VOID}, inverted=True)
    np.testing.assert_array_equal(labels.classify(np.array([[0, 255, 7]], np.uint8), "m"), [[1, 0, VOID]])
    Image.fromarray(np.array([[0, 100, 255]], np.uint8)).save(tmp_path / "m.png")
    np.testing.assert_array_equal(labels.read_soft(tmp_path / "m.png"), [[255, 155, 0]])


@pytest.mark.parametrize("kind", ["grey", "colour", "palette"])
def test_shapes_reads_the_blue_channel(tmp_path, kind):
    truth = np.arange(16, dtype=np.uint8).reshape(4, 4) % 4
    rgb = np.stack([truth * 0 + 90, truth * 40, truth], axis=2)
    image = {"grey": Image.fromarray(truth), "colour": Image.fromarray(rgb), "palette": Image.fromarray(truth)}[kind]
    if kind == "palette":
        image = image.convert("P")
        image.putpalette([50, 60, 0, 70, 80, 1, 90, 100, 2, 110, 120, 3])
    image.save(tmp_path / "m.png")
    np.testing.assert_array_equal(mask_labels("shapes").label_map.read(tmp_path / "m.png"), truth)
    assert "4 (1 pixel)" in refusal(mask_labels("shapes").label_map, np.array([[4]], np.uint8))


def test_remedy_suggests_options_of_the_configuration():
    plain = mask_labels("folder", labels={"0": "background", "255": "a"}).label_map
    assert "`labels`" in refusal(plain, np.array([[1]], np.uint8))
    assert '"#ff0000"' in refusal(plain, np.array([[RED]], np.uint8))
    assert "`tolerance: 4`" in refusal(plain, np.array([[1, 4, 252]], np.uint8))
    assert "mask_kind: soft" in refusal(plain, np.arange(256, dtype=np.uint8)[None])
    assert "`labels`" not in refusal(BLACK_AND_WHITE, np.array([[1]], np.uint8))


def test_display_colours_default_to_the_label_colours():
    labels = mask_labels(
        "folder",
        classes=["background", "road", "car"],
        labels={"#000000": "background", "#102030": "road", "#112131": "road", "7": "car"},
        ignore=["#ffffff"],
        colours={"background": "#010203"},
    )
    assert labels.colours == ((1, 2, 3), (16, 32, 48), COLOURS[1])
    image = np.array([[(17, 33, 49), (7, 7, 7), (255, 255, 255)]], np.uint8)
    np.testing.assert_array_equal(labels.label_map.classify(image, "m"), [[1, 2, VOID]])


@pytest.mark.parametrize(("text", "key"), [(7, 7), ("255", 255), ("#80fF00", (128, 255, 0)), (" 1, 2,3 ", (1, 2, 3))])
def test_mask_values_are_grey_values_or_colours(text, key):
    assert parse_mask_value(text) == key
    assert parse_mask_value(format_mask_value(key)) == key


@pytest.mark.parametrize("text", [256, -1, "red", "#12345", "1,2", "1,2,256", True, None, 1.5, "²"])
def test_invalid_mask_values_are_refused(text):
    with pytest.raises(ValueError, match="neither a grey value"):
        parse_mask_value(text)


def test_display_colour_must_not_be_a_grey_value():
    with pytest.raises(ValueError, match="is a grey value"):
        parse_colour(7)


@given(st.integers(1, 254))
def test_class_colours_are_distinct_and_stable(count):
    names = [str(index) for index in range(count)]
    colours = class_colours(names)
    assert len(set(colours)) == count
    assert class_colours([*names, "more"])[:count] == colours
    assert colours[:8] == COLOURS[:count]


def test_configured_colours_are_not_used_for_other_classes():
    colours = class_colours(["a", "b", "c"], {"c": COLOURS[1]})
    assert colours == (COLOURS[0], COLOURS[2], COLOURS[1])


@given(st.tuples(*[st.integers(0, 255)] * 3), st.tuples(*[st.integers(0, 255)] * 3), st.integers(0, 127))
def test_labels_that_do_not_overlap_are_unambiguous(first, second, tolerance):
    meaning = {first: 0, second: 1}
    if first == second or overlapping_values(meaning, tolerance):
        assert colour_distance(first, second) <= 2 * tolerance
        return
    low = np.clip(np.array(first) - tolerance, 0, 255)
    high = np.clip(np.array(second) + tolerance, 0, 255)
    table = LabelMap(meaning, tolerance).classify(np.array([[low, high]], np.uint8), "m")
    np.testing.assert_array_equal(table, [[0, 1]])


def test_error_for_one_near_colour_suggests_the_tolerance(tmp_path):
    path = tmp_path / "mask.png"
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2] = (254, 0, 0)
    Image.fromarray(pixels).save(path)
    labels = LabelMap({(0, 0, 0): 0, (255, 0, 0): 1}, editable=True)
    with pytest.raises(RawDataError, match="set `tolerance: 1`"):
        labels.read(path)


def discs(shape=(120, 120), count=40):
    """Return a mask that numbers its objects."""
    rng, numbers = np.random.default_rng(0), np.zeros(shape, np.uint16)
    for number in range(1, count + 1):
        y, x = rng.integers(0, shape[0] - 12), rng.integers(0, shape[1] - 12)
        numbers[y : y + 12, x : x + 12] = number
    return numbers


@pytest.mark.parametrize("labels", [BLACK_AND_WHITE, LabelMap({0: 0, 255: 1}, editable=True), LabelMap({0: 0, 1: 1})])
@pytest.mark.parametrize("scale", [1, 9])
def test_a_mask_that_numbers_its_objects_is_named(labels, scale):
    numbers = discs() * np.uint16(scale)
    message = refusal(labels, numbers if scale > 1 else numbers.astype(np.uint8))
    assert "objects (instances)" in message
    assert "swapped" not in message


@pytest.mark.parametrize("kind", ["noise", "smoothed", "few"])
def test_other_masks_are_not_said_to_number_objects(kind):
    mask = {
        "noise": np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8),
        "smoothed": cv2.GaussianBlur((discs() > 0).astype(np.uint8) * 255, (0, 0), 2),
        "few": np.arange(4, dtype=np.uint8).repeat(20)[None].repeat(9, axis=0),
    }[kind]
    assert "instances" not in refusal(LabelMap({0: 0, 255: 1}, editable=True), mask)


@pytest.mark.parametrize("method", [cv2.INTER_LINEAR, cv2.INTER_AREA])
def test_mixed_colours_of_a_mask_are_named(method):
    painted = np.zeros((40, 40, 3), np.uint8)
    painted[5:20, 5:20], painted[18:35, 22:38] = RED, (0, 200, 80)
    mixed = cv2.resize(painted, (27, 27), interpolation=method)
    labels = LabelMap({0: 0, RED: 1, (0, 200, 80): 2}, editable=True)
    message = refusal(labels, mixed)
    assert "antialiasing" in message
    assert "nearest neighbour" in message
    assert "antialiasing" not in refusal(labels, np.full((4, 4, 3), (10, 20, 200), np.uint8))

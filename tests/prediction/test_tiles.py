from functools import partial

import pytest
import torch
from pydantic import TypeAdapter

from pipeline.core.errors import ConfigError
from pipeline.models.networks import NETWORKS, AnyNetwork
from pipeline.models.registry import build_model
from pipeline.models.shapes import SMALLEST
from pipeline.prediction.batches import PixelLimit
from pipeline.prediction.symmetries import SYMMETRIES, average_views
from pipeline.prediction.tiles import blended_axis, predict_bands, valid_axis

CPU = torch.device("cpu")

NETS = [
    ("unet", {"width": 4, "depth": 2}, 1, 16),
    ("unet", {"width": 4, "depth": 3, "head_kernel": 1}, 4, 40),
    ("unet-small", {"widths": (4, 6, 8)}, 3, 40),
]


def network(name, options, channels):
    """Build a network with random batch-norm statistics."""
    torch.manual_seed(3)
    options_model = TypeAdapter(AnyNetwork).validate_python({"name": name, **options})
    model = build_model(options_model, in_channels=3, out_channels=channels).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return torch.no_grad()(model), model


def random_image(height, width, count=1):
    return torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(7))


def predict_tiles(forward, image, rows, columns, limit=None):
    """Predict images of one size tile by tile and assemble the results."""
    sources, bands = [partial(plane.index_select, -2) for plane in image], [[] for _ in image]

    def run(batches):
        return ((key, forward(batch)) for key, batch in batches)

    for index, band in predict_bands(run, sources, image.shape[-2:], rows, columns, limit or PixelLimit(CPU)):
        bands[index].append(band)
    return torch.stack([torch.cat(image_bands, dim=-2) for image_bands in bands])


def blended(forward, image, size, multiple, overlap=0.5, margin=0, limit=None):
    options = {"overlap": overlap, "margin": margin, "multiple": multiple}
    rows, columns = (blended_axis(length, side, **options) for length, side in zip(image.shape[-2:], size, strict=True))
    return predict_tiles(forward, image, rows, columns, limit)


def limit_of(pixels):
    limit = PixelLimit(CPU)
    limit.pixels = pixels
    return limit


@pytest.mark.parametrize(("name", "options", "channels", "radius"), NETS)
@pytest.mark.parametrize(("height", "width", "overlap"), [(160, 128, 0.5), (133, 171, 0.0)])
def test_tiles_with_margin_equal_whole_image_except_near_borders(
    name, options, channels, radius, height, width, overlap
):
    forward, model = network(name, options, channels)
    image = random_image(height, width, 2)
    whole = forward(image)
    result = blended(forward, image, (2 * radius + 24, 2 * radius + 40), model.multiple, overlap, radius)
    assert result.shape == whole.shape == (2, channels, height, width)
    inner = (..., slice(radius, height - radius - 4), slice(radius, width - radius - 4))
    torch.testing.assert_close(result[inner], whole[inner], atol=1e-4, rtol=0)
    assert (
        result - whole
    ).abs().max() > 1e-3  # at the borders tiles are mirrored, the whole image is padded with zeros


def test_tiles_without_margin_differ_from_whole_image():
    forward, model = network(*NETS[0][:3])
    image = random_image(160, 192)
    assert (blended(forward, image, (48, 48), model.multiple, overlap=0.0) - forward(image)).abs().max() > 1e-3


def test_image_of_one_tile_is_predicted_as_a_whole():
    forward, model = network(*NETS[0][:3])
    image = random_image(64, 96)
    torch.testing.assert_close(blended(forward, image, (64, 96), model.multiple), forward(image))


QUICK = {
    "unet": {"width": 4, "depth": 4},
    "unet-original": {"width": 4, "depth": 3},
    "unet-small": {"widths": (4, 6, 8)},
    "unet-crop": {"widths": (4, 6, 8), "padding": "mirror"},
    "u2net": {"width": 4},
    "u2net-lite": {"width": 4},
}


@pytest.mark.parametrize("name", [network.model_fields["name"].annotation.__args__[0] for network in NETWORKS])
@pytest.mark.parametrize(("size", "tile", "margin"), [((45, 52), (64, 96), 0), ((90, 75), (96, 544), 16)])
def test_tiles_that_cover_the_image_equal_the_whole_image(name, size, tile, margin):
    forward, model = network(name, QUICK.get(name, {}), 2)
    image = random_image(*size)
    if getattr(model, "padded", True):
        result = blended(forward, image, tile, model.multiple, margin=margin)
    else:
        place_tiles = partial(valid_axis, margins=model.margins, multiple=model.multiple)
        rows, columns = (place_tiles(length, side) for length, side in zip(size, tile, strict=True))
        result = predict_tiles(torch.no_grad()(model.valid_forward), image, rows, columns)
    torch.testing.assert_close(result, forward(image), atol=1e-5, rtol=1e-5)


def test_image_smaller_than_the_minimum_is_continued_by_mirroring():
    inputs = []

    def forward(x):
        inputs.append(x)
        return x

    image = random_image(20, 41)
    torch.testing.assert_close(blended(forward, image, (128, 160), 16), image)
    assert [x.shape for x in inputs] == [(1, 3, 32, 41)]
    torch.testing.assert_close(inputs[0][..., 20:, :], image.flip(-2)[..., 1:13, :])


@pytest.mark.parametrize("length", [1, 31, 64, 65, 200, 1001])
@pytest.mark.parametrize(
    ("side", "overlap", "margin", "multiple"), [(64, 0.5, 0, 16), (100, 0, 13, 4), (50, 0.9, 3, 8)]
)
def test_tiles_cover_every_pixel_and_align_with_pooling(length, side, overlap, margin, multiple):
    axis = blended_axis(length, side, overlap=overlap, margin=margin, multiple=multiple)
    covered = torch.zeros(length)
    for start in axis.starts:
        covered[start : start + axis.output_side] += 1
        assert start % multiple == 0
        assert start < length
    assert covered.min() >= 1
    if len(axis.starts) == 1:
        assert axis.side == axis.output_side == max(length, SMALLEST)
    else:
        assert axis.side % multiple == axis.margin % multiple == 0
        assert axis.side >= side
        assert axis.margin >= margin
    gaps = [b - a for a, b in zip(axis.starts, axis.starts[1:], strict=False)]
    assert all(gap <= max(multiple, axis.output_side * (1 - overlap)) for gap in gaps)


def test_weights_are_gaussian_with_sigma_of_an_eighth():
    axis = blended_axis(500, 128, overlap=0.5, margin=0, multiple=16)
    assert axis.weights.argmax() in (63, 64)
    ratio = axis.weights[64 + 16] / axis.weights[64]  # one sigma of 16 pixels away, from half a pixel beside the middle
    assert ratio == pytest.approx(torch.exp(torch.tensor(-0.5 * (16.5**2 - 0.5**2) / 16**2)).item(), rel=1e-5)


@pytest.mark.parametrize(("size", "margin"), [(16, 0), (64, 32), (64, 25)])
def test_tiles_without_pixels_between_margins_are_refused(size, margin):
    with pytest.raises(ConfigError, match="larger tiles or a smaller margin"):
        blended_axis(500, size, overlap=0.5, margin=margin, multiple=16)


def test_tile_batches_are_limited_and_do_not_change_result():
    forward, _ = network(*NETS[1][:3])
    image = random_image(150, 170)
    counts, results = [], []
    for pixels in (1, 64 * 64 * 3, 2**20):
        sizes = []

        def count(x, sizes=sizes):
            sizes.append(len(x))
            return forward(x)

        results.append(blended(count, image, (64, 64), 4, limit=limit_of(pixels)))
        counts.append(max(sizes))
    assert counts == [1, 3, 20]
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, atol=1e-5, rtol=0)


def steps(plane, axis, borders):
    """Return the largest jump across the borders, and the largest anywhere else."""
    jumps = plane.diff(dim=axis).abs().amax(dim=1 - axis)
    at_border = torch.zeros(len(jumps), dtype=torch.bool)
    at_border[[border - 1 for border in borders if 0 < border <= len(jumps)]] = True
    return jumps[at_border].max(), jumps[~at_border].max()


def slope(x):
    """Return values that vary from border to border of a tile, like networks with padding."""
    ramps = [torch.linspace(-1, 1, side) for side in x.shape[-2:]]
    return x[:, :1] * (1 - 0.4 * ramps[0][:, None] ** 3) * (1 - 0.4 * ramps[1] ** 3)


def test_gaussian_blending_removes_seams():
    image = torch.ones(1, 3, 288, 288)
    for overlap, seam in ((0.5, False), (0.0, True)):
        axis = blended_axis(288, 96, overlap=overlap, margin=0, multiple=16)
        result = predict_tiles(slope, image, axis, axis)[0, 0]
        borders = {*axis.starts, *(start + axis.output_side for start in axis.starts)}
        for dimension in (0, 1):
            at_borders, elsewhere = steps(result, dimension, borders)
            assert (at_borders > 3 * elsewhere) == seam
            assert (at_borders > elsewhere) == seam


VALID = [(2, 4, 64), (3, 3, 100), (5, 1, 572)]


@pytest.mark.parametrize(("depth", "width", "side"), VALID)
@pytest.mark.parametrize("size", [(40, 33), (401, 470)])
def test_valid_convolution_tiles_equal_whole_image_at_borders(depth, width, side, size):
    _, model = network("unet-original", {"width": width, "depth": depth}, 3)
    image = random_image(*size)
    inputs = []

    @torch.no_grad()
    def forward(x):
        inputs.append(tuple(x.shape))
        return model.valid_forward(x)

    place_tiles = partial(valid_axis, margins=model.margins, multiple=model.multiple)
    rows, columns = (place_tiles(length, side) for length in size)
    result = predict_tiles(forward, image, rows, columns)
    with torch.no_grad():
        torch.testing.assert_close(result, model(image), atol=1e-4, rtol=0)
    assert sum(shape[0] for shape in inputs) == len(rows.starts) * len(columns.starts)
    if side == 572:
        assert rows.output_side == 388
        assert {shape[2:] for shape in inputs} == {(572, 572)}


def test_valid_convolution_tiles_are_minimal_in_number():
    _, model = network("unet-original", {"width": 1, "depth": 5}, 1)
    place_tiles = partial(valid_axis, margins=model.margins, multiple=16)
    assert place_tiles(388, 572).starts == [0]
    assert place_tiles(389, 572).starts == [0, 16]
    assert place_tiles(772, 572).starts == [0, 384]
    smallest = place_tiles(100, 32)
    assert smallest.output_side >= 16
    assert smallest.side == 204


@pytest.mark.parametrize(("name", "views"), [("none", 1), ("horizontal", 2), ("flips", 4), ("rot90", 8)])
@pytest.mark.parametrize("size", [(48, 48), (33, 70)])
@pytest.mark.parametrize("pixels", [1, 3 * 48 * 48, 2**20])
def test_test_time_views_differ_and_are_rotated_back(name, views, size, pixels):
    image, batches = random_image(*size), []

    def forward(x):
        batches.append(x)
        return 2 * x

    torch.testing.assert_close(average_views(forward, name, limit_of(pixels))(image), 2 * image)
    different = {
        tuple(view.shape[-2:]) + tuple(view[0, :3, :3].flatten().tolist()) for batch in batches for view in batch
    }
    assert len(SYMMETRIES[name]) == sum(map(len, batches)) == len(different) == views
    allowed = {size, size[::-1]} if name == "rot90" else {size}
    assert {tuple(batch.shape[-2:]) for batch in batches} == allowed


@pytest.mark.parametrize(
    ("size", "pixels", "passes"),
    [
        ((48, 48), 2**20, 1),
        ((33, 70), 2**20, 2),
        ((48, 48), 3 * 48 * 48, 3),
        ((33, 70), 3 * 33 * 70, 4),
        ((9, 9), 9, 8),
    ],
)
def test_views_of_one_shape_are_one_batch_within_the_limit(size, pixels, passes):
    batches = []

    def forward(x):
        batches.append(x)
        return x

    average_views(forward, "rot90", limit_of(pixels))(random_image(*size))
    assert len(batches) == passes


@pytest.mark.parametrize("name", ["horizontal", "flips", "rot90"])
def test_averaged_network_is_equivariant_to_symmetries(name):
    forward, _ = network(*NETS[1][:3])
    image = random_image(64, 48)
    mean = average_views(forward, name, PixelLimit(CPU))
    transforms = [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT]
    for transform in transforms[: {"horizontal": 1, "flips": 2, "rot90": 3}[name]]:
        torch.testing.assert_close(mean(transform(image)), transform(mean(image)), atol=1e-5, rtol=0)
        assert (forward(transform(image)) - transform(forward(image))).abs().max() > 1e-3


def test_test_time_views_work_with_tiles():
    inputs = []

    def forward(x):
        inputs.append(tuple(x.shape[-2:]))
        return 3 * x

    image = random_image(100, 150)
    torch.testing.assert_close(
        blended(average_views(forward, "rot90", PixelLimit(CPU)), image, (48, 64), 16), 3 * image
    )
    assert set(inputs) == {(48, 64), (64, 48)}

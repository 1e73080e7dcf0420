"""The program inside bundles prepares images and averages predictions as the pipeline does."""

import cv2
import numpy as np
import pytest
import torch
from untrained import checkpoint, load

from pipeline.bundle import runner
from pipeline.bundle.onnx_graph import is_valid
from pipeline.bundle.schema import Member
from pipeline.bundle.write import describe
from pipeline.prediction.listing import ImageFile
from pipeline.prediction.network import _load_network
from pipeline.prediction.new_images import load_image
from pipeline.prediction.recipes import SourcedThreshold, Tiles
from pipeline.training.losses import activate

RNG = np.random.default_rng(3)
IMAGES = {
    "rgb": RNG.integers(0, 256, (70, 91, 3), np.uint8),
    "grey": RNG.integers(0, 256, (70, 91), np.uint8),
    "16-bit": RNG.integers(0, 4000, (61, 50, 3), np.uint16),
    "16-bit-grey": RNG.integers(0, 60000, (40, 120), np.uint16),
    "alpha": np.dstack([RNG.integers(0, 256, (50, 60, 3), np.uint8), np.full((50, 60), 255, np.uint8)]),
    "equal": np.repeat(RNG.integers(0, 256, (50, 60, 1), np.uint8), 3, axis=2),
    "blank": np.full((50, 60, 3), 7, np.uint8),
}
STANDARD = {"method": "standard", "mean": [0.5], "std": [0.2]}

MEMBER = Member(
    graph="model.onnx",
    weights="weights.safetensors",
    graph_sha256="0" * 64,
    weights_sha256="0" * 64,
    experiment="e",
    epoch=1,
)


def described(path, **more):
    predictor = load(path, **more)
    tiles, test_time = more.get("tiles"), more.get("test_time", "none")
    return predictor, describe(predictor.info, [MEMBER], SourcedThreshold(0.5, "x"), tiles, test_time).plain()


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize(
    "preparation",
    [
        {"normalize": "minmax"},
        {"normalize": "symmetric", "size": "native"},
        {"normalize": STANDARD, "channels": "grey", "size": [100, 64]},
        {"normalize": "unit", "interpolation": "linear"},
    ],
    ids=lambda preparation: str(preparation["normalize"])[:9],
)
def test_images_are_prepared_as_by_the_pipeline(kind, preparation, tmp_path):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), IMAGES[kind])
    predictor, info = described(checkpoint(tmp_path / "best.pt", preparation=preparation))
    expected = load_image(ImageFile("image", path), predictor).image.whole().numpy()
    actual = runner.prepare(runner.decode(path, info), info)
    assert actual.dtype == np.float32
    assert np.array_equal(actual, expected)


@pytest.mark.parametrize("quality", [80, 95])
def test_photographs_are_decoded_as_by_the_pipeline(quality, tmp_path):
    path = tmp_path / "image.jpg"
    cv2.imwrite(str(path), cv2.GaussianBlur(IMAGES["rgb"], (0, 0), 2), [cv2.IMWRITE_JPEG_QUALITY, quality])
    predictor, info = described(checkpoint(tmp_path / "best.pt"))
    assert np.array_equal(runner.decode(path, info), load_image(ImageFile("image", path), predictor).pixels)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("test_time", ["none", "horizontal", "flips", "rot90"])
@pytest.mark.parametrize(
    ("options", "tiles"),
    [
        ({}, None),
        ({}, {"size": [32, 48]}),
        ({}, {"size": [40, 200], "overlap": 0.2, "margin": 3}),
        ({"name": "unet-original", "depth": 2}, None),
        ({"name": "unet-original", "depth": 3}, {"size": [60, 70]}),
        ({"name": "unet-crop", "widths": [3, 4], "padding": "mirror"}, {"size": [64, 64]}),
    ],
    ids=str,
)
def test_tiles_and_views_are_averaged_as_by_the_pipeline(options, tiles, test_time, classes, tmp_path):
    path = checkpoint(tmp_path / "best.pt", classes, preparation={"size": "native"}, **options)
    tiles = None if tiles is None else Tiles.model_validate(tiles)
    predictor, info = described(path, tiles=tiles, test_time=test_time)
    _, network = _load_network(path)
    network = network.eval()
    body = network.valid_forward if is_valid(network) else network

    @torch.no_grad()
    def run(image):
        assert not is_valid(network) or all(
            (side - 4 * (network.multiple - 1)) % network.multiple == 0 for side in image.shape[1:]
        )
        return activate(body(torch.from_numpy(np.ascontiguousarray(image))[None]), predictor.info.activation)[0].numpy()

    file = tmp_path / "image.png"
    cv2.imwrite(str(file), IMAGES["rgb"])
    expected = predictor(load_image(ImageFile("image", file), predictor).image)
    actual = runner.predict_probability(run, runner.prepare(runner.decode(file, info), info), info)
    assert actual.shape == expected.shape
    assert actual.dtype == np.float32
    assert np.abs(actual - expected).max() < 2e-6


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((20, 40, 3), np.uint8), "40 x 20 pixels"),
        (np.dstack([IMAGES["rgb"], RNG.integers(0, 256, (70, 91), np.uint8)]), "alpha channel that varies"),
    ],
    ids=["small", "alpha"],
)
def test_images_that_do_not_fit_are_refused(pixels, message, tmp_path):
    cv2.imwrite(str(tmp_path / "image.png"), pixels)
    _, info = described(checkpoint(tmp_path / "best.pt", preparation={"size": "native"}))
    with pytest.raises(runner.UnusableError, match=message):
        runner.prepare(runner.decode(tmp_path / "image.png", info), info)

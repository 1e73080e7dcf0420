"""Untrained networks, and predictions of shards and images with them."""

import imagecodecs
import numpy as np
import torch

from pipeline.models.registry import build_model
from pipeline.prediction.network import load_predictor
from pipeline.prediction.new_images import predict_images
from pipeline.prediction.normalized import NormalizedImage
from pipeline.prediction.predict import predict
from pipeline.prediction.recipes import PredictRecipe
from pipeline.shards.recipes import ShardRecipe
from pipeline.shards.write import build_shard
from pipeline.training.checkpoint import CheckpointInfo, save_checkpoint

CLASSES = ["background", "circle", "square"]


def checkpoint(path, classes=2, activation=None, region="full", weights=None, preparation=None, info=None, **options):
    """Save an untrained network, or one with the given weights."""
    torch.manual_seed(5)
    model = {"name": "unet", "width": 4, "depth": 3} | options
    if model["name"].startswith("u2net"):
        del model["depth"]
    if "widths" in model:
        del model["width"], model["depth"]
    training = {"dataset": "d", "model": model, "optimizer": {"name": "sgd", "lr": 0.1}, "batch_size": 1, "epochs": 1}
    preparation = {"size": [48, 64], "normalize": "minmax", "storage": "float32", **(preparation or {})}
    contents = {
        "model": model,
        "in_channels": {"rgb": 3, "grey": 1}[preparation.get("channels", "rgb")],
        "out_channels": 1 if classes == 2 else classes,
        "activation": activation or ("sigmoid" if classes == 2 else "softmax"),
        "size": [48, 64] if preparation["size"] == "native" else preparation["size"],
        "preparation": preparation,
        "dataset": "d",
        "origin": "raw files",
        "class_names": ["background", "thing"] if classes == 2 else CLASSES,
        "experiment": "e",
        "seeds": {},
        "settings": {**training, "loss": {"name": "bce", "region": region}},
        "made_with": {},
        **(info or {}),
    }
    info = CheckpointInfo.model_validate(contents)
    save_checkpoint(path, info, weights or network_of(info).state_dict())
    return path


def network_of(info):
    return build_model(info.model, in_channels=info.in_channels, out_channels=info.out_channels)


def load(path, **more):
    return load_predictor(path, precision="fp32", threads=1, **more)


def probabilities(network, batch):
    """Predict (N, C, H, W) normalized images."""
    scale, offset = np.ones(batch.shape[1], np.float32), np.zeros(batch.shape[1], np.float32)
    images = [NormalizedImage(f"image {i}", plane.numpy(), scale, offset) for i, plane in enumerate(batch)]
    bands = [[] for _ in images]
    for index, band in network.predict(images):
        bands[index].append(torch.from_numpy(band))
    return torch.stack([torch.cat(image_bands, dim=1) for image_bands in bands])


def read(path):
    return np.asarray(imagecodecs.png_decode(path.read_bytes()))


def build(path, split, samples, **changes):
    settings = {"dataset": "d", "size": [48, 64], "normalize": "minmax", "storage": "float32", **changes}
    recipe = ShardRecipe.model_validate({**settings, "split": split, "source": samples})
    build_shard(recipe, number=0, output=path)
    return path


def predict_shards(path, shards, output, **more):
    settings = {"kind": "probability", "precision": "fp32", "threads": 1, "test_time": "none", **more}
    recipe = PredictRecipe.model_validate({"dataset": "d", "split": "unlabelled", **settings})
    predict(recipe, experiment="e", checkpoint=path, shards=shards, output=output)


def predict_shard(path, shard, output, **more):
    predict_shards(path, [shard], output, **more)


def predict_folder(tmp_path, path, **more):
    arguments = {"images": tmp_path / "in", "output": tmp_path / "out", "precision": "fp32", "threads": 1, **more}
    predict_images(checkpoint=path, **arguments)

"""The model card of a bundle, in Markdown: what a person needs to know before using the network."""

from collections.abc import Iterator

from pipeline.bundle.schema import INFO, RUNNER, BundleInfo


def model_card(info: BundleInfo) -> str:
    """Return the text of README.md.

    Parameters
    ----------
    info : BundleInfo
        With its proof.
    """
    return "\n".join(_lines(info)) + "\n"


def _lines(info: BundleInfo) -> Iterator[str]:
    network, output, provenance, proof = info.network, info.output, info.provenance, info.proof
    members, experiment = info.networks, info.networks[0].experiment
    yield f"# Segmentation by {experiment if len(members) == 1 else f'an ensemble of {len(members)} networks'}"
    yield ""
    yield f"Network `{network.model.name}`, trained on the data set `{provenance.dataset}` ({provenance.origin})."
    yield f"Classes: {', '.join(output.classes)}. Licence: {provenance.licence or 'not stated by the author'}."
    yield ""
    yield "## Use"
    yield ""
    yield "    pip install numpy onnxruntime opencv-python-headless"
    yield f"    python {RUNNER} IMAGES OUTPUT"
    yield ""
    yield f"Unpack the archive first. Masks have the size of their images: {_decision(info)}."
    yield f"`--probability` also writes probabilities as level / 255. `{INFO}` contains all settings."
    yield ""
    yield f"The program in this archive does without these parts of the pipeline that trained {experiment}:"
    yield ""
    yield from (f"- {text}" for text in info.without)
    yield ""
    yield "## Input"
    yield ""
    size = "native size" if info.input.size == "native" else f"resized to {info.input.size} (height, width)"
    types = f" of {', '.join(info.input.types)}" if info.input.types else ""
    yield f"Images{types}, as {info.input.channels}, {size}, normalization {info.input.normalize.plain()}."
    tiles = "as a whole" if info.tiles is None else f"in tiles of {info.tiles.size} pixels"
    yield f"Images are predicted {tiles}; averaged views: {info.test_time}."
    yield ""
    yield "## Scores"
    yield ""
    scores = [f"- {name}: {value}" for name, value in provenance.scores.items()]
    yield from scores or ["None were stored with the network."]
    yield ""
    yield "## Limits"
    yield ""
    yield "Scores hold for images like those of the training. Others may be predicted wrongly without any warning."
    if output.fov == "inside":
        yield "The network was trained only inside fields of view; its probabilities outside mean nothing."
    yield ""
    yield "## Proof"
    yield ""
    if proof is not None:
        yield f"On {proof.images} images, {RUNNER} differs from PyTorch in fp32 by at most {proof.largest} levels of"
        yield f"256, by more than one level on {proof.differing:.2g} of the pixels. {proof.masks:.2g} of the mask"
        yield "pixels differ."
    yield ""
    yield "## Origin"
    yield ""
    yield f"Commit {provenance.commit or 'unknown'}; trained with {provenance.trained_on or 'unknown versions'}."
    for member in members:
        yield f"- {member.experiment}, epoch {member.epoch}, seed {member.seed}: checkpoint {member.checkpoint_sha256}"
        yield f"  weights {member.weights_sha256}"


def _decision(info: BundleInfo) -> str:
    output = info.output
    if output.threshold is None:
        return "the index of the most probable class"
    return f"255 where the probability is above {output.threshold:g} ({output.threshold_source}), else 0"

"""The command that exports trained networks."""

from pipeline.cli.commands import ARGUMENTS, Arguments, option, path_option, result_command, threads_option
from pipeline.cli.job import job_of
from pipeline.graph.artifacts import Bundle


@result_command(
    Bundle,
    option("experiment", "experiment, one of its runs, or its ensemble: NAME.ensemble"),
    path_option("output", "zip file to write", ARGUMENTS, metavar="BUNDLE"),
    path_option(
        "--images",
        "image or folder of images to compare bundle and PyTorch on",
        shown="the test images of the data set",
    ),
    option("--licence", "licence of the weights, for the model card", metavar="TEXT"),
    threads_option("CPU threads of the networks", default=1),
    examples=["export drive-unet model.zip", "export drive-unet model.zip --licence CC-BY-4.0"],
)
def export(arguments: Arguments) -> None:
    """Export a trained network, or an ensemble, with a program that runs it without this project.

    Writes a zip file with ONNX graphs, weights, all settings between an image and its mask, and a model card. It is
    written only if its probabilities equal those of PyTorch. Needs the extra `export`:
    `pip install 'segmentation-pipeline[export]'`.
    """
    from pipeline.bundle.read import require_extra

    require_extra()
    job_of(arguments, Bundle).make()

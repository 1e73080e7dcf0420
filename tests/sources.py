"""Sources of data sets for tests, said in one line."""

from pipeline.raw.check.run import check_dataset
from pipeline.raw.dataset import open_dataset
from pipeline.raw.layouts.base import Layout
from pipeline.raw.recipes import CheckRecipe
from pipeline.raw.source import Source
from pipeline.raw.splits.assign import assign_splits
from pipeline.shards.recipes import Preparation


def source(layout, root, options=None, **more):
    """A source as a configuration would say it; `layout` is a word with `options`, or a layout of no registry."""
    if isinstance(layout, Layout):
        return source("folder", root, **more).changed(layout=layout)
    return Source.model_validate({"layout": {"layout": layout, **(options or {})}, "root": str(root), **more})


def listed(layout, root, **options):
    """What a layout lists below a root, for a data set `d`."""
    return source(layout, root, options).layout.list_samples(root, "d")


def opened(name, layout, root, options=None, **more):
    """The data set of such a source, listed."""
    return open_dataset(name, source(layout, root, options, **more))


def assigned(samples, root=".", **methods):
    """The splits of samples of a data set `d`, by `test` and `validation` as a configuration would say them."""
    said = source("folder", root, **methods)
    return assign_splits(samples, "d", said.test, said.validation, root=root)


def check_recipe(layout, root, options=None, *, storage="float32", normalize="minmax", **more):
    """What a check of such a source is made by."""
    told = {"dataset": "x", "channels": "rgb", "storage": storage, "normalize": normalize}
    return CheckRecipe(**told, source=source(layout, root, options, **more))


def checked(layout, root, options=None, *, threads=1, **more):
    """The report of the check of such a source; its files lie in `out` beside the raw folder."""
    recipe = check_recipe(layout, root, options, **more)
    return check_dataset(recipe, output=root.parent / "out", threads=threads)


def preparation(**changes):
    """How samples are prepared: at their native size, as they are, but for `changes`."""
    plain = {"size": "native", "channels": "rgb", "interpolation": "area", "storage": "float32", "normalize": "minmax"}
    return Preparation.model_validate({**plain, **changes})

"""Short constructors of sources, data sets and recipes for tests."""

from pipeline.raw.check.run import check_dataset
from pipeline.raw.dataset import open_dataset
from pipeline.raw.layouts.base import Layout
from pipeline.raw.recipes import CheckRecipe
from pipeline.raw.source import Source
from pipeline.raw.splits.assign import assign_splits
from pipeline.shards.recipes import Preparation


def source(layout, root, options=None, **more):
    """Return a source; `layout` is a name with `options`, or a layout that is not registered."""
    if isinstance(layout, Layout):
        return source("folder", root, **more).changed(layout=layout)
    return Source.model_validate({"layout": {"layout": layout, **(options or {})}, "root": str(root), **more})


def listed(layout, root, **options):
    """Return the samples that a layout lists below a root, for a data set `d`."""
    return source(layout, root, options).layout.list_samples(root, "d")


def opened(name, layout, root, options=None, **more):
    """Return the listed data set of a source."""
    return open_dataset(name, source(layout, root, options, **more))


def assigned(samples, root=".", **rules):
    """Return the splits of samples of a data set `d`; `test` and `validation` are rules as in a configuration."""
    settings = source("folder", root, **rules)
    return assign_splits(samples, "d", settings.test, settings.validation, root=root)


def check_recipe(layout, root, options=None, *, storage="float32", normalize="minmax", native=False, **more):
    """Return the recipe of a check of a source."""
    settings = {"dataset": "x", "channels": "rgb", "storage": storage, "normalize": normalize, "native": native}
    return CheckRecipe(**settings, source=source(layout, root, options, **more))


def checked(layout, root, options=None, *, threads=1, **more):
    """Check a source and return the report; its files are in `out` beside the raw folder."""
    recipe = check_recipe(layout, root, options, **more)
    return check_dataset(recipe, output=root.parent / "out", threads=threads)


def preparation(**changes):
    """Return preparation settings: native size and unchanged values, except for `changes`."""
    plain = {"size": "native", "channels": "rgb", "interpolation": "area", "storage": "float32", "normalize": "minmax"}
    return Preparation.model_validate({**plain, **changes})

"""Sources of data sets for tests, said in one line."""

from pipeline.raw.dataset import open_dataset
from pipeline.raw.layouts.base import Layout
from pipeline.raw.source import Source


def source(layout, root, options=None, **more):
    """A source as a configuration would say it; `layout` is a word with `options`, or a layout of no registry."""
    if isinstance(layout, Layout):
        return source("folder", root, **more).changed(layout=layout)
    return Source.model_validate({"layout": {"layout": layout, **(options or {})}, "root": str(root), **more})


def opened(name, layout, root, options=None, **more):
    """The data set of such a source, listed."""
    return open_dataset(name, source(layout, root, options, **more))

"""Stacks: TIFF files of many pages, of which each is a sample."""

from collections.abc import Iterable
from dataclasses import replace

from pipeline.core.errors import Problem
from pipeline.raw.decode.pages import count_pages
from pipeline.raw.samples import Sample, page_suffix


def by_page(samples: Iterable[Sample], problems: list[Problem]) -> list[Sample]:
    """Turn each sample into one for each page of its image: ``<id>-p001``, ``<id>-p002``, ...

    Only the lists of pages are read. Files of one page are stacks of one.

    Parameters
    ----------
    problems : list of Problem
        Joined by masks and fields of view that have another number of pages than their image.

    Raises
    ------
    RawDataError
        If the pages of a file cannot be counted.
    """
    pages: list[Sample] = []
    for sample in samples:
        count = count_pages(sample.image)
        problems += [
            Problem(
                path,
                f"{other} pages, while {sample.image} has {count}",
                "as many pages as the image",
                "export the stack again, or leave both out",
            )
            for path in sample.files[1:]
            if (other := count_pages(path)) != count
        ]
        pages += [replace(sample, id=sample.id + page_suffix(page), page=page) for page in range(1, count + 1)]
    return pages

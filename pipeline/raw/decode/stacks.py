"""TIFF stacks: each page is a sample."""

from collections.abc import Iterable
from dataclasses import replace

from pipeline.core.errors import Problem, plural
from pipeline.raw.decode.pages import count_pages
from pipeline.raw.samples import Sample, page_suffix


def expand_pages(samples: Iterable[Sample], problems: list[Problem]) -> list[Sample]:
    """Replace each sample by one sample per page of its image: ``<id>-p001``, ``<id>-p002``, ...

    Only the lists of pages are read. A file with one image gives one page.

    Parameters
    ----------
    problems : list of Problem
        Problems are appended for masks and fields of view whose number of pages differs from that of their image.

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
                f"{plural(mask_count, 'page')}, while {sample.image} has {count}",
                "the same number of pages as the image",
                "export the stack again, or leave it out (`exclude`)",
            )
            for path in sample.files[1:]
            if (mask_count := count_pages(path)) != count
        ]
        pages += [replace(sample, id=sample.id + page_suffix(page), page=page) for page in range(1, count + 1)]
    return pages

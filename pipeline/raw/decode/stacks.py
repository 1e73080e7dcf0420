"""TIFF stacks: each page is a sample."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pipeline.core.errors import Problem, RawDataError, plural
from pipeline.raw.decode.pages import count_pages, page_channels
from pipeline.raw.samples import Sample, page_suffix

UNUSABLE_STACK = "stack"
"""Kind of the problems of a stack as a whole: its pages are no samples, so they are not decoded."""


def expand_pages(samples: Iterable[Sample], problems: list[Problem]) -> list[Sample]:
    """Replace each sample by one sample per page of its image: ``<id>-p001``, ``<id>-p002``, ...

    Only the lists of pages are read. A file with one image gives one page. A stack with problems remains one sample.

    Parameters
    ----------
    problems : list of Problem
        Problems are appended for files whose pages cannot be counted or are channels, and for masks and fields of view
        whose number of pages differs from that of their image.
    """
    pages: list[Sample] = []
    for sample in samples:
        try:
            count = count_pages(sample.image)
            stack_problems = list(_stack_problems(sample, count))
        except RawDataError as error:
            stack_problems = list(error.problems)
        if stack_problems:
            problems += [replace(problem, kind=UNUSABLE_STACK, sample=sample.id) for problem in stack_problems]
            pages.append(sample)
        else:
            pages += [replace(sample, id=sample.id + page_suffix(page), page=page) for page in range(1, count + 1)]
    return pages


def _stack_problems(sample: Sample, count: int) -> Iterator[Problem]:
    for path in sample.files:
        if (channels := page_channels(path)) > 1:
            yield Problem(
                path,
                f"{channels} channels of an image, each in a page of its own, according to the description",
                "pages that are samples: another time, slice or position",
                "save the channels as one page (Fiji: Image > Type > RGB Color), or select one of them; if pages are "
                "samples, remove the description (`tiffset -u 270 FILE`)",
            )
            if path == sample.image:
                return
        elif (other_count := count_pages(path)) != count:
            yield Problem(
                path,
                f"{plural(other_count, 'page')}, while {sample.image} has {count}",
                "the same number of pages as the image",
                f"export the stack again, or leave it out (`exclude`, with the identifier {sample.id!r})",
            )

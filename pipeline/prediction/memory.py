"""Turn a lack of memory into a message that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.core.errors import PipelineError, PredictionError

MORE_MEMORY = "cut the image into parts and predict these, or use a machine with more memory"

# OpenCV and PyTorch have no common type for it; the last two texts are those of cuDNN and cuBLAS
_TEXTS = (
    "allocate memory",
    "out of memory",
    "not enough memory",
    "Insufficient memory",
    "Failed to allocate",
    "unable to find an engine",
    "ALLOC_FAILED",
)


def lacks_memory(error: Exception) -> bool:
    """Return whether an error of Python, NumPy, OpenCV or PyTorch says that the memory is too small."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in _TEXTS)


@contextmanager
def memory_errors(where: str, remedy: str) -> Iterator[None]:
    """Raise every failed allocation of the block, of Python, NumPy, OpenCV or PyTorch, as a `PredictionError`.

    Parameters
    ----------
    where : str
        What is predicted.
    remedy : str
    """
    try:
        yield
    except PipelineError:  # may quote such an error, with a better remedy
        raise
    except Exception as error:
        if not lacks_memory(error):
            raise
        found = f"more data than the memory can hold ({' '.join(str(error).split())[:160] or 'MemoryError'})"
        raise PredictionError(where, found, "images that fit into the memory", remedy) from error

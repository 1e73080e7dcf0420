"""Turn a lack of memory into a message that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.core.errors import PipelineError, PredictionError

MORE_MEMORY = "cut the image into parts and predict these, or use a machine with more memory"


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
        # OpenCV and PyTorch have no common type for it
        texts = ("allocate memory", "out of memory", "not enough memory", "Insufficient memory", "Failed to allocate")
        if not isinstance(error, MemoryError) and not any(text in str(error) for text in texts):
            raise
        found = f"more data than the memory can hold ({' '.join(str(error).split())[:160] or 'MemoryError'})"
        raise PredictionError(where, found, "images that fit into the memory", remedy) from error

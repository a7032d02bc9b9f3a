"""Running out of memory or of room, said in one line: it shows in as many ways as there are libraries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgevision.converters.bundle_writer import HINT_ROOM
from edgevision.converters.readers.child import ReaderError
from edgevision.errors import EdgevisionError, OutputError

__all__ = ["shortage_said"]

#: What allocators say where no MemoryError comes of it, in lower case.
_NO_MEMORY = (
    "memoryerror",
    "bad_alloc",
    "out of memory",
    "insufficient memory",
    "failed to allocate memory",
    "cannot allocate memory",
    "unable to allocate",
)
#: What onnxruntime and the system say when a temporary file cannot be written to its end.
_NO_ROOM = ("protobuf serialization failed", "no space left on device", "file too large")


@contextmanager
def shortage_said(what: str) -> Iterator[None]:
    """Whatever says that there is no memory or no room becomes one line; all else passes through.

    Args:
        what: What was being done, for the message: ``convert model.onnx``.

    Raises:
        EdgevisionError: There was not enough.
    """
    try:
        yield
    except OutputError:  # it names the place already
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or _says(error, _NO_MEMORY):
            raise EdgevisionError(
                f"there is not enough memory to {what}",
                hint="a smaller --size, fewer --samples, a machine with more memory, or fewer programs beside it",
            ) from error
        if _says(error, _NO_ROOM):
            raise EdgevisionError(
                f"no room is left to {what}",
                hint=HINT_ROOM,
            ) from error
        raise


def _says(error: BaseException | None, words: tuple[str, ...]) -> bool:
    """Whether an error, or what it came from, has any of the words.

    What a reader's child failed at is a limit of its own, and its error says so.
    """
    while error is not None and not isinstance(error, ReaderError):
        said = str(error).lower()
        if any(word in said for word in words):
            return True
        error = error.__cause__
    return False

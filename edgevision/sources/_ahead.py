"""Reads a source in a thread of its own, so that the next frames are decoded while earlier ones are worked on."""

from __future__ import annotations

import atexit
from queue import SimpleQueue
from threading import Thread
from weakref import WeakSet

from edgevision.frame import Frame
from edgevision.sources import Source, SourceInfo

__all__ = ["Ahead", "ahead"]

#: At the program's end, for a read that cannot be cancelled.
_PATIENCE_S = 5.0
#: Frames that wait, or are being filled: one is ready while the other is decoded. More would only take memory.
_FRAMES = 2
#: What nobody has closed yet; a reader that runs keeps its own.
_opened: WeakSet[Ahead] = WeakSet()


def ahead(source: Source) -> Source:
    """The source read ahead; a live one as it is, for its frames would be old when they are taken."""
    return source if source.live else Ahead(source)


class Ahead:
    """Another source's frames, in order, read before they are asked for.

    Nothing is copied: a frame that is asked for changes its pixels with one that is ready. What the other source
    raises is raised by the `read` that asks for that frame. Only `read` is called from another thread, and
    neither `open` nor `close` meanwhile.
    """

    live = False

    def __init__(self, source: Source) -> None:
        self._source, self.problems = source, source.problems
        self._ready = SimpleQueue[Frame | BaseException | None]()
        self._spare = SimpleQueue[Frame | None]()
        self._reader: Thread | None = None
        self._over = False

    def open(self) -> SourceInfo:
        self._stop()
        info = self._source.open()
        # Queues of this pass alone: none holds what is left of an earlier one.
        self._ready, self._spare, self._over = SimpleQueue(), SimpleQueue(), False
        for _ in range(_FRAMES):
            self._spare.put(Frame())
        queues = self._ready, self._spare
        # A daemon: a stream that nobody closes must not keep the program from ending.
        self._reader = Thread(target=self._read, args=queues, name="edgevision-ahead", daemon=True)
        self._reader.start()
        _opened.add(self)
        return info

    def read(self, into: Frame) -> bool:
        if self._over:
            return False
        found = self._ready.get()
        if not isinstance(found, Frame):
            self._over = True
            if found is not None:
                raise found
            return False
        into.image, found.image = found.image, into.image
        into.format, into.index, into.source = found.format, found.index, found.source
        into.pts_s, into.captured_ns = found.pts_s, found.captured_ns
        self._spare.put(found)
        return True

    def cancel(self) -> None:
        """Frames that were read ahead are left out."""
        self._over = True
        self._source.cancel()
        self._ready.put(None)  # for a `read` that waits

    def close(self) -> None:
        self._stop()
        self._source.close()

    def _stop(self) -> None:
        if self._reader is not None:
            self.cancel()
            self._spare.put(None)
            self._reader.join()
            self._reader = None
            _opened.discard(self)

    def _end(self) -> None:
        reader = self._reader  # another thread may close it meanwhile
        if reader is not None:
            self.cancel()
            self._spare.put(None)
            reader.join(_PATIENCE_S)

    def _read(
        self, ready: SimpleQueue[Frame | BaseException | None], spare: SimpleQueue[Frame | None]
    ) -> None:
        """The reader's thread: fills spare frames until the source ends, fails or is cancelled."""
        try:
            while (frame := spare.get()) is not None and not self._over:
                frame.source = ""  # of the picture before
                if not self._source.read(frame):
                    break
                ready.put(frame)
        except BaseException as error:  # raised again where the frame is asked for
            ready.put(error)
        else:
            ready.put(None)


@atexit.register
def _end_all() -> None:
    """At the end of the program: a thread that Python stops within a library takes the process down."""
    for one in tuple(_opened):
        one._end()

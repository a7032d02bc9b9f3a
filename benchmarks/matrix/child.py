"""Runs work in a process of its own, and says how it ended: a result, an error, a crash, silence.

The child is started with multiprocessing's spawn and tells how far it is through a pipe, as JSON, so that
nothing is unpickled of what it made. What it prints goes into a file. Ctrl-C reaches the whole process group;
the child leaves it to the parent, which passes on what is to be done.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from edgevision.benchmarks.matrix.failure import error_data
from edgevision.benchmarks.terms import StopSign
from edgevision.signals import held_back, let_through
from edgevision.text import printable

__all__ = ["Ended", "Told", "in_child"]

#: What asks for a run's end.
_ENDING = (signal.SIGINT, signal.SIGTERM)
#: How often the parent looks whether it was asked to stop.
_LOOK_S = 0.25
#: After a stop or a fatal signal, so long may the child take to end by itself.
_GRACE_S = 15.0
_LAST_WORDS = 2000
#: How Python's faulthandler begins, and what stands above the thread in which it happened.
_FATAL, _CURRENT = "Fatal Python error: ", "Current thread"

#: Done in the child: called with the arguments, a `StopSign` and a function that tells the part done.
Work = Callable[..., Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended; exactly one of the first five says it.

    Attributes:
        result: What its work returned.
        error: What its work raised: ``kind``, ``problem``, ``received``, ``expected``, ``hint``.
        silent: It gave no sign of life for so many seconds and was ended.
        stopped: It was asked to stop, did not, and was ended.
        status: Exit status of a child that ended without a word; a signal's number is negative.
        words: The end of what it printed.
    """

    result: Mapping[str, Any] | None = None
    error: Mapping[str, str] | None = None
    silent: float = 0.0
    stopped: bool = False
    status: int = 0
    words: str = ""


class Told:
    """A `StopSign` that the parent sets from its process; without a parent this process ends."""

    def __init__(self, pipe: Connection) -> None:
        self.number = 0
        self._pipe = pipe
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            self.number = int(json.loads(self._pipe.recv_bytes())["stop"])
            self._pipe.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)


def in_child(
    work: Work,
    arguments: tuple[Any, ...],
    stop: StopSign,
    *,
    silence_s: float,
    tell: Callable[[float], None] | None = None,
) -> Ended:
    """Runs ``work(*arguments, stop, tell)`` in a child, to its end in one way or another.

    Args:
        work: A function of a module, which the child imports; it returns what can be JSON.
        arguments: Can be pickled.
        stop: When its number is set, the child is asked to stop; what it then returns counts.
        silence_s: The child is ended when it told nothing for so long.
        tell: Told what the child tells.
    """
    with tempfile.TemporaryDirectory(prefix="edgevision-") as folder:
        log = Path(folder) / "log.txt"
        context = multiprocessing.get_context("spawn")
        ours, its = context.Pipe()
        process = context.Process(target=_child, args=(its, str(log), work, arguments))
        try:
            with held_back():
                process.start()
            its.close()
            return _attend(process, ours, stop, silence_s, tell, log)
        finally:
            if process.pid is not None:
                process.kill()
                process.join()
            ours.close()
            its.close()


def _attend(
    process: BaseProcess,
    pipe: Connection,
    stop: StopSign,
    silence_s: float,
    tell: Callable[[float], None] | None,
    log: Path,
) -> Ended:
    heard, asked = time.monotonic(), 0.0
    while True:
        if stop.number and not asked:
            asked = time.monotonic()
            with contextlib.suppress(OSError):  # it has just ended
                pipe.send_bytes(json.dumps({"stop": stop.number}).encode())
        try:
            message = json.loads(pipe.recv_bytes()) if pipe.poll(_LOOK_S) else {}
        except (EOFError, OSError):
            process.join()
            return Ended(status=process.exitcode or 0, words=_last_words(log))
        now = time.monotonic()
        if "part" in message:
            heard = now
            if tell is not None:
                tell(float(message["part"]))
        elif message:
            return Ended(message.get("result"), message.get("error"), words=_last_words(log))
        if asked and now - asked > _GRACE_S:
            return Ended(stopped=True, words=_last_words(log))
        if not asked and now - heard > silence_s:
            _where_it_hangs(process)
            return Ended(silent=silence_s, words=_last_words(log))


def _where_it_hangs(process: BaseProcess) -> None:
    """Ends a child by the signal at which it writes down what each of its threads was doing."""
    with contextlib.suppress(OSError, TypeError):
        os.kill(process.pid or 0, signal.SIGABRT)
    process.join(_GRACE_S)


def _last_words(log: Path) -> str:
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(printable(line, 300) for line in _telling(text).splitlines())


def _telling(text: str) -> str:
    """Of a fatal error, as Python's faulthandler writes it: its name, and the calls of the thread that met it."""
    _, fatal, after = text.rpartition(_FATAL)
    if not fatal:
        return text[-_LAST_WORDS:]
    name, _, rest = after.partition("\n")
    calls = rest[max(rest.find(_CURRENT), 0) :]
    return f"{fatal}{name}\n{calls[:_LAST_WORDS]}"


def _child(pipe: Connection, log: str, work: Work, arguments: tuple[Any, ...]) -> None:
    _confine(log)
    stop = Told(pipe)

    def send(**message: Any) -> None:
        pipe.send_bytes(json.dumps(message).encode())

    try:
        send(part=0.0)
        done: dict[str, Any] = {"result": work(*arguments, stop, lambda part: send(part=part))}
    except BaseException as error:
        traceback.print_exc()
        done = {"error": error_data(error)}
    sys.stdout.flush()
    sys.stderr.flush()
    send(**done)
    # Engines have threads and libraries that may hang or crash on the way out; there is nothing left to do.
    os._exit(0)


def _confine(log: str) -> None:
    place = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(place, 1)
    os.dup2(place, 2)
    faulthandler.enable(file=2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    # What came while this process was started is gone.
    let_through(*_ENDING)

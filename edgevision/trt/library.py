"""TensorRT or TensorRT-RTX, whichever is installed: one API, from 10.3 to 11, under two names.

Values of its enumerations shift between versions, so they are only ever compared with each other.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from threading import get_ident
from typing import Any

from edgevision.cuda.failures import exhausted
from edgevision.errors import BackendError, DependencyError
from edgevision.spec import TensorSpec
from edgevision.text import printable

__all__ = ["Library", "Log", "installed_libraries", "is_installed", "log_of", "tensor_specs"]

#: Module → name in an engine's key. The wheels of TensorRT-RTX bring only the second of its names.
_MODULES = {
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
    "tensorrt_rtx_bindings": "tensorrt-rtx",
}
#: The oldest with strongly typed networks that JetPack has (6.1).
_OLDEST = (10, 3)
#: Complaints of all threads together.
_LINES_KEPT = 32
_NOT_MADE = "'edgevision doctor' shows what is wrong with the driver or TensorRT"
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


@dataclass(frozen=True, slots=True)
class Library:
    """An imported TensorRT.

    Attributes:
        module: The module.
        name: ``tensorrt`` or ``tensorrt-rtx``.
        version: As it says it.
    """

    module: Any
    name: str
    version: str


class Log:
    """Collects what TensorRT complains of: its functions return None or False, and the reason is in the log.

    TensorRT has one logger in a process, the first it is given, and uses it for as long as anything of TensorRT is
    alive: take `log_of`. Each thread reads what was said in it.

    Args:
        module: TensorRT.

    Attributes:
        logger: For TensorRT's constructors; keep it for as long as what they made.
    """

    def __init__(self, module: Any) -> None:
        lines: deque[tuple[int, str]] = deque(maxlen=_LINES_KEPT)

        class Logger(module.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                module.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                if severity.name in ("ERROR", "INTERNAL_ERROR"):
                    lines.append((get_ident(), msg))

        self._lines = lines
        self.logger = Logger()

    @property
    def out_of_memory(self) -> bool:
        """Whether a complaint says so."""
        return any("out of memory" in ln.lower() or "OutOfMemory" in ln for ln in self._own())

    def take(self, *, of_all_threads: bool = False) -> str:
        """The first complaint since the last call, in one line; the others mostly follow from it.

        Args:
            of_all_threads: Also what TensorRT said in threads of its own, as its builder does.
        """
        taken = [entry for entry in tuple(self._lines) if of_all_threads or entry[0] == get_ident()]
        for entry in taken:
            with suppress(ValueError):  # another thread's complaint pushed it out meanwhile
                self._lines.remove(entry)
        lines = [" ".join(line.split()) for _, line in taken]
        # "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)"
        plain = re.sub(r"\[\w+\.(cpp|cu|h)::\S*?::\d+\] ", "", lines[0]) if lines else ""
        return printable(plain[:300]) or "TensorRT does not say why"

    def made(self, what: str, make: Callable[[], Any]) -> Any:
        """What a constructor gives.

        Raises:
            BackendError: TensorRT gave nothing. Of that its bindings make a TypeError which names no reason.
        """
        try:
            found = make()
        except TypeError as error:
            raise self.refusal(what, _NOT_MADE) from error
        if found is None:
            raise self.refusal(what, _NOT_MADE)
        return found

    def refusal(self, what: str, hint: str = "") -> BackendError:
        """What a None or False of TensorRT means."""
        full, reason = self.out_of_memory, self.take()
        if full:
            return exhausted(f"TensorRT was asked for {what}")
        return BackendError(f"TensorRT refuses {what}", received=reason, hint=hint)

    def _own(self) -> list[str]:
        thread = get_ident()  # the copy is made in one step: other threads go on writing
        return [line for told_in, line in tuple(self._lines) if told_in == thread]


@cache
def log_of(module: Any) -> Log:
    """The log of an imported TensorRT, kept for ever."""
    return Log(module)


def is_installed(name: str) -> bool:
    """Whether a library's module is there; nothing is imported, for that may crash where no driver works.

    Args:
        name: ``tensorrt`` or ``tensorrt-rtx``.
    """
    modules = [module for module, title in _MODULES.items() if title == name]
    return any(module in sys.modules or find_spec(module) is not None for module in modules)


def installed_libraries() -> list[Library]:
    """TensorRT, TensorRT-RTX or both. Call it only when the driver has shown that it works.

    Raises:
        DependencyError: There is none, or it is too old.
    """
    found: dict[str, Library] = {}
    reasons: list[str] = []
    for name, title in _MODULES.items():
        if title in found:
            continue
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: a library that it loads by hand
            reasons.append(f"{name}: {error}")
            continue
        found[title] = Library(module, title, str(getattr(module, "__version__", "0")))
    if not found:
        raise DependencyError(
            "backend 'trt' needs TensorRT",
            received=printable("; ".join(reasons), 300),
            expected="the module tensorrt {}.{} or later, or tensorrt_rtx".format(*_OLDEST),
            hint="on Jetson it comes with JetPack (apt install python3-libnvinfer; a virtual environment needs "
            "--system-site-packages); elsewhere pip install tensorrt, or 'edgevision[rtx]'",
        )
    usable = [library for library in found.values() if not _too_old(library)]
    if not usable:
        old = next(iter(found.values()))
        raise DependencyError(
            "this TensorRT is too old",
            received=f"{old.name} {printable(old.version)}",
            expected="{}.{} or later".format(*_OLDEST),
            hint="JetPack 6.1 brings TensorRT 10.3; --backend ort runs without it",
        )
    return usable


def tensor_specs(library: Library, engine: Any) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of an engine, in its order; a dimension that is open has the name ``?``.

    Raises:
        BackendError: A tensor has a type that numpy has not.
    """
    found: tuple[list[TensorSpec], list[TensorSpec]] = ([], [])
    mode = library.module.TensorIOMode
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        dtype = engine.get_tensor_dtype(name).name
        if dtype not in _DTYPES:
            raise BackendError(
                f"the engine's tensor {printable(name)!r} has a type that numpy has not",
                received=dtype,
                expected=", ".join(_DTYPES.values()),
            )
        shape = tuple(d if d >= 0 else "?" for d in engine.get_tensor_shape(name))
        into = found[0] if engine.get_tensor_mode(name) == mode.INPUT else found[1]
        into.append(TensorSpec(name, _DTYPES[dtype], shape))
    return found


def _too_old(library: Library) -> bool:
    """TensorRT-RTX counts by itself, from 1.0, and is newer than 10.3 in all of them."""
    numbers = re.findall(r"\d+", library.version)[:2]
    return library.name == "tensorrt" and tuple(map(int, numbers)) < _OLDEST

"""The GPU that an engine is built for: the one at hand, or one that is only named."""

from __future__ import annotations

from edgevision.cuda.driver import Gpu, probe
from edgevision.engine_key import DeviceFacts, machine_facts
from edgevision.errors import BackendError
from edgevision.trt.engine import facts_here

__all__ = ["facts_for", "gpu_for"]


def gpu_for(cc: str | None) -> Gpu | None:
    """The GPU at hand, if it is what is built for; None where another is, which needs no driver.

    Args:
        cc: Compute capability to build for; None is that of the GPU at hand.

    Raises:
        BackendError: The GPU at hand was meant, and there is none that works.
    """
    if cc is None:
        try:
            return probe()
        except BackendError as error:
            raise BackendError(
                f"an engine is built on the GPU it is for, and here is none: {error.problem}",
                received=error.received,
                hint="run this on the device; or build for an RTX card from here: --target rtx-sm89",
            ) from error
    try:
        found = probe()
    except BackendError:
        return None
    return found if found.cc == cc else None


def facts_for(library: str, version: str, cc: str | None, gpu: Gpu | None) -> DeviceFacts:
    """What an engine's key says of the device; of one that is only named, its compute capability."""
    if gpu is None:
        return machine_facts(library, version, cc or "")
    return facts_here(library, version, gpu)

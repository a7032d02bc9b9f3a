"""pycuda, imported when it is first needed and only after the driver has shown that it works."""

from __future__ import annotations

from functools import cache
from typing import Any

from edgevision.cuda.driver import probe
from edgevision.errors import DependencyError

__all__ = ["pycuda_driver"]


@cache
def pycuda_driver() -> Any:
    """The module ``pycuda.driver``, initialized.

    Raises:
        BackendError: There is no usable driver.
        DependencyError: pycuda is not installed, or was built for another CUDA.
    """
    probe()
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        raise DependencyError(
            "backend 'trt' needs pycuda",
            received=str(error),
            hint="pip install 'edgevision[jetson]' builds it: it needs the CUDA toolkit's headers and a C++ compiler",
        ) from error
    cuda.init()
    return cuda

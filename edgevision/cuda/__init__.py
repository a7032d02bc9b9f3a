"""The CUDA runtime: context, memory, streams, graphs and the pre-processing kernel. Used by the backend ``trt``.

Nothing here touches a GPU, or imports pycuda, until a function is called.
"""

from __future__ import annotations

__all__ = []

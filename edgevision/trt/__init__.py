"""What the backend ``trt`` is made of: TensorRT as a library, an engine, and the buffers and stream of each slot.

Nothing here touches a GPU, or imports TensorRT, until a function is called.
"""

from __future__ import annotations

__all__ = []

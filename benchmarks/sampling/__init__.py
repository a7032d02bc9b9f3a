"""What the machine did while a benchmark ran: sampled by a small process beside it, then energy and flags.

``sampler.py`` starts that process and reads what it left; ``process.py`` is the process; ``sensors/`` has what it
reads, one file each. ``timeline.py``, ``energy.py`` and ``flags.py`` make of it what a record holds. Nothing here
imports numpy or OpenCV, so that the process starts quickly and stays small.
"""

from __future__ import annotations

__all__ = []

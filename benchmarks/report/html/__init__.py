"""Records as one HTML page that needs nothing else: no network, no font, no library."""

from __future__ import annotations

from edgevision.benchmarks.report.html.page import html_report

__all__ = ["html_report"]

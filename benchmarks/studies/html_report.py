"""How large the HTML report of a large matrix is, how long it takes to write, and to open in chromium.

python benchmarks/studies/html_report.py [RECORD.json …] [--copies 40] [--queries 100000] [--runs 7]

The records (a made-up one if none is given) are repeated to so many copies, their samples to so many queries.
Opening is Navigation Timing's ``loadEventEnd`` (https://www.w3.org/TR/navigation-timing-2/) and the first paint with
content, both counted from the begin of the navigation, in a fresh process each time.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from edgevision.benchmarks.report.html import html_report

#: The report's own policy refuses foreign scripts; this one is let in by taking the policy out of the copy.
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_ASK = """<script>addEventListener('load', () => setTimeout(() => {
  const paint = performance.getEntriesByName('first-contentful-paint')[0];
  const load = performance.getEntriesByType('navigation')[0].loadEventEnd;
  fetch(`http://127.0.0.1:PORT/${load}/${paint ? paint.startTime : NaN}`, {mode: 'no-cors'});
}, 500))</script></body>"""
_PATIENCE_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("records", nargs="*", type=Path)
    parser.add_argument("--copies", type=int, default=40)
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    given = [json.loads(path.read_text("utf-8")) for path in arguments.records] or [made_up()]
    records = [repeated(given[n % len(given)], arguments.queries) for n in range(arguments.copies)]
    started = time.process_time()
    page = html_report(records, "The largest matrix")
    print(f"{len(records)} records of {arguments.queries:,} queries: {len(page.encode()):,} bytes")
    print(f"written in {time.process_time() - started:.2f} s of processor time")
    browser = shutil.which("chromium")
    if browser is None:
        print("chromium is not installed: not opened")
        return
    times = [opened(browser, page) for _ in range(arguments.runs)]
    for name, values in zip(
        ("load event ended", "first contentful paint"), zip(*times, strict=True), strict=True
    ):
        print(f"{name:<24} median {statistics.median(values):.0f} ms, max {max(values):.0f} ms")


def opened(browser: str, page: str) -> tuple[float, float]:
    """Milliseconds until the load event had ended, and until something was painted."""
    answers: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing is logged."""

    with (
        HTTPServer(("127.0.0.1", 0), Listener) as server,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
    ):
        server.timeout = _PATIENCE_S
        path = Path(folder) / "report.html"
        ask = _ASK.replace("PORT", str(server.server_port))
        path.write_text(_POLICY.sub("", page).replace("</body>", ask), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        options.append(f"--user-data-dir={folder}/profile")
        process = subprocess.Popen([browser, *options, path.as_uri()], stderr=subprocess.DEVNULL)
        try:
            server.handle_request()
        finally:
            process.terminate()
            process.wait()
    if not answers:
        raise SystemExit(f"the page did not open in {_PATIENCE_S:.0f} s")
    load, paint = answers[0].strip("/").split("/")
    return float(load), float(paint)


def repeated(record: dict[str, Any], queries: int) -> dict[str, Any]:
    """The record with its samples repeated, one after the other in time."""
    samples = np.resize(np.array(record["samples_ns"], np.int64), queries)
    begins = np.cumsum(samples) - samples
    return record | {"samples_ns": samples.tolist(), "begins_ns": begins.tolist()}


def made_up() -> dict[str, Any]:
    """Latencies with a tail, and sensors that are never quiet: the worst for a small page."""
    rng = np.random.default_rng(1)
    names = [f"temperature_c.zone{n}" for n in range(6)] + ["clock_mhz", "cpu_percent", "power_w"]
    series = {name: {"unit": "", "values": rng.integers(0, 100, 6000).tolist()} for name in names}
    return {
        "valid": True,
        "variant": "int8",
        "backend": "made-up",
        "samples_ns": (1e7 + rng.lognormal(14, 0.8, 20_000)).astype(np.int64).tolist(),
        "timeline": {"t_s": [0.1 * n for n in range(6000)], "series": series},
    }


if __name__ == "__main__":
    main()

"""The page in a real browser, from a file, without a network: Debian's chromium, headless."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision.benchmarks.report.html import html_report

Make = Callable[..., dict[str, Any]]
Browse = Callable[..., subprocess.CompletedProcess[str]]

#: Nobody listens there: what asks for the network fails, and says so on the console.
_NO_NETWORK = "--proxy-server=127.0.0.1:9"
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_BLUE, _VERMILLION = (0xB1, 0x67, 0x00), (0x00, 0x4B, 0xC8)  # c0 and c1 in OpenCV's order


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Browse:
    """Opens a page with more options; what it prints and what its console says."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not installed: apt install chromium")
    profile = tmp_path_factory.mktemp("profile")

    def open_page(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
        fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", _NO_NETWORK]
        fixed += [
            "--enable-logging=stderr",
            f"--user-data-dir={profile}",
            "--window-size=1280,1600",
        ]
        done = subprocess.run(
            [browser, *fixed, *options, page.as_uri()], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done

    return open_page


@pytest.fixture
def report(make: Make, tmp_path: Path) -> Path:
    """Two valid runs, one that is not, one that failed."""
    slow = make(seed=1, variant="fp32", samples_ns=[2 * n for n in make(seed=1)["samples_ns"]])
    slow["latency_ms"] = {name: 2 * value for name, value in slow["latency_ms"].items()}
    short = make(30, valid=False, invalid_reason="p90 needs 64 queries; 30 were run")
    crashed = {"status": "crashed", "error": {"problem": "signal 11 ended it"}, "samples_ns": []}
    path = tmp_path / "report.html"
    path.write_text(html_report([slow, make(), short, crashed], "Four runs"), encoding="utf-8")
    return path


def console(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def with_script(report: Path, code: str) -> Path:
    """The page with a script of the test's own after its own; its policy would refuse that."""
    page, removed = _POLICY.subn("", report.read_text(encoding="utf-8"))
    assert removed == 1
    path = report.with_name("with_script.html")
    path.write_text(page.replace("</body>", f"<script>{code}</script></body>"), encoding="utf-8")
    return path


def test_page_opens_without_a_word_on_the_console(report: Path, browse: Browse) -> None:
    done = browse(report, "--dump-dom")
    assert console(done) == []
    assert '<html lang="en" class="js">' in done.stdout  # its script ran under its own policy
    for text in (
        "Four runs",
        "signal 11 ended it",
        "p90 needs 64 queries; 30 were run",
        "clip.mp4",
    ):
        assert text in done.stdout


def test_script_of_anybody_else_is_refused(report: Path, browse: Browse) -> None:
    """And so the test above would see it if the page's own were."""
    page = report.read_text(encoding="utf-8")
    report.write_text(page.replace("</body>", "<script>document.title = 'x'</script></body>"))
    assert any("Content Security Policy" in line for line in console(browse(report, "--dump-dom")))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_picture_of_the_page_shows_its_lines(
    theme: str, report: Path, browse: Browse, tmp_path: Path
) -> None:
    picture = tmp_path / "page.png"
    dark = ["--blink-settings=preferredColorScheme=0"] if theme == "dark" else []
    browse(report, f"--screenshot={picture}", *dark)
    image = cv2.imread(str(picture))
    assert image.shape == (1600, 1280, 3)
    assert (float(np.median(image)) < 60) is (theme == "dark")
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 200
    if theme == "light":
        for colour in (_BLUE, _VERMILLION):
            assert int((image == colour).all(axis=2).sum()) > 300


def test_click_on_a_head_sorts_and_a_second_one_turns_it_round(
    report: Path, browse: Browse
) -> None:
    code = """
    const rows = () => [...document.querySelectorAll('.summary tbody tr')].map((r) => r.dataset.run).join('');
    const head = [...document.querySelectorAll('th.sorts button')].find((b) => b.textContent.startsWith('p50'));
    const found = [rows()];
    head.click(); found.push(rows()); found.push(head.parentNode.getAttribute('aria-sort'));
    head.click(); found.push(rows()); found.push(head.parentNode.getAttribute('aria-sort'));
    document.body.textContent = found.join(' ');
    """
    done = browse(with_script(report, code), "--dump-dom")
    before, up, how_up, down, how_down = re.findall(r"<body>(.*)</body>", done.stdout, re.DOTALL)[
        0
    ].split()
    assert before == "1234"
    assert (how_up, how_down) == ("ascending", "descending")
    assert up[2:] == "14"  # fp32 is twice as slow; the run that crashed has no value
    assert down == up[2::-1] + "4"


def test_box_of_a_run_hides_its_lines_and_a_link_opens_its_part(
    report: Path, browse: Browse
) -> None:
    code = """
    const box = document.querySelector('tr[data-run="2"] input');
    const hidden = () => document.querySelectorAll('.charts .of2.off').length;
    const found = [hidden()];
    box.click(); found.push(hidden()); box.click(); found.push(hidden());
    const run = document.getElementById('run2');
    found.push(run.open);
    location.hash = '#run2';
    setTimeout(() => { found.push(run.open); document.body.textContent = `[${found.join(' ')}]`; }, 50);
    """
    done = browse(with_script(report, code), "--dump-dom", "--virtual-time-budget=2000")
    assert re.findall(r"\[(0 \d 0 false true)\]", done.stdout) == ["0 3 0 false true"]


def test_no_text_runs_out_of_the_page_on_a_phone(report: Path, browse: Browse) -> None:
    """A frame is as narrow as a phone; a headless window cannot be."""
    frame = report.with_name("phone.html")
    inner = with_script(report, "parent.postMessage(document.documentElement.scrollWidth, '*')")
    frame.write_text(
        f'<iframe src="{inner.name}" width="360" height="700" style="border:0"></iframe>'
        "<p></p><script>onmessage = (e) => { document.querySelector('p').textContent = e.data; }</script>"
    )
    done = browse(frame, "--dump-dom", "--virtual-time-budget=2000")
    assert "<p>360</p>" in done.stdout


def test_paper_has_all_runs_open(report: Path, browse: Browse, tmp_path: Path) -> None:
    paper, closed = tmp_path / "all.pdf", tmp_path / "without.pdf"
    browse(report, f"--print-to-pdf={paper}")
    page = report.read_text(encoding="utf-8")
    report.write_text(re.sub(r"<details.*</details>", "", page, flags=re.DOTALL), encoding="utf-8")
    browse(report, f"--print-to-pdf={closed}")
    sheets = [len(re.findall(rb"/Type\s*/Page\b", p.read_bytes())) for p in (closed, paper)]
    assert sheets[1] >= sheets[0] + 3  # each of the three that were measured has a sheet of its own

"""Programs whose standard streams are closed, or whose reader has left."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SOURCE = "synthetic://shapes?size=64x64&frames=40"


def closing(streams, *command):
    """The command, started by a shell that closed some of its streams."""
    return ["sh", "-c", f'exec "$@" {streams}', "sh", *map(str, command)]


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_error(models, tmp_path, command, streams, frames_of):
    out, stats = tmp_path / "o.mp4", tmp_path / "s.json"
    call = closing(
        streams, command, "run", models.detector, SOURCE, out, "-", "--stats", stats, "--debug"
    )
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert frames_of(out) == 40
    assert json.loads(stats.read_text())["frames"] == 40


def test_an_error_without_stderr_keeps_its_status(command, tmp_path):
    for words, status in ((["run", tmp_path / "none.evb", SOURCE], 1), (["inspect"], 2)):
        done = subprocess.run(closing("2>&-", command, *words), capture_output=True, timeout=60)
        assert done.returncode == status


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    """Else what a library prints on stdout would be written into a result."""
    code = (
        "import os, sys\n"
        "from edgevision.streams import open_closed\n"
        "open_closed()\n"
        f"number = os.open({str(tmp_path / 'result')!r}, os.O_CREAT | os.O_WRONLY)\n"
        "os.write(1, b'a library prints'); os.write(2, b'and warns'); print('so do we')\n"
        "sys.stdout.flush()\n"
        "assert os.read(0, 9) == b'' and sys.stdin.read() == ''\n"
        "os._exit(0 if number > 2 else 1)\n"
    )
    call = closing(">&- 2>&- <&-", sys.executable, "-c", code)
    assert subprocess.run(call, timeout=60).returncode == 0
    assert (tmp_path / "result").read_bytes() == b""


@pytest.mark.parametrize("full", [False, True], ids=["its reader left", "on a full disk"])
def test_a_run_goes_on_when_nobody_can_read_stderr(
    models, tmp_path, command, full, frames_of, gone
):
    out = tmp_path / "o.mp4"
    with open("/dev/full", "wb") if full else gone() as stderr:  # noqa: PTH123
        call = [command, "run", models.detector, SOURCE, out]
        done = subprocess.run(call, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.startswith("40 frames in")
    assert frames_of(out) == 40


def test_an_error_nobody_can_read_keeps_its_status(command, tmp_path, gone):
    for words, status in ((["run", tmp_path / "none.evb", SOURCE], 1), (["inspect"], 2)):
        with gone() as stderr:
            done = subprocess.run([command, *words], stderr=stderr, timeout=60)
        assert done.returncode == status


@pytest.fixture
def gone():
    """Makes a pipe whose reader has left."""

    def make():
        reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
        reader.wait()
        return reader.stdin

    return make

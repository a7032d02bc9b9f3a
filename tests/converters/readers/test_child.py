"""A reader that hangs, eats memory, crashes or raises ends as an error of ours, and takes nothing with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevision.converters.readers import Request
from edgevision.converters.readers.child import Limits, read_in_child
from edgevision.errors import DependencyError, EdgevisionError, ModelError, SpecError

Install = Callable[[str], None]
PLENTY = Limits(60, 4)


def failure(request: Request, folder: Path, limits: Limits = PLENTY) -> EdgevisionError:
    with pytest.raises(EdgevisionError) as caught:
        read_in_child(request, folder, limits)
    assert "Traceback" not in str(caught.value)
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_facts_come_back_and_what_it_prints_does_not(
    fake_reader: Install, request_for: Request, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fake_reader(
        "print('hello')\nos.system('echo from below')\n(folder / 'a').write_text('x')\n"
        "return {'pid': os.getpid(), 'gpu': os.environ['CUDA_VISIBLE_DEVICES']}"
    )
    facts = read_in_child(request_for, folder, PLENTY)
    assert facts["pid"] != os.getpid()
    assert facts["gpu"] == ""
    assert (folder / "a").read_text() == "x"
    assert capfd.readouterr() == ("", "")


def test_a_reader_that_hangs_is_stopped(
    fake_reader: Install, request_for: Request, folder: Path
) -> None:
    fake_reader("(folder / 'pid').write_text(str(os.getpid()))\ntime.sleep(600)")
    error = failure(request_for, folder, Limits(5, 4))
    assert type(error) is ModelError
    assert "longer than 5 s" in error.received
    assert error.expected == "at most 5 s and 4 GiB"
    assert "--reader-seconds" in error.hint
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


@pytest.mark.parametrize(
    "body",
    [
        "bytearray(2 * 2**30)",
        "held = []\nwhile True:\n    held.append(bytearray(2**24))",
        "import numpy\nnumpy.ones(2**28)",
        "raise RuntimeError('DefaultCPUAllocator: can\\'t allocate memory: you tried 2 GB')",
        "os.write(2, b'terminate called after throwing std::bad_alloc\\n')\nos.abort()",
    ],
    ids=["at once", "bit by bit", "numpy", "PyTorch's words", "C++"],
)
def test_a_reader_that_eats_memory_is_stopped(
    fake_reader: Install, request_for: Request, folder: Path, body: str
) -> None:
    fake_reader(body)
    error = failure(request_for, folder, Limits(60, 1))
    assert "more than 1 GiB" in error.received
    assert "--reader-memory" in error.hint


def test_a_reader_that_crashes_is_named_with_its_last_words(
    fake_reader: Install, request_for: Request, folder: Path
) -> None:
    fake_reader("os.write(2, b'bad magic \\x1b[31m\\n\\n')\nos.kill(os.getpid(), 11)")
    error = failure(request_for, folder)
    assert "crashed Fake" in error.problem
    assert "SIGSEGV" in error.received
    assert "bad magic �[31m" in error.received
    fake_reader("os._exit(7)")
    assert "status 7" in failure(request_for, folder).received


def test_errors_of_ours_come_back_as_they_are(
    fake_reader: Install, request_for: Request, folder: Path
) -> None:
    fake_reader(
        "from edgevision.errors import SpecError\n"
        "raise SpecError('what', received='r', expected='e', hint='h')"
    )
    error = failure(request_for, folder)
    assert type(error) is SpecError
    assert (error.problem, error.received, error.expected, error.hint) == ("what", "r", "e", "h")
    assert "line 5, in read" in str(error.__cause__), "shown with --debug"


def test_foreign_errors_are_put_into_our_words(
    fake_reader: Install, request_for: Request, folder: Path
) -> None:
    fake_reader("raise ValueError('\\n first line \\x1b[2J\\nsecond')")
    error = failure(request_for, folder)
    assert error.problem == f"Fake cannot read {request_for.path}"
    assert error.received == "ValueError:  first line �[2J"
    fake_reader("raise SystemExit(3)")
    assert "SystemExit" in failure(request_for, folder).received


def test_a_missing_package_names_the_extra(
    fake_reader: Install, request_for: Request, folder: Path
) -> None:
    fake_reader("import frobnicate_x")
    error = failure(request_for, folder)
    assert type(error) is DependencyError
    assert "frobnicate_x" in error.problem
    assert error.hint == "pip install 'edgevision[fake]'"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_the_reader_ends_with_the_process_that_started_it(
    fake_reader: Install, request_for: Request, folder: Path, tmp_path: Path, number: int
) -> None:
    fake_reader("(folder / 'pid').write_text(str(os.getpid()))\ntime.sleep(600)")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from edgevision.converters.readers import KINDS, Kind, Request\n"
        "from edgevision.converters.readers.child import Limits, read_in_child\n"
        "from edgevision.signals import unwind_on_sigterm\n"
        "from edgevision.spec import InputSpec\n"
        "if __name__ == '__main__':\n"
        "    unwind_on_sigterm()\n"
        "    KINDS['keras'] = Kind('a', 'Fake', 'numpy', (1, 0), 'fake', 'fake_reader')\n"
        "    request = Request(Path('m'), 'keras', InputSpec(), None, 17, None, ())\n"
        "    read_in_child(request, Path(sys.argv[1]), Limits())\n"
    )
    process = subprocess.Popen([sys.executable, script, folder], stderr=subprocess.DEVNULL)
    child = int(eventually(lambda: (folder / "pid").read_text()))
    process.send_signal(number)
    process.wait(timeout=60)
    eventually(lambda: not running(child) or None)


def running(pid: int) -> bool:
    """Alive, and no zombie that nobody has waited for yet."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(look: Callable[[], str | bool | None]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            found = look()
        except FileNotFoundError:
            found = None
        if found:
            return str(found)
        time.sleep(0.05)
    raise AssertionError("it did not come about")

"""Libraries that crash, hang, print or are broken, asked by the real children."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgevision.doctor.ask import Answer, ask
from edgevision.doctor.questions import QUESTIONS, build_facts


@pytest.fixture
def library(monkeypatch, tmp_path):
    """Makes ``import tensorrt`` run some code."""

    def make(code):
        (tmp_path / "tensorrt.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)

    return make


def test_every_question_is_answered_on_this_machine():
    found = ask()
    assert set(found) == set(QUESTIONS)
    assert found["python"].facts["version"] == ".".join(map(str, sys.version_info[:3]))
    assert found["python"].facts["executable"] == sys.executable
    import onnxruntime  # of the same environment

    assert found["onnxruntime"].facts["version"] == onnxruntime.__version__
    assert "CPUExecutionProvider" in found["onnxruntime"].facts["providers"]


def test_a_library_that_is_there_tells_its_version(library):
    library("__version__ = '10.3.0'")
    facts = ask(["tensorrt"])["tensorrt"].facts
    assert facts["version"] == "10.3.0"
    assert facts["file"].endswith("tensorrt.py")


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_a_library_that_is_not_there_is_missing():
    answer = ask(["tensorrt"])["tensorrt"]
    assert (answer.facts, answer.missing) == ({}, True)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed: SIGSEGV"),
        ("import os; os.abort()", "crashed: SIGABRT"),
        ("import os; os._exit(7)", "crashed: it ended with status 7"),
        ("raise SystemExit(0)", "SystemExit"),
        ("raise OSError('libnvinfer.so.10: no such file')", "OSError: libnvinfer.so.10"),
        ("import a_library_that_it_needs", "a_library_that_it_needs"),
        ("version = 1", "AttributeError"),
        ("raise ValueError('bad \\x1b[31m' + 'x' * 9000)", "ValueError: bad �"),
    ],
)
def test_a_library_that_fails_is_an_answer(library, code, said):
    library(code)
    answer = ask(["tensorrt"])["tensorrt"]
    assert (answer.facts, answer.missing) == ({}, False)
    assert said in answer.error
    assert len(answer.error) <= 400


def test_what_a_library_prints_is_no_part_of_the_answer(library):
    library(
        "import os, sys; os.write(1, b'x' * 200000); os.write(2, b'y' * 200000); print('{}')\n"
        "__version__ = '10.3'"
    )
    assert ask(["tensorrt"])["tensorrt"].facts["version"] == "10.3"


def test_a_library_that_hangs_keeps_no_other_from_answering(library):
    library("import time; time.sleep(600)")
    start = time.monotonic()
    found = ask(["tensorrt", "python"], limit_s=4)
    assert time.monotonic() - start < 300, "it waited for it"
    assert found["tensorrt"].error == "gave no answer within 4 s"
    assert found["python"].facts


def test_the_current_folder_is_not_imported_from(monkeypatch, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    (tmp_path / "tensorrt.py").write_text("__version__ = 'of a stranger'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    found = ask(["tensorrt", "python"])
    assert found["python"].facts
    assert found["tensorrt"].facts.get("version") != "of a stranger"


def test_no_process_can_be_started(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nothing/here")
    answer = ask(["python"])["python"]
    assert answer.error == "no process could be started: No such file or directory"


def test_a_child_ends_with_an_interrupted_parent(tmp_path):
    told = tmp_path / "pid"
    (tmp_path / "tensorrt.py").write_text(
        "import os, pathlib, time\n"
        f"pathlib.Path({str(told)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    code = (
        "import os, pathlib, signal, sys, threading, time\n"
        f"sys.path.insert(0, {str(tmp_path)!r}); told = pathlib.Path({str(told)!r})\n"
        "def stop():\n"
        "    while not (told.exists() and told.read_text()): time.sleep(0.05)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=stop, daemon=True).start()\n"
        "from edgevision.doctor.ask import ask\n"
        "ask(['tensorrt'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "KeyboardInterrupt" in done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


#: A driver as far as it is asked: each call gives its CUresult, and writes what the test says.
DRIVER = """
#include <string.h>
#include <stddef.h>
int cuInit(unsigned flags) { return %d; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 7 + ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Orin", size); return %d; }
int cuDeviceGetAttribute(int *value, int key, int device) { *value = key == 75 || key == 16 ? 8 : key == 76 ? 7 : 1; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)7620 << 20; return 0; }
int cuGetErrorString(int code, const char **text) { *text = "CUDA driver is a stub library"; return 0; }
"""


@pytest.fixture
def driver(monkeypatch, tmp_path):
    """Puts a compiled ``libcuda.so.1`` where the loader finds it first."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")

    def make(init=0, name=0):
        (tmp_path / "cuda.c").write_text(DRIVER % (init, name))
        library = tmp_path / "libcuda.so.1"
        command = ["cc", "-shared", "-fPIC", "-o", library, tmp_path / "cuda.c"]
        subprocess.run(command, check=True)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        return library

    return make


def test_a_driver_is_asked_through_its_c_interface(driver):
    library = driver()
    assert ask(["cuda"])["cuda"].facts == {
        "library": str(library),
        "visible_devices": None,
        "error": 0,
        "driver_version": 12060,
        "devices": [
            {
                "name": "Orin",
                "compute_capability": "8.7",
                "multiprocessors": 8,
                "memory_mb": 7620,
                "integrated": True,
            }
        ],
    }


def test_a_stub_of_a_driver_tells_its_status_and_where_it_is(driver):
    library = driver(init=34)
    facts = ask(["cuda"])["cuda"].facts
    assert (facts["error"], facts["library"]) == (34, str(library))
    assert facts["error_text"] == "CUDA driver is a stub library (34)"


def test_a_driver_that_fails_on_the_way_is_a_problem(driver, patient):
    driver(name=999)
    answer = ask(["cuda"])["cuda"]
    assert not answer.facts
    assert "does not start" in answer.error
    one = patient("pc")
    one.remove("/sys/bus/pci/devices/0000:01:00.0/vendor")
    one.answers["cuda"] = {"error": answer.error}
    assert one.examine()["driver"].state == "problem"


@pytest.mark.parametrize("data", [{}, {"facts": None}, {"facts": [1]}, {"missing": "yes"}])
def test_an_answer_of_another_form_has_no_facts(data):
    answer = Answer.of(data)
    assert (answer.facts, answer.missing) == ({}, False)


#: As cv2.getBuildInformation() of OpenCV 4.8 lays it out where it has both, shortened.
BOTH = """
  Video I/O:
    DC1394:                      YES (2.2.6)
    FFMPEG:                      YES
      avcodec:                   YES (58.134.100)
    GStreamer:                   YES (1.20.3)
    v4l/v4l2:                    YES (linux/videodev2.h)
  NVIDIA CUDA:                   NO
"""


def test_abilities_are_read_from_opencv_s_own_text():
    import cv2

    assert build_facts(BOTH) == {"gstreamer": True, "ffmpeg": True, "v4l2": True, "cuda": False}
    assert build_facts("") == dict.fromkeys(("gstreamer", "ffmpeg", "v4l2", "cuda"), False)
    built_in = cv2.videoio_registry.isBackendBuiltIn
    found = build_facts(cv2.getBuildInformation())
    assert found["ffmpeg"] == built_in(cv2.CAP_FFMPEG)
    assert found["gstreamer"] == built_in(cv2.CAP_GSTREAMER)


def test_what_a_child_started_ends_with_it(monkeypatch, tmp_path):
    """A compiler that hangs, on a dead disk for one, is a process of its own."""

    def interrupted(*_):
        until = time.monotonic() + 60
        while time.monotonic() < until and not (told.exists() and told.read_text()):
            time.sleep(0.02)
        raise KeyboardInterrupt

    monkeypatch.setattr("edgevision.doctor.ask._collect", interrupted)
    told = tmp_path / "pid"
    (tmp_path / "bin").mkdir()
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.write_text(f"#!/bin/sh\necho $$ > {told}\nexec sleep 600\n")
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        ask(["compilers"])
    assert ended(int(told.read_text()))


def test_the_verb_ends_its_children_when_it_is_told_to_end(tmp_path):
    told = tmp_path / "pid"
    (tmp_path / "tensorrt.py").write_text(
        "import os, pathlib, time\n"
        f"pathlib.Path({str(told)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    call = "import sys; from edgevision.cli import main; main(['doctor'])"
    process = subprocess.Popen(
        [sys.executable, "-c", call],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not (told.exists() and told.read_text()):
        time.sleep(0.02)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (143, "", "edgevision: interrupted\n")
    assert ended(int(told.read_text()))


def ended(pid):
    """Whether a process has ended; one that nobody waited for yet has."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False

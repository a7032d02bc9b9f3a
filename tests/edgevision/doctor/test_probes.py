"""One probe at a time, on machines of which one thing is changed."""

from __future__ import annotations

import json
import os
import shlex
import threading

import pytest

from edgevision import jetson, targets
from edgevision.doctor import Finding, Remark, checkup
from edgevision.doctor.versions import parsed
from edgevision.engine_key import EngineKey
from edgevision.engines import Engine

CUDA = {"library": "/lib/libcuda.so.1", "error": 0, "driver_version": 12060}
CARD = {"name": "Card", "compute_capability": "8.9", "memory_mb": 8000, "integrated": False}


@pytest.fixture
def orin(patient):
    return patient("orin-nano")


@pytest.fixture
def pc(patient):
    return patient("pc")


# -- JetPack: NVIDIA's archive of Jetson Linux releases


@pytest.mark.parametrize(
    ("l4t", "jetpack"),
    [
        ("35.4.1", "5.1"),
        ("35.1.0", "5.0"),
        ("36.3.0", "6.0"),
        ("36.4.0", "6.1"),
        ("36.4.3", "6.2"),
        ("36.4.7", "6.2.1"),
        ("36.5.0", "6.2.2"),
        ("38.2.1", "7.0"),
        ("38.4.0", "7.1"),
        ("39.2.0", "7.2"),
        ("39.2.1", "7.2.1"),
        ("36.40.0", None),
        ("41.0.0", None),
        ("", None),
    ],
)
def test_jetpack_by_l4t(l4t, jetpack):
    assert jetson.jetpack_of(l4t) == jetpack


def release(major, revision):
    return f"# R{major} (release), REVISION: {revision}, GCID: 1, BOARD: generic\n"


def test_an_unknown_release_is_told_as_it_stands(orin):
    orin.write("/etc/nv_tegra_release", release(41, "1.0"))
    orin.remove("/var/lib/dpkg/status")
    found = orin.examine()["jetpack"]
    assert "# R41 (release), REVISION: 1.0, GCID: 1" in found.summary
    assert (found.state, found.facts["l4t"], found.facts["jetpack"]) == ("ok", "41.1.0", None)


def test_a_jetpack_package_that_was_removed_is_not_told(orin):
    entry = "Package: nvidia-jetpack\nStatus: deinstall ok config-files\nVersion: 6.0\n"
    orin.write(
        "/var/lib/dpkg/status", f"{entry}\nPackage: z\nStatus: install ok installed\nVersion: 1\n"
    )
    facts = orin.examine()["jetpack"].facts
    assert (facts["package"], facts["jetpack"]) == (None, "6.2.1")


def test_a_release_of_another_form_is_told_as_it_stands(orin):
    orin.write("/etc/nv_tegra_release", "Jetson Linux, the next one\x1b[31m\n")
    found = orin.examine()["jetpack"]
    assert found.summary == "unknown: Jetson Linux, the next one�[31m"
    assert (found.state, found.facts["l4t"]) == ("unknown", None)


@pytest.mark.parametrize(
    ("major", "revision", "fix"),
    [
        (36, "3.0", "apt dist-upgrade"),
        (35, "4.1", "sdkmanager"),
        (32, "7.1", "sdkmanager"),
        (36, "4.0", None),
        (39, "2.0", None),
    ],
)
def test_a_jetpack_before_6_1_is_a_problem(orin, major, revision, fix):
    orin.write("/etc/nv_tegra_release", release(major, revision))
    fixes = orin.problems().get("jetpack", [])
    assert [fix in one for one in fixes] == ([True] if fix else [])


@pytest.mark.parametrize(
    ("compatible", "target"),
    [
        ("nvidia,p3509-0000+p3767-0001\0nvidia,tegra234", "orin-nx-8gb"),
        ("nvidia,p2822-0000+p2888-0004\0nvidia,tegra194", "agx-xavier"),
        ("nvidia,p4071-0000+p3834-0000\0nvidia,p3834-0000\0nvidia,tegra264", "thor-t4000"),
        ("nvidia,p9999-0000\0nvidia,tegra999", None),
        ("raspberrypi,5-model-b\0brcm,bcm2712", None),
    ],
)
def test_a_module_is_known_by_its_part_number(orin, compatible, target):
    orin.write("/proc/device-tree/compatible", compatible)
    found = jetson.board_target(orin.root)
    assert found == target
    assert target is None or target in targets.names()


def test_every_known_module_is_a_target():
    assert set(jetson._BOARDS.values()) <= set(targets.names())


# -- Driver and CUDA


@pytest.mark.parametrize(
    ("cuda", "word", "fix"),
    [
        (
            {"error": 34, "error_text": "stub (34)", "library": "/x/stubs/libcuda.so"},
            "stub",
            "LD_LIBRARY_PATH",
        ),
        ({"error": 803, "error_text": "mismatch (803)", "library": "/x"}, "updated", "reboot"),
        (
            {"error": 100, "error_text": "none (100)", "visible_devices": ""},
            "hides",
            "unset CUDA_V",
        ),
        ({**CUDA, "driver_version": 11040, "devices": [CARD]}, "CUDA 11.4", "ubuntu-drivers"),
        ({**CUDA, "devices": [{**CARD, "compute_capability": "6.1"}]}, "7.5", "--backend ort"),
        ({**CUDA, "devices": []}, "not installed", "ubuntu-drivers"),
    ],
)
def test_each_fault_of_a_driver_has_its_own_fix(pc, cuda, word, fix):
    pc.answers["cuda"] = {"facts": cuda}
    (remark,) = pc.examine()["driver"].remarks
    assert word in remark.text
    assert fix in remark.fix
    assert not remark.advice


@pytest.mark.parametrize(
    "line",  # of the proprietary module, and of the open one
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.183.01  Release Build  (a@b)",
    ],
)
def test_the_driver_s_version_is_read_from_its_own_file(pc, line):
    pc.write("/proc/driver/nvidia/version", line)
    assert pc.examine()["driver"].facts["version"] == "535.183.01"


def test_a_module_that_is_loaded_but_does_not_start_is_loaded_again(pc):
    pc.write("/sys/module/nvidia/version", "570.86.15")
    pc.answers["cuda"] = {"facts": {"error": 999, "error_text": "unknown error (999)"}}
    (remark,) = pc.examine()["driver"].remarks
    assert "570.86.15" in remark.text
    assert "nvidia_uvm" in remark.fix


@pytest.mark.parametrize(("status", "state"), [(100, "none"), (34, "none"), (803, "problem")])
def test_without_a_card_a_driver_matters_only_if_it_is_broken(pc, status, state):
    pc.remove("/sys/bus/pci/devices/0000:01:00.0/vendor")
    pc.answers["cuda"] = {"facts": {"error": status, "error_text": "…", "library": "/x"}}
    assert pc.examine()["driver"].state == state


def test_a_driver_for_cuda_12_does_not_do_for_wheels_of_cuda_13(pc):
    pc.answers["cuda"] = {"facts": {**CUDA, "devices": [CARD]}}
    assert "driver" not in pc.problems()
    pc.answers["python"]["facts"]["distributions"]["tensorrt-cu13"] = "10.13"
    assert "tensorrt-cu13 needs 13.0" in pc.examine()["driver"].remarks[0].text


@pytest.mark.parametrize(("name", "how"), [("pc", "--gpus all"), ("orin-nano", "--runtime nvidia")])
def test_a_gpu_outside_the_container_is_let_in(patient, name, how):
    one = patient(name)
    one.write("/.dockerenv", "")
    one.answers["cuda"] = {"missing": True, "error": "libcuda.so.1: no such file"}
    assert one.problems()["driver"] == [f"docker run {how} …"]


def test_a_crash_of_the_driver_is_told(orin):
    orin.answers["cuda"] = {"error": "crashed: SIGSEGV"}
    found = orin.examine()["driver"]
    assert (found.state, "SIGSEGV" in found.summary) == ("problem", True)


def test_a_gpu_needs_one_of_the_compilers(orin):
    orin.answers["compilers"]["facts"]["compilers"] = []
    assert orin.problems()["cuda"] == ["sudo apt install cuda-nvcc-12-6"]


def test_a_compiler_that_is_newer_than_the_driver_does_not_do(orin):
    newer = {"name": "nvrtc-13.0", "version": "13.0"}
    orin.answers["compilers"]["facts"]["compilers"] = [newer]
    assert "nvrtc-13.0" in orin.examine()["cuda"].remarks[0].text
    same = {"name": "nvcc-12.9.1", "version": "12.9"}
    orin.answers["compilers"]["facts"]["compilers"] = [newer, same]
    assert "cuda" not in orin.problems(), "within a major version it does"


# -- Libraries


def test_a_tensorrt_that_is_too_old(orin):
    orin.answers["tensorrt"] = {"facts": {"version": "8.6.2", "file": ""}}
    assert "8.6.2 is too old" in orin.examine()["tensorrt"].remarks[0].text


def test_pip_s_tensorrt_over_jetpack_s(orin):
    orin.answers["tensorrt"] = {"facts": {"version": "10.13.3", "file": "/home/a/…"}}
    assert orin.problems()["tensorrt"][0].startswith("pip uninstall -y tensorrt")


def test_tensorrt_rtx_is_enough_on_a_card(pc):
    pc.answers["tensorrt_rtx"] = {"facts": {"version": "1.7.1.116", "file": ""}}
    found = pc.examine()["tensorrt"]
    assert (found.state, found.summary) == ("ok", "TensorRT-RTX 1.7.1.116")


def test_a_tensorrt_that_crashes_is_a_problem_of_its_own(orin):
    orin.answers["tensorrt"] = {"error": "crashed: SIGSEGV"}
    (remark,) = orin.examine()["tensorrt"].remarks
    assert "crashed: SIGSEGV" in remark.text


def test_pycuda_without_any_driver_is_no_problem_where_there_is_no_gpu(pc):
    pc.remove("/sys/bus/pci/devices/0000:01:00.0/vendor")
    pc.answers["pycuda"] = {"error": "ImportError: libcuda.so.1: cannot open shared object file"}
    assert pc.examine()["pycuda"].state == "none"


def test_pycuda_for_another_driver_is_compiled_again(orin):
    orin.answers["pycuda"] = {"error": "ImportError: undefined symbol: cuStreamCreate"}
    assert "--no-binary pycuda" in orin.problems()["pycuda"][0]


@pytest.mark.parametrize(
    ("answer", "distributions", "fix"),
    [
        ({"missing": True}, {}, "edgevision[run]"),
        ({"error": "crashed: SIGILL"}, {}, "--force-reinstall"),
        (
            {"facts": {"version": "1.16.3"}},
            {"onnxruntime-gpu": "1.16.3"},
            "'onnxruntime-gpu>=1.18'",
        ),
        (
            {"facts": {"version": "1.23.2"}},
            {"onnxruntime": "1.23.2", "onnxruntime-gpu": "1.23.2"},
            "pip uninstall -y onnxruntime onnxruntime-gpu",
        ),
    ],
)
def test_each_fault_of_onnxruntime_has_its_own_fix(pc, answer, distributions, fix):
    pc.answers["onnxruntime"] = answer
    pc.answers["python"]["facts"]["distributions"] = distributions
    assert fix in pc.problems()["onnxruntime"][0]


def test_a_fix_for_a_jetson_brings_no_opencv_from_pip(orin):
    for name in ("onnxruntime", "opencv", "pycuda", "tensorrt"):
        orin.answers[name] = {"missing": True}
    fixes = "\n".join(fix for all_of_one in orin.problems().values() for fix in all_of_one)
    assert "pip install onnxruntime" in fixes
    assert "edgevision[run]" not in fixes
    assert "edgevision[convert]" not in fixes


def test_an_openvino_that_hangs_is_a_problem_and_an_absent_one_is_none(pc):
    pc.answers["openvino"] = {"error": "gave no answer within 45 s"}
    assert "gave no answer" in pc.examine()["openvino"].remarks[0].text
    pc.answers["openvino"] = {"missing": True}
    assert pc.examine()["openvino"].state == "none"


@pytest.mark.parametrize(
    ("name", "answer", "fix"),
    [
        ("pc", {"missing": True}, "pip install 'edgevision[run]'"),
        ("pc", {"error": "ImportError: libGL.so.1: cannot open"}, "apt install libgl1"),
        ("orin-nano", {"error": "AttributeError: _ARRAY_API not found"}, "pip install 'numpy<2'"),
        ("orin-nano", {"missing": True}, "--system-site-packages"),
        ("thor", {"missing": True}, "sudo apt install nvidia-opencv"),
    ],
)
def test_an_opencv_that_does_not_load(patient, name, answer, fix):
    one = patient(name)
    one.answers["opencv"] = answer
    assert fix in one.problems()["opencv"][0]


def test_pip_s_opencv_over_jetpack_s(orin):
    facts = {"version": "4.12.0", "file": "", "gstreamer": False, "ffmpeg": True}
    orin.answers["opencv"] = {"facts": facts}
    orin.answers["python"]["facts"]["distributions"] = {"opencv-python-headless": "4.12.0.88"}
    assert orin.problems()["opencv"] == ["pip uninstall -y opencv-python-headless"]


def test_two_wheels_of_opencv(pc):
    wheels = {"opencv-python": "4.12.0.88", "opencv-python-headless": "4.12.0.88"}
    pc.answers["python"]["facts"]["distributions"] = wheels
    fix = "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python"
    assert pc.problems()["opencv"] == [fix]


def test_two_wheels_of_opencv_on_a_jetson_both_go(orin):
    wheels = {"opencv-python": "4.12.0.88", "opencv-contrib-python": "4.12.0.88"}
    orin.answers["python"]["facts"]["distributions"] = wheels
    orin.answers["opencv"] = {"facts": {"version": "4.12.0", "file": "/x", "gstreamer": False}}
    assert orin.problems()["opencv"] == ["pip uninstall -y opencv-contrib-python opencv-python"]


def test_a_broken_wheel_is_installed_again_as_it_was(pc):
    pc.answers["python"]["facts"]["distributions"] = {"opencv-python-headless": "4.12.0.88"}
    pc.answers["opencv"] = {"error": "AttributeError: module 'cv2' has no attribute '__version__'"}
    (fix,) = pc.problems()["opencv"]
    assert fix == "pip install --force-reinstall --no-cache-dir opencv-python-headless"


# -- Power, memory, disk


@pytest.mark.parametrize(("driver", "state"), [("acpi-cpufreq", "advice"), ("intel_pstate", "ok")])
def test_powersave_means_another_thing_to_each_driver(pc, driver, state):
    pc.write("/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", driver)
    assert pc.examine()["power"].state == state


def test_a_hot_device_is_told(pc):
    pc.write("/sys/class/thermal/thermal_zone0/temp", "97000")
    assert "97 °C" in pc.examine()["power"].remarks[0].text


@pytest.mark.parametrize(
    ("available_kb", "state"), [(300_000, "problem"), (800_000, "advice"), (4_000_000, "ok")]
)
def test_little_memory_is_advice_and_less_a_problem(pc, available_kb, state):
    pc.write("/proc/meminfo", f"MemTotal: 8000000 kB\nMemAvailable: {available_kb} kB\n")
    assert pc.examine()["memory"].state == state


def statvfs(free_mb):
    return lambda path: os.statvfs_result((4096, 4096, 10**7, 0, free_mb * 256, 0, 0, 0, 0, 255))


@pytest.mark.parametrize(("free_mb", "state"), [(50, "problem"), (900, "advice"), (9000, "ok")])
def test_room_on_the_disk(pc, monkeypatch, free_mb, state):
    monkeypatch.setattr(os, "statvfs", statvfs(free_mb))
    pc.folders = {"cache": pc.root / "home/a/.cache/edgevision"}
    found = pc.examine()["disk"]
    assert (found.state, found.facts["cache"]["free_mb"]) == (state, free_mb)


def test_a_folder_that_cannot_be_written_or_be_at_all(pc):
    pc.folders = {"cache": None, "engines": pc.root / "srv/engines"}
    pc.closed = {"/"}
    fixes = pc.problems()["disk"]
    assert fixes[0].startswith("export XDG_CACHE_HOME=")
    assert fixes[1] == f"sudo install -d -o $USER {pc.root}/srv/engines"


def test_a_file_in_the_folder_s_place_is_not_writable(pc):
    pc.folders = {"cache": pc.root / "etc/os-release/edgevision"}
    assert pc.examine()["disk"].facts["cache"]["writable"] is False


def test_a_folder_that_cannot_even_be_looked_for_is_a_problem_with_a_fix(pc):
    # The system refuses so long a name, as it refuses to look into a folder that this user may not enter.
    folder = pc.root / "srv/my engines" / ("x" * 300)
    pc.folders = {"engines": folder}
    pc.closed = {""}
    (fix,) = pc.problems()["disk"]
    assert shlex.split(fix)[-1] == str(folder)


# -- Cameras


def test_a_camera_that_is_not_in_the_container(pc):
    pc.remove("/dev/video0")
    assert pc.problems()["cameras"] == ["docker run --device /dev/video0 …"]


def test_cameras_are_told_in_the_order_of_their_numbers(pc):
    for number in (10, 2):
        pc.write(f"/sys/class/video4linux/video{number}/name", f"camera {number}")
        pc.write(f"/dev/video{number}", "")
    devices = [c["device"] for c in pc.examine()["cameras"].facts["devices"]]
    assert devices == ["/dev/video0", "/dev/video2", "/dev/video10"]


def test_a_csi_camera_needs_nvidia_s_service(orin):
    orin.remove("/tmp/argus_socket")
    assert orin.problems()["cameras"] == ["sudo systemctl restart nvargus-daemon"]


# -- Engines


def engine(
    folder,
    cc="8.7",
    l4t="36.4.4",
    library="tensorrt",
    version="10.3.0",
    device="Orin, 8 multiprocessors",
):
    key = EngineKey(
        library, version, cc, device, "linux", "aarch64", l4t, "0" * 64, "input=1x3x8x8"
    )
    one = Engine(folder / f"a-{cc}-{l4t}.engine", key, "0" * 64, 4, "int8-trt")
    one.path.write_bytes(b"plan")
    one.path.with_suffix(".json").write_text(json.dumps(one.to_dict()))


def test_engines_are_compared_with_this_device_by_their_keys(orin):
    folder = orin.root / "srv/engines"
    folder.mkdir(parents=True)
    for cc, l4t in (("8.7", "36.4.4"), ("11.0", "38.4.0"), ("8.7", "36.4.3")):
        engine(folder, cc, l4t)
    orin.folders = {"engines": folder}
    found = orin.examine()["engines"]
    assert {e["file"]: e["status"] for e in found.facts["engines"]} == {
        "a-8.7-36.4.4.engine": "ok",
        "a-11.0-38.4.0.engine": "wrong device",
        "a-8.7-36.4.3.engine": "rebuild needed",
    }
    assert found.state == "advice", "they may be for other devices"


def test_an_engine_is_compared_with_the_library_that_built_it(orin):
    folder = orin.root / "srv/engines"
    folder.mkdir(parents=True)
    engine(folder, library="tensorrt-rtx", version="1.7.1.116", device="")
    orin.answers["tensorrt_rtx"] = {"facts": {"version": "1.7.1.116"}}
    orin.folders = {"engines": folder}
    assert orin.examine()["engines"].facts["engines"][0]["status"] == "ok"


def test_an_engine_of_a_larger_module_with_the_same_compute_capability_is_told(orin):
    folder = orin.root / "srv/engines"
    folder.mkdir(parents=True)
    engine(folder, device="Orin, 16 multiprocessors")
    orin.folders = {"engines": folder}
    (found,) = orin.examine()["engines"].facts["engines"]
    assert found["status"] == "wrong device"
    assert "here is Orin, 8 multiprocessors" in found["reason"]


def test_engines_without_a_gpu_to_compare_with_are_only_counted(pc):
    folder = pc.root / "srv/engines"
    folder.mkdir(parents=True)
    engine(folder)
    pc.folders = {"engines": folder}
    found = pc.examine()["engines"]
    assert (found.summary, found.facts["engines"][0]["status"]) == ("1 engine", None)


# -- The examination itself


def test_a_probe_that_fails_or_hangs_says_so_and_the_others_go_on(pc, monkeypatch):
    monkeypatch.setattr(checkup, "_PROBE_LIMIT_S", 0.2)
    released = threading.Event()
    probes = {
        "fails": lambda machine: 1 / 0,
        "hangs": lambda machine: released.wait(60) and Finding("late"),
        "works": lambda machine: Finding("fine"),
    }
    found = checkup.examine(pc.machine(), probes)
    released.set()
    assert "ZeroDivisionError" in found["fails"].summary
    assert "gave no answer" in found["hangs"].summary
    assert {name: f.state for name, f in found.items()} == {
        "fails": "unknown",
        "hangs": "unknown",
        "works": "ok",
    }


@pytest.mark.parametrize("answers", [{}, {"python": {"facts": {"distributions": [1]}}}])
def test_libraries_that_say_nothing_stop_no_probe(orin, answers):
    orin.answers = answers
    assert not [f for f in orin.examine().values() if "probe failed" in f.summary]


def test_text_of_foreign_names_is_made_safe():
    finding = Finding("x", remarks=(Remark("a\x1b[31mb", "do\x07 it"),))
    text = checkup.report_text(checkup.report({"p": finding}))
    assert "\x1b" not in text
    assert "\x07" not in text


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("10.3.0.30-1+cuda12.5", (10, 3, 0, 30)),
        ("v1.2rc1", (1, 2)),
        ("", ()),
        ("unknown", ()),
    ],
)
def test_versions_are_numbers_up_to_what_is_none(text, version):
    assert parsed(text) == version


# -- The verb


def test_the_verb_reports_and_its_status_tells_of_problems(ev, monkeypatch, pc):
    monkeypatch.setattr(checkup, "this_machine", lambda engine_dir: pc.machine())
    ended = ev("doctor", "--json")
    assert ended.status == 3
    assert json.loads(ended.out)["problems"][0]["probe"] == "driver"
    ended = ev("doctor")
    assert "PROBLEM  driver" in ended.out
    pc.remove("/sys/bus/pci/devices/0000:01:00.0/vendor")
    ended = ev("doctor")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.endswith("no problem found\n")


def test_the_verb_on_this_machine_ends_with_0_or_3(ev, tmp_path):
    ended = ev("doctor", "--json", "--engine-dir", tmp_path)
    facts = json.loads(ended.out)
    assert ended.status == (3 if facts["problems"] else 0)
    assert facts["probes"]["disk"]["facts"]["engines"]["path"] == str(tmp_path)
    assert list(tmp_path.iterdir()) == []

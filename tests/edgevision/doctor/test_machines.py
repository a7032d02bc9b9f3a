"""Whole examinations of three Jetsons and a PC; expected values are read off their files and NVIDIA's tables."""

from __future__ import annotations

import json

import pytest

from edgevision.doctor.checkup import PROBES, report, report_text

MACHINES = ("orin-nano", "agx-orin", "thor", "pc")


def test_an_orin_nano_that_is_set_up_well_has_no_problem(patient):
    found = patient("orin-nano").examine()
    assert {name for name, finding in found.items() if finding.state == "problem"} == set()
    assert found["device"].facts["target"] == "orin-nano-8gb"
    assert found["jetpack"].summary == "JetPack 6.2.1+b38 (L4T 36.4.4)"
    assert found["driver"].facts["version"] == "540.4.0"
    assert found["driver"].facts["cuda"] == "12.6"
    assert found["cuda"].summary == "toolkit 12.6.11, nvcc-12.6.68, nvrtc-12.6"
    assert (found["tensorrt"].facts["version"], found["tensorrt"].state) == ("10.3.0", "ok")
    assert found["opencv"].summary.startswith("4.8.0 with GStreamer, FFmpeg, V4L2")
    assert found["opencv"].facts["packages"] == ["libopencv-python"], "one was removed again"
    assert found["memory"].facts["total_mb"] == 7620
    assert found["cameras"].facts["devices"][0]["csi"] is True
    assert found["openvino"].state == "none"


def test_the_power_mode_is_advised_by_its_own_number(patient):
    power = patient("orin-nano").examine()["power"]
    assert power.state == "advice"
    assert [remark.fix for remark in power.remarks] == ["sudo nvpmodel -m 2"]
    assert power.facts["gpu_clock"]["max_mhz"] == 612
    assert power.facts["temperature_c"] == 42.25


def test_an_agx_orin_with_the_usual_mistakes_gets_a_command_for_each(patient):
    one = patient("agx-orin")
    one.closed = {"/dev/nvmap", "/dev/video0"}
    found, problems = one.examine(), one.problems()
    assert found["device"].facts["target"] == "agx-orin-64gb"
    assert "usermod -aG video,render" in problems["driver"][0]
    assert "--system-site-packages" in problems["tensorrt"][0], "it is installed, but not seen"
    assert "edgevision[jetson]" in problems["pycuda"][0]
    assert "--system-site-packages" in problems["opencv"][0]
    assert "usermod -aG video" in problems["cameras"][0]
    assert set(problems) == {"driver", "tensorrt", "pycuda", "opencv", "cameras"}
    assert len(found["cameras"].facts["devices"]) == 1, "the second node carries metadata"
    assert found["power"].state == "ok", "MAXN is the fastest"


def test_a_thor_without_the_jetpack_package_is_known_by_its_l4t(patient):
    one = patient("thor")
    found = one.examine()
    assert one.problems() == {}
    assert found["jetpack"].summary == "JetPack 7.1 (L4T 38.4.0)"
    assert found["device"].facts["target"] == "thor-t5000"
    assert "compute capability 11.0" in found["driver"].summary
    assert found["power"].facts["gpu_clock"]["max_mhz"] == 1575
    assert [r.fix for r in found["power"].remarks] == ["sudo nvpmodel -m 0"]


def test_a_pc_with_a_card_but_no_driver_is_told_how_to_get_one(patient):
    one = patient("pc")
    found, problems = one.examine(), one.problems()
    assert found["jetpack"].state == "none"
    assert problems["driver"] == ["sudo ubuntu-drivers install && sudo reboot"]
    assert found["device"].facts["board"] == "ThinkPad P1 Gen 6"
    assert found["openvino"].summary == "2026.4.1 (CPU, GPU)"
    assert found["opencv"].state == "ok", "a PC does without GStreamer"
    assert found["power"].state == "ok", "intel_pstate's powersave scales"


def test_a_pc_without_a_card_needs_no_cuda(patient):
    one = patient("pc")
    one.remove("/sys/bus/pci/devices/0000:01:00.0/vendor")
    found = one.examine()
    assert one.problems() == {}
    assert {found[name].state for name in ("driver", "cuda", "tensorrt", "pycuda")} == {"none"}


@pytest.mark.parametrize("name", MACHINES)
def test_the_report_is_json_with_every_probe_and_fits_a_screen(name, patient):
    facts = report(patient(name).examine())
    assert json.loads(json.dumps(facts)) == facts
    assert list(facts["probes"]) == list(PROBES)
    assert facts["verdict"] == ("fail" if facts["problems"] else "pass")
    for entry in facts["problems"] + facts["advice"]:
        assert set(entry) == {"probe", "problem", "fix"}
        assert entry["fix"].strip()
    text = report_text(facts)
    assert all(entry["fix"].splitlines()[0] in text for entry in facts["problems"])
    assert len(text.splitlines()) <= len(PROBES) + 4 * len(facts["problems"] + facts["advice"]) + 2


@pytest.mark.parametrize("name", MACHINES)
def test_examining_changes_nothing(name, patient):
    one = patient(name)
    one.folders = {"cache": one.root / "home/a/.cache/edgevision"}

    def snapshot():
        return {p: p.read_bytes() if p.is_file() else None for p in one.root.rglob("*")}

    before = snapshot()
    one.examine()
    assert snapshot() == before


def test_an_empty_file_system_gives_no_problem_of_its_own(tmp_path, patient):
    one = patient("pc")
    one.root = tmp_path / "empty"
    found = one.examine()
    assert one.problems() == {}
    assert {name for name, finding in found.items() if "probe failed" in finding.summary} == set()

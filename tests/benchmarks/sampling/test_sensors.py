"""Sensors on made-up file systems: values worked out by hand from the files' documented units."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgevision.benchmarks.sampling.kernel_file import KernelFile
from edgevision.benchmarks.sampling.sensors import SENSORS, Machine, open_sensors
from edgevision.benchmarks.sampling.sensors.process_cpu import family

RAPL = "sys/class/powercap/intel-rapl:0"


def test_cpu_is_what_was_not_idle_of_all_ticks(board):
    made = board("pc-rapl")
    sensor = made.sensor("cpu")
    assert sensor.read() == {}  # no time has passed
    # +60 user, +20 system, +10 steal, +100 idle, +10 iowait: 90 of 200 ticks were busy
    made.write("proc/stat", "cpu  1060 0 520 8100 510 0 0 10 0 0\n")
    assert sensor.read() == {"cpu_percent": 45.0, "steal_percent": 5.0}


def test_cpu_survives_an_idle_counter_that_steps_back(board):
    made = board("pc-rapl")
    sensor = made.sensor("cpu")
    made.write("proc/stat", "cpu  1100 0 500 7999 500 0 0 0 0 0\n")
    assert sensor.read()["cpu_percent"] == 100.0


def test_cpu_file_of_another_form_is_an_error_that_the_loop_can_hold(board):
    made = board("pc-rapl")
    sensor = made.sensor("cpu")
    made.write("proc/stat", "intr 0\n")
    with pytest.raises(ValueError, match="sum over all cores"):
        sensor.read()


def test_process_cpu_counts_busy_children_and_not_the_sampler():
    code = "while True: pass"
    busy = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    try:
        machine = Machine(Path("/"), os.getpid(), own=busy[1].pid)
        assert busy[0].pid in family(machine)
        assert busy[1].pid not in family(machine)
        (sensor,), _ = open_sensors(machine, ("process_cpu",))
        time.sleep(0.3)
        # It and we share the machine with others, so only that there is some can be said.
        assert 0 < sensor.read()["process_cpu_percent"] <= 101
    finally:
        for child in busy:
            child.kill()
            child.wait()


def test_children_that_have_ended_are_forgotten(monkeypatch):
    (sensor,), _ = open_sensors(Machine(Path("/"), os.getpid()), ("process_cpu",))
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
            sensor._look()
            assert child.pid in sensor._used
    sensor._look()
    assert sensor._used.keys() == set(family(Machine(Path("/"), os.getpid())))
    assert child.pid not in sensor._used


def test_process_cpu_agrees_with_the_processs_own_clock():
    (sensor,), _ = open_sensors(Machine(Path("/"), os.getpid()), ("process_cpu",))
    own, began = time.process_time(), time.monotonic()
    while time.process_time() - own < 0.1:
        pass
    percent = sensor.read()["process_cpu_percent"]
    expected = 100 * (time.process_time() - own) / (time.monotonic() - began) / os.cpu_count()
    assert percent == pytest.approx(expected, rel=0.2)


def test_process_that_is_not_there_is_absent():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    found, missing = open_sensors(Machine(Path("/"), child.pid), ("process_cpu", "rss", "pss"))
    assert not found
    assert "tells no time" in missing["process_cpu_percent"]
    assert missing["rss_mb"].startswith(f"/proc/{child.pid}/statm is not there")


def test_memory_of_a_process_in_megabytes_of_ten_to_the_six(board):
    made = board("pc-rapl")
    made.write(f"proc/{os.getpid()}/statm", "90000 50000 9000 1 0 60000 0\n")
    made.write(
        f"proc/{os.getpid()}/smaps_rollup",
        "5649b09e1000-7fff2fdbb000 ---p 00000000 00:00 0    [rollup]\nRss: 200000 kB\n"
        "Pss:              150000 kB\nPss_Anon:          100000 kB\nSwapPss:            1000 kB\n",
    )
    page = os.sysconf("SC_PAGE_SIZE")
    assert made.sensor("rss").read() == {"rss_mb": pytest.approx(50000 * page / 1e6)}
    assert made.sensor("pss").read() == {"pss_mb": 153.6, "process_swap_mb": 1.024}
    assert made.sensor("free_memory").read() == {"memory_available_mb": 24576.0}


def test_swap_counts_from_the_first_sample_on(board):
    made = board("pc-rapl")
    sensor = made.sensor("swap")
    assert sensor.read() == {"swap_in_mb": 0, "swap_out_mb": 0}
    made.write("proc/vmstat", "pswpin 1010\npswpout 20\n")
    assert sensor.read() == {
        "swap_in_mb": pytest.approx(1000 * os.sysconf("SC_PAGE_SIZE") / 1e6),
        "swap_out_mb": 0,
    }


def test_clock_is_the_mean_over_cores(board):
    assert board("pc-rapl").sensor("clocks").read() == {"clock_mhz": 2400.0}


def test_zones_of_one_name_are_told_apart_and_the_processors_own_sensor_is_read(board):
    assert board("pc-rapl").sensor("temperatures").read() == {
        "temperature_c.acpitz": 27.8,
        "temperature_c.acpitz thermal_zone1": 29.8,
        "temperature_c.coretemp": 54.0,
    }


def test_zone_that_does_not_answer_is_unknown_and_the_others_are_not(board):
    made = board("orin-nano")
    sensor = made.sensor("temperatures")
    made.write("sys/class/thermal/thermal_zone1/temp", "")
    assert sensor.read() == {"temperature_c.cpu-thermal": 45.031}


def test_throttle_events_are_summed_over_cores_and_not_over_one_package(board):
    made = board("pc-rapl")
    sensor = made.sensor("throttle_counters")
    made.write("sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "9\n")
    for core in (0, 1):
        made.write(
            f"sys/devices/system/cpu/cpu{core}/thermal_throttle/package_throttle_count", "8\n"
        )
    assert sensor.read() == {"throttle_events.cores": 5, "throttle_events.package": 1}


def test_core_that_is_switched_off_in_mid_run_keeps_its_events(board, monkeypatch):
    made = board("pc-rapl")
    sensor = made.sensor("throttle_counters")
    made.write("sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "9\n")
    before = sensor.read()
    real = KernelFile.number

    def gone(file):
        if "cpu1/" in str(file.path):
            raise OSError(19, "No such device")
        return real(file)

    monkeypatch.setattr(KernelFile, "number", gone)
    assert sensor.read() == before
    assert before["throttle_events.cores"] == 5


def test_cooling_devices_that_slow_down_are_read_and_fans_are_not(board):
    assert board("pc-rapl").sensor("cooling").read() == {"throttled.Processor": 0}
    assert board("orin-nano").sensor("cooling").read() == {
        "throttled.cpufreq-cpu0": 0,
        "throttled.devfreq-17000000.gpu": 0,
        "throttled.gpu-throttle-alert": 0,
        "throttled.hot-surface-alert": 0,
    }


def test_over_current_events_count_from_the_first_sample_on(board):
    made = board("orin-nano")
    sensor = made.sensor("overcurrent")
    made.write("sys/class/hwmon/hwmon3/oc3_event_cnt", "40\n")
    assert sensor.read() == {
        "throttle_events.oc1": 0,
        "throttle_events.oc2": 0,
        "throttle_events.oc3": 3,
    }


@pytest.mark.parametrize(
    ("bits", "holding"),
    [
        ("0", set()),
        (
            "50005",
            {"undervoltage", "firmware"},
        ),  # 16 and 18: it happened before, which counts no more
        ("e0000", set()),
        ("a", {"capped", "soft-temperature"}),
    ],
)
def test_raspberry_tells_what_holds_it_back_now(board, bits, holding):
    made = board("container")
    made.write("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    made.write("sys/devices/platform/soc/soc:firmware/get_throttled", f"{bits}\n")
    values = made.sensor("raspberry").read()
    assert {name.partition(".")[2] for name, value in values.items() if value} == holding


def test_rapl_adds_packages_and_dram_and_neither_their_parts_nor_the_platform(board):
    sensor = board("pc-rapl").sensor("rapl")
    assert sensor.power.rails == ("package-0", "dram")
    assert sensor.power.source == "RAPL counters of package-0 + dram"
    assert not sensor.power.alone
    assert {"power_w.core", "power_w.psys", "energy_j.package-0"} <= set(sensor.units)


def test_rapl_counter_goes_on_behind_its_range(board):
    made = board("pc-rapl")
    sensor = made.sensor("rapl")
    made.write(f"{RAPL}/energy_uj", "262143328850\n")  # the last value before it begins again
    assert sensor.read()["energy_j.package-0"] == pytest.approx(0.328850)
    made.write(f"{RAPL}/energy_uj", "499999\n")  # 0 comes next: 500,000 steps of 1 µJ
    assert sensor.read()["energy_j.package-0"] == pytest.approx(0.828850)
    made.write(f"{RAPL}/energy_uj", "1499999\n")
    assert sensor.read()["energy_j.package-0"] == pytest.approx(1.828850)


def test_rapl_power_is_energy_over_time(board, monkeypatch):
    made = board("pc-rapl")
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    sensor = made.sensor("rapl")
    assert sensor.read()["power_w.dram"] is None  # no time has passed
    made.write(f"{RAPL}:1/energy_uj", "10000000\n")
    now[0] += 0.5
    assert sensor.read()["power_w.dram"] == pytest.approx(6.0)


def test_rapl_of_two_packages_names_what_is_in_which(board):
    made = board("pc-rapl")
    for zone, name in (("1", "package-1"), ("1:0", "dram")):
        made.write(f"sys/class/powercap/intel-rapl:{zone}/name", f"{name}\n")
        made.write(f"sys/class/powercap/intel-rapl:{zone}/energy_uj", "1\n")
    # This sensor's zones are dram of the first package too, so both need a name of their own.
    rails = made.sensor("rapl").power.rails
    assert set(rails) == {"package-0", "dram of package-0", "package-1", "dram of package-1"}


def test_rapl_that_may_not_be_read_says_so(board, refused):
    refused("energy_uj")
    assert board("pc-rapl").missing("rapl") == {
        "power_w.rapl": "no permission to read /sys/class/powercap/intel-rapl:0/energy_uj"
    }


def test_orins_input_is_the_whole(board):
    sensor = board("orin-nano").sensor("ina3221")
    assert sensor.read() == {
        "power_w.VDD_IN": pytest.approx(7.524),  # 5.016 V × 1.5 A
        "power_w.VDD_CPU_GPU_CV": pytest.approx(2.0032),
        "power_w.VDD_SOC": pytest.approx(1.5024),
    }
    assert sensor.power.rails == ("VDD_IN",)
    assert sensor.power.alone


def test_agx_xavier_has_no_input_so_its_rails_add_up(board):
    sensor = board("agx-xavier").sensor("ina3221")
    assert sensor.power.rails == ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")
    # 19 V × (0.1 + 0.2 + 0.05 + 0 + 0.02) A + 5 V × 0.4 A
    assert sum(sensor.read().values()) == pytest.approx(9.03)


def test_agx_orins_channels_that_are_not_connected_are_no_rails(board):
    sensor = board("agx-orin").sensor("ina3221")
    assert sensor.power.rails == ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO")
    assert sum(sensor.read().values()) == pytest.approx(9.5 + 1.9 + 5.0 + 1.0)


def test_thors_whole_is_the_carrier_boards_monitor(board):
    sensor = board("thor").sensor("ina3221")
    assert sensor.power.rails == ("VIN",)
    assert sensor.read()["power_w.VIN"] == pytest.approx(38.19)


def test_a_pc_with_such_a_monitor_is_no_jetson(board):
    made = board("pc-rapl")
    made.write("sys/class/hwmon/hwmon1/name", "ina3221\n")
    assert made.missing("ina3221") == {"power_w.ina3221": "not a Jetson"}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("orin-nano", {"gpu_percent": pytest.approx(87.3), "gpu_clock_mhz": 612.0}),
        ("agx-xavier", {"gpu_percent": 0.0, "gpu_clock_mhz": pytest.approx(114.75)}),
        ("thor", {"gpu_clock_mhz": 1575.0}),  # its load comes by NVML
    ],
)
def test_load_and_clock_of_a_jetsons_gpu(board, name, values):
    assert board(name).sensor("devfreq").read() == values


def test_governor_and_limits_of_a_jetsons_gpu_are_recorded(board):
    assert board("orin-nano").sensor("devfreq").facts == {
        "name": "17000000.gpu",
        "governor": "nvhost_podgov",
        "min_mhz": 306,
        "max_mhz": 1020,
    }


def test_container_without_sensors_has_a_reason_for_each(board, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found, missing = open_sensors(board("container").machine())
    assert {name for sensor in found for name in sensor.units} == {
        *("cpu_percent", "steal_percent", "process_cpu_percent"),
        *("memory_available_mb", "swap_in_mb", "swap_out_mb"),
    }
    hidden = "is not there; this is a container, which may hide it"
    assert missing["power_w.rapl"] == f"/sys/class/powercap/intel-rapl:0 {hidden}"
    assert missing["clock_mhz"] == f"/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq {hidden}"
    assert missing["temperature_c"] == f"/sys/class/thermal/thermal_zone0 {hidden}"
    assert missing["power_w.ina3221"] == "not a Jetson"
    assert missing["gpu_percent"] == "no NVIDIA GPU with a driver"
    assert all(missing.values())


def test_every_sensors_file_is_in_the_list():
    import edgevision.benchmarks.sampling.sensors as package

    files = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(SENSORS)

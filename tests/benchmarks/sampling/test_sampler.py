"""The real process on this machine: it samples, it ends, and its loss ends nothing else."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from edgevision.benchmarks.sampling import sampler as sampler_module
from edgevision.benchmarks.sampling.energy import energy_of
from edgevision.benchmarks.sampling.flags import flags_of
from edgevision.benchmarks.sampling.sampler import Sampler, interval_for

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

_LIMIT_S = 30.0


def eventually(what):
    """Waits for something to become true; on a busy machine that may take a while."""
    until = time.monotonic() + _LIMIT_S
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


def gone(pid):
    """Whether a process has ended; one that nobody has waited for yet is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_samples_arrive_with_times_before_and_after_the_origin():
    with Sampler(interval_s=0.02) as sampler:
        origin = time.monotonic_ns()
        time.sleep(0.3)
        end_s = (time.monotonic_ns() - origin) / 1e9
    timeline = sampler.timeline(origin, end_s)
    assert sampler.problem is None
    assert timeline["t_s"][0] < 0 < end_s <= timeline["t_s"][-1]
    assert timeline["t_s"] == sorted(timeline["t_s"])
    assert timeline["sampler"]["samples"] == len(timeline["t_s"]) >= 3
    assert 0 < timeline["sampler"]["rss_mb"] < 60
    assert {"cpu_percent", "process_cpu_percent", "rss_mb", "swap_in_mb"} <= set(timeline["series"])
    assert json.loads(json.dumps(timeline)) == timeline


def test_memory_is_that_of_this_process():
    with Sampler(interval_s=0.02) as sampler:
        time.sleep(0.1)
    page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6
    rss_mb = int(Path("/proc/self/statm").read_text().split()[1]) * page_mb
    values = sampler.timeline(0)["series"]["rss_mb"]["values"]
    assert values[-1] == pytest.approx(rss_mb, rel=0.1)


def test_another_process_can_be_sampled():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with Sampler(pid=child.pid, interval_s=0.02) as sampler:
            time.sleep(0.1)
    finally:
        child.communicate()
    own = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    assert 0 < sampler.timeline(0)["series"]["rss_mb"]["values"][0] < own


def test_process_that_ends_in_mid_run_is_unknown_from_then_on():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with Sampler(pid=child.pid, interval_s=0.02) as sampler:
        child.communicate()
        time.sleep(0.2)
    timeline = sampler.timeline(0)
    assert sampler.problem is None
    assert timeline["series"]["rss_mb"]["values"][0] is not None
    assert timeline["series"]["rss_mb"]["values"][-1] is None
    assert timeline["series"]["cpu_percent"]["values"][-2:] != [None, None]


def test_sampling_process_imports_neither_numpy_nor_opencv():
    with Sampler(interval_s=0.05) as sampler:
        maps = Path(f"/proc/{sampler.pid}/maps").read_text()
    assert "python" in maps
    assert "numpy" not in maps
    assert "cv2" not in maps


def test_it_ends_when_it_is_stopped():
    with Sampler(interval_s=0.05) as sampler:
        pid = sampler.pid
        assert not gone(pid)
    assert gone(pid)
    sampler.stop()  # the second time there is nothing to do


def test_it_ends_when_a_run_fails():
    with pytest.raises(RuntimeError), Sampler(interval_s=0.05) as sampler:
        pid = sampler.pid
        raise RuntimeError
    assert gone(pid)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_by_itself_when_its_parent_dies(how, tmp_path):
    code = (
        "import time\nfrom edgevision.benchmarks.sampling.sampler import Sampler\n"
        "sampler = Sampler(interval_s=0.05)\nsampler.start()\nprint(sampler.pid, flush=True)\ntime.sleep(60)"
    )
    # In the repository's root its folders would hide the installed package.
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    parent.send_signal(how)
    parent.wait()
    parent.stdout.close()
    eventually(lambda: gone(pid))


def test_ctrl_c_of_a_terminal_does_not_reach_it():
    with Sampler(interval_s=0.02) as sampler:
        assert os.getpgid(sampler.pid) != os.getpgid(0)


def test_killed_sampler_is_a_flag_and_what_it_saw_stays():
    with Sampler(interval_s=0.02) as sampler:
        origin = time.monotonic_ns()
        time.sleep(0.2)
        os.kill(sampler.pid, signal.SIGKILL)
        eventually(lambda: gone(sampler.pid))
        time.sleep(0.1)
        end_s = (time.monotonic_ns() - origin) / 1e9
    timeline = sampler.timeline(origin, end_s)
    assert sampler.problem == "the sampler was lost: killed by SIGKILL"
    assert timeline["sampler"]["samples"] >= 1
    assert timeline["t_s"][-1] < end_s
    kinds = [flag["kind"] for flag in flags_of(timeline, 0, end_s, problem=sampler.problem)]
    assert kinds[0] == "sampler-lost"


def test_stopped_sampler_does_not_hold_the_run_up_for_ever(monkeypatch):
    monkeypatch.setattr(sampler_module, "_END_S", 0.2)
    with Sampler(interval_s=0.02) as sampler:
        os.kill(sampler.pid, signal.SIGSTOP)
    assert sampler.problem == "the sampler did not end within 0.2 s"
    assert sampler.timeline(0) is not None


def test_sampler_that_cannot_start_is_a_flag(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Sampler() as sampler:
        pass
    assert sampler.problem.startswith("the sampler could not be started: ")
    assert sampler.timeline(0) is None
    assert sampler.facts == {}
    (flag,) = flags_of(None, 0, 1, problem=sampler.problem)
    assert flag["kind"] == "sampler-lost"
    assert energy_of(None, 0, 1, 1)["joules"] is None


def test_process_that_crashes_at_its_start_is_a_flag(monkeypatch):
    monkeypatch.setattr(sampler_module, "_CODE", "raise SystemExit(7)")
    with Sampler() as sampler:
        pass
    assert sampler.problem == "the sampler was lost: it ended with status 7"


def test_missed_ticks_are_left_out_and_not_made_up_for():
    with Sampler(interval_s=0.05) as sampler:
        os.kill(sampler.pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(sampler.pid, signal.SIGCONT)
        time.sleep(0.2)
    times = sampler.timeline(0)["t_s"]
    assert sampler.problem is None
    # Half a second without a sample, and no burst of ten behind it.
    assert max(after - before for before, after in pairwise(times)) > 0.4
    assert len(times) < 12


def test_sampling_works_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    with Sampler(interval_s=0.02) as sampler:
        pass
    assert sampler.problem is None


def test_no_file_stays_open():
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with Sampler(interval_s=0.02):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("duration_s", "interval_s"), [(0, 0.1), (10, 0.1), (600, 0.1), (3600, 0.6)]
)
def test_long_runs_are_sampled_less_often(duration_s, interval_s):
    assert interval_for(duration_s) == interval_s


def test_run_that_takes_longer_than_planned_is_sampled_ever_less_often(monkeypatch):
    monkeypatch.setattr("edgevision.benchmarks.sampling.sampler._MOST_SAMPLES", 5)
    with Sampler(interval_s=0.01) as sampler:
        time.sleep(0.8)
    timeline = sampler.timeline(0)
    # 5 samples at 10 ms, 5 at 20, 5 at 40, 5 at 80: without that it would be 80.
    assert len(timeline["t_s"]) < 25
    assert timeline["interval_s"] >= 0.04


def test_more_files_than_a_process_may_usually_open(board):
    """300 cores: two files each, and the sensors behind them are opened too."""
    made = board("pc-rapl")
    for core in range(300):
        folder = f"sys/devices/system/cpu/cpu{core}"
        made.write(f"{folder}/cpufreq/scaling_cur_freq", "2000000\n")
        made.write(f"{folder}/thermal_throttle/core_throttle_count", "0\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    last = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 100, hard))
    try:
        with Sampler(interval_s=0.02, root=made.root) as sampler:
            time.sleep(0.1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sampler.problem is None
    timeline = sampler.timeline(0)
    assert "energy_j.package-0" in timeline["series"], timeline["missing"]
    assert set(timeline["series"]["clock_mhz"]["values"]) - {None} == {2000.0}


def test_wall_clock_is_told_with_every_sample(board):
    with Sampler(interval_s=0.02, root=board("container").root) as sampler:
        time.sleep(0.1)
    offsets = [line[1] for line in sampler._lines if isinstance(line, list) and line[1] is not None]
    assert offsets
    assert offsets[-1] == pytest.approx(time.time_ns() - time.monotonic_ns(), abs=5e7)


def test_board_in_the_real_process_gives_energy_and_state(board):
    """A made-up Orin, read by the real process: 7.524 W all the time."""
    with Sampler(interval_s=0.02, root=board("orin-nano").root) as sampler:
        origin = time.monotonic_ns()
        time.sleep(0.2)
        end_s = (time.monotonic_ns() - origin) / 1e9
    timeline = sampler.timeline(origin, end_s)
    energy = energy_of(timeline, 0, end_s, 10)
    assert energy["joules"] == pytest.approx(7.524 * end_s, rel=1e-3)
    assert energy["source"] == "power monitor: the input VDD_IN"
    assert set(timeline["series"]["gpu_percent"]["values"]) == {87.3}
    assert timeline["series"]["throttled"]["values"][-1] == 0
    assert "throttled.gpu-throttle-alert" not in timeline["series"]
    assert sampler.facts["devfreq"]["governor"] == "nvhost_podgov"

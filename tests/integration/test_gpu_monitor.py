"""The GPU monitor on this machine: values where there is a card, a plain reason where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perfload.monitors.base import Measurement, MonitorUnavailable
from perfload.monitors.gpu import GpuMonitor, is_present
from perfload.monitors.process import SamplerProcess
from perfload.readings import decode_reading
from tests.integration.test_sampler import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.monitors]


def test_a_card_is_read_where_there_is_one_and_a_reason_given_where_there_is_none() -> None:
    monitor = GpuMonitor.from_environment({})
    if not is_present():
        with pytest.raises(MonitorUnavailable, match="NVML"):
            monitor.open()
        return
    monitor.open()
    values = {
        item.metric.partition("[")[0]: item
        for _ in range(2)
        for item in monitor.read(1)
        if isinstance(item, Measurement)
    }
    monitor.close()
    used, total = values["memory_used_bytes"].value, values["memory_total_bytes"].value
    assert used is not None
    assert total is not None
    assert 0 <= used <= total
    assert 0 <= (values["utilisation_percent"].value or 0) <= 100
    assert 0 < (values["temperature_celsius"].value or 0) < 120
    assert all(item.value is not None or item.unavailable for item in values.values())


def test_the_sampler_goes_on_without_a_card(tmp_path: Path) -> None:
    out = tmp_path / "readings.jsonl"
    sampler = SamplerProcess.start(out, node="n", interval_s=0.1, monitors=["gpu", "host"])
    sources = ('"source":"gpu"', '"source":"host"')
    wait_until(lambda: out.exists() and all(source in out.read_text() for source in sources), "both")
    assert sampler.stop() == 0
    readings = [decode_reading(line) for line in out.read_text().splitlines()]
    assert any(one.source == "host" and one.value is not None for one in readings)
    cards = [one for one in readings if one.source == "gpu"]
    assert cards
    if not is_present():
        assert {one.metric for one in cards} == {"*"}
        assert "NVML" in cards[0].unavailable


def test_looking_for_a_card_leaves_the_process_as_it_was() -> None:
    script = (
        "import json, signal, threading\n"
        "from perfload.monitors.gpu import is_present\n"
        "handlers = [str(signal.getsignal(number)) for number in signal.valid_signals()]\n"
        "found = is_present()\n"
        "after = [str(signal.getsignal(number)) for number in signal.valid_signals()]\n"
        "print(json.dumps([found, handlers == after, threading.active_count()]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [is_present(), True, 1]
    assert done.stderr == ""

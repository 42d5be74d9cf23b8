import re
from pathlib import Path

import pytest

from perfload.monitors.base import Measurement, MonitorUnavailable
from perfload.monitors.redis.commands import MAX_COMMANDS, BusiestCommands
from perfload.monitors.redis.info import Interval, gauges, label, parse_info, rates
from perfload.monitors.redis.latency import METRIC as LATENCY_EVENTS
from perfload.monitors.redis.slow_log import METRIC as SLOW_COMMANDS

INFO = b"""# Server\r
redis_version:7.0.15\r
run_id:aaa\r
\r
# Clients\r
connected_clients:12\r
maxclients:10000\r
blocked_clients:3\r
# Memory\r
used_memory:2000\r
used_memory_peak:3000\r
used_memory_rss:4000\r
mem_fragmentation_ratio:2.00\r
maxmemory:8000\r
# Persistence\r
loading:0\r
rdb_changes_since_last_save:7\r
rdb_bgsave_in_progress:1\r
aof_enabled:1\r
aof_rewrite_in_progress:0\r
aof_delayed_fsync:2\r
# Stats\r
total_connections_received:20\r
total_commands_processed:1000\r
total_net_input_bytes:5000\r
total_net_output_bytes:6000\r
rejected_connections:1\r
expired_keys:10\r
evicted_keys:20\r
keyspace_hits:300\r
keyspace_misses:100\r
latest_fork_usec:480\r
total_error_replies:4\r
# Replication\r
role:master\r
connected_slaves:1\r
slave0:ip=10.0.0.2,port=6379,state=online,offset=900,lag=1\r
master_repl_offset:1000\r
# CPU\r
used_cpu_sys:1.50\r
used_cpu_user:2.50\r
used_cpu_sys_main_thread:1.00\r
used_cpu_user_main_thread:2.00\r
# Commandstats\r
cmdstat_get:calls=400,usec=800,usec_per_call=2.00,rejected_calls=0,failed_calls=0\r
# Latencystats\r
latency_percentiles_usec_get:p50=1.003,p99=9.023,p99.9=20.095\r
# Cluster\r
cluster_enabled:0\r
# Keyspace\r
db0:keys=30,expires=5,avg_ttl=1000\r
db2:keys=4,expires=0,avg_ttl=0\r
"""
LATER = {
    b"total_commands_processed:1000": b"total_commands_processed:1500",
    b"total_error_replies:4": b"total_error_replies:9",
    b"total_connections_received:20": b"total_connections_received:30",
    b"rejected_connections:1": b"rejected_connections:2",
    b"keyspace_hits:300": b"keyspace_hits:390",
    b"keyspace_misses:100": b"keyspace_misses:110",
    b"expired_keys:10": b"expired_keys:30",
    b"evicted_keys:20": b"evicted_keys:25",
    b"total_net_input_bytes:5000": b"total_net_input_bytes:6000",
    b"total_net_output_bytes:6000": b"total_net_output_bytes:10000",
    b"used_cpu_sys:1.50": b"used_cpu_sys:2.50",
    b"used_cpu_user:2.50": b"used_cpu_user:3.00",
    b"used_cpu_sys_main_thread:1.00": b"used_cpu_sys_main_thread:1.75",
    b"used_cpu_user_main_thread:2.00": b"used_cpu_user_main_thread:2.50",
    b"aof_delayed_fsync:2": b"aof_delayed_fsync:3",
    b"cmdstat_get:calls=400,usec=800": b"cmdstat_get:calls=500,usec=1300\r\ncmdstat_set:calls=10,usec=40",
}


def later(**changes: str) -> bytes:
    """Return INFO two seconds on, with some lines changed."""
    text = INFO
    for before, after in LATER.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    for name, value in changes.items():
        text += f"\r\n{name}:{value}".encode()
    return text


def interval(now: bytes, *, seconds: float = 2.0) -> Interval:
    return Interval.between(100.0, parse_info(INFO), 100.0 + seconds, parse_info(now))


def values(measurements: object) -> dict[str, float | str]:
    """Return the value of each metric, or why it has none."""
    found: dict[str, float | str] = {}
    for item in measurements:  # type: ignore[attr-defined]
        assert isinstance(item, Measurement)
        found[item.metric] = item.unavailable if item.value is None else item.value
    return found


def test_gauges_are_what_info_says() -> None:
    assert values(gauges(parse_info(INFO), {})) == {
        "clients_connected": 12,
        "clients_blocked": 3,
        "clients_max": 10000,
        "memory_used_bytes": 2000,
        "memory_peak_bytes": 3000,
        "memory_rss_bytes": 4000,
        "memory_fragmentation_ratio": 2.0,
        "memory_limit_percent": 25.0,
        "loading": 0,
        "rdb_save_in_progress": 1,
        "rdb_changes_since_save": 7,
        "aof_rewrite_in_progress": 0,
        "last_fork_us": 480,
        "replicas_connected": 1,
        "keys": 34,
        "keys[db0]": 30,
        "keys_expiring[db0]": 5,
        "keys[db2]": 4,
        "keys_expiring[db2]": 0,
        "replica_silent_s[10.0.0.2:6379]": 1,
        "replica_behind_bytes[10.0.0.2:6379]": 100,
    }


def test_rates_are_differences_per_second() -> None:
    assert values(rates(interval(later()))) == {
        "commands_per_s": 250,
        "error_replies_per_s": 2.5,
        "connections_per_s": 5,
        "connections_rejected_per_s": 0.5,
        "hits_per_s": 45,
        "misses_per_s": 5,
        "hit_percent": 90,
        "evicted_per_s": 2.5,
        "expired_per_s": 10,
        "network_received_bytes_per_s": 500,
        "network_sent_bytes_per_s": 2000,
        "cpu_user_percent": 25,
        "cpu_system_percent": 50,
        "cpu_main_thread_percent": 62.5,
        "aof_delayed_fsyncs_per_s": 0.5,
    }


def test_a_replica_says_whether_it_hears_from_its_master() -> None:
    up = {"role": "slave", "master_link_status": "up", "master_last_io_seconds_ago": "1"}
    down = {"role": "slave", "master_link_status": "down", "master_link_down_since_seconds": "30"}
    assert values(gauges(up, {}))["replication_link_up"] == 1
    assert values(gauges(up, {}))["replication_silent_s"] == 1
    assert values(gauges(down, {}))["replication_link_up"] == 0
    assert values(gauges(down, {}))["replication_silent_s"] == 30


def test_what_the_server_does_not_say_is_not_a_zero() -> None:
    found = values(gauges({"maxmemory": "0", "used_memory": "1"}, {"maxclients": "50"}))
    assert found["clients_connected"] == "INFO of this server has no connected_clients"
    assert found["memory_limit_percent"] == "this server has no maxmemory"
    assert found["clients_max"] == 50
    assert "keys" not in found


@pytest.mark.parametrize("text", ["", "many", "nan", "1e999", "0x10"])
def test_what_is_no_number_is_no_value(text: str) -> None:
    found = values(gauges({"connected_clients": text}, {}))
    assert found["clients_connected"] == f"INFO says connected_clients:{text}"


def test_after_a_restart_there_are_no_rates_for_one_interval() -> None:
    restarted = interval(INFO.replace(b"run_id:aaa", b"run_id:bbb"))
    assert set(values(rates(restarted)).values()) == {"the server was restarted between two reads"}
    assert values(BusiestCommands().measure(restarted)) == {}


def test_a_counter_that_runs_backwards_has_no_rate() -> None:
    reset = interval(later().replace(b"total_commands_processed:1500", b"total_commands_processed:3"))
    found = values(rates(reset))
    assert found["commands_per_s"] == "total_commands_processed ran backwards: were the statistics reset?"
    assert found["hits_per_s"] == 45


def test_time_that_stands_still_gives_no_rates() -> None:
    assert set(values(rates(interval(later(), seconds=0))).values()) == {"no time passed between two reads"}


def test_no_lookup_has_no_hit_ratio() -> None:
    assert values(rates(interval(INFO)))["hit_percent"] == "no key was looked up between two reads"


def test_busiest_commands_have_their_calls_mean_and_percentile() -> None:
    busiest = BusiestCommands()
    assert values(busiest.measure(interval(later()))) == {
        "command_calls_per_s[get]": 50,
        "command_mean_us[get]": 5,
        "command_p99_since_start_us[get]": 9.023,
        # It is new: it was never called before.
        "command_calls_per_s[set]": 5,
        "command_mean_us[set]": 4,
    }
    get, _ = busiest.findings()
    assert get.kind == "command"
    assert get.data == {
        "command": "get",
        "calls": 100,
        "mean_us": 5.0,
        "since_start_us": {"p50": 1.003, "p99": 9.023, "p99.9": 20.095},
    }


def test_only_the_busiest_commands_are_shown_and_they_stay() -> None:
    busiest = BusiestCommands()
    many = {f"cmdstat_c{number}": f"calls=1,usec={number}" for number in range(1, 30)}
    first = values(busiest.measure(interval(later(**many))))
    shown = {name for name in first if name.startswith("command_calls")}
    assert len(shown) == MAX_COMMANDS
    assert "command_calls_per_s[get]" in shown
    assert "command_calls_per_s[c29]" in shown
    assert "command_calls_per_s[c1]" not in shown
    # Nothing is called any more: the same ones, now at rest and without a mean.
    still = Interval.between(102.0, parse_info(later(**many)), 104.0, parse_info(later(**many)))
    second = values(busiest.measure(still))
    assert second == dict.fromkeys(shown, 0)


def test_info_is_read_as_far_as_it_makes_sense() -> None:
    fields = parse_info(b"# Stats\r\na:1\r\nno colon\r\na:2\r\nb:x:y\r\n\xff\xfe:3\r\n")
    assert fields == {"a": "1", "b": "x:y", "\ufffd\ufffd": "3"}
    assert len(parse_info(b"k:" + b"v" * 3_000_000)["k"]) < 1_100_000
    with pytest.raises(MonitorUnavailable, match="answered with a int"):
        parse_info(7)


def test_a_label_is_short_and_closes_no_bracket() -> None:
    assert label("a]b\nc") == "a)b?c"
    assert label("x" * 100) == "x" * 59 + "…"


def test_every_metric_is_described() -> None:
    replica = {"role": "slave", "master_link_status": "up"}
    metrics = {
        *values(gauges(parse_info(INFO), {})),
        *values(gauges(replica, {})),
        *values(rates(interval(later()))),
        *values(BusiestCommands().measure(interval(later()))),
        SLOW_COMMANDS[0],
        LATENCY_EVENTS[0],
        "info",
    }
    page = Path(__file__).parents[3] / "docs" / "monitors" / "redis.md"
    rows = re.findall(r"^\| `([a-z_0-9]+)(?:\[[^`]*\])?` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    kinds = {"server", "slow_command", "latency_event", "command"}
    assert set(rows) - kinds == {metric.partition("[")[0] for metric in metrics}

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perfload.config import KEYS, OWN_VARIABLES, SETTINGS, Config, load_config
from perfload.errors import UsageError
from perfload.hosts import HostRules
from perfload.monitoring import AgentAddress, Monitoring

ROOT = Path(__file__).parents[2]


@pytest.fixture
def load(tmp_path):
    """Write the two files, then load."""

    def load(toml: str = "", env: str = "", environ: dict[str, str] | None = None, **flags: object) -> Config:
        (tmp_path / "perfload.toml").write_text(toml, encoding="utf-8")
        (tmp_path / ".env.performance").write_text(env, encoding="utf-8")
        dotted = {name.replace("__", "."): value for name, value in flags.items()}
        return load_config(directory=tmp_path, environ=environ or {}, flags=dotted)

    return load


@pytest.fixture
def error_of(load):
    def error_of(*args: object, **kwargs: object) -> UsageError:
        with pytest.raises(UsageError) as caught:
            load(*args, **kwargs)
        return caught.value

    return error_of


def test_defaults_need_no_files(tmp_path):
    config = load_config(directory=tmp_path, environ={}, flags={})
    assert config.host == ""
    assert config.host_rules == HostRules(["localhost", "127.0.0.1", "::1"])
    assert config.wait_s == 0
    assert [rule.text for rule in config.rules] == [
        "peak_users >= 100",
        "mean < 2s",
        "p95 < 5s",
        "error_rate <= 1%",
        "availability >= 99.9%",
    ]
    assert config.reports_dir == tmp_path / "reports"
    assert (config.drain_s, config.seed, config.time_scale) == (65.0, 0, 1.0)
    assert config.freeze_objects
    assert (config.max_lag_p95_ms, config.max_generator_cpu_percent) == (50.0, 90.0)
    assert config.monitoring == Monitoring(
        interval_s=1.0,
        intervals_s={},
        timeout_s=2.0,
        host=True,
        processes=(),
        gpu="auto",
        mongodb=True,
        mongodb_profile="off",
        mongodb_slow_ms=100.0,
        redis=True,
        prometheus_url="",
        prometheus_queries={},
        agents=(),
    )
    assert (config.prometheus_port, config.prometheus_bind) == (0, "127.0.0.1")
    assert (config.ai_prices, config.ai_max_cost, config.ai_max_tokens) == ("", 0, 0)
    assert dict(config.settings) == {}


def test_shipped_files_state_the_defaults(tmp_path):
    (tmp_path / "perfload.toml").write_text((ROOT / "perfload.toml").read_text(encoding="utf-8"))
    shipped = load_config(directory=tmp_path, environ={}, flags={})
    (tmp_path / "perfload.toml").unlink()
    assert shipped == load_config(directory=tmp_path, environ={}, flags={})


def test_every_key_of_the_file_is_read(load):
    config = load(
        """
        [target]
        host = "https://api.example.com"
        allow = ["api.example.com"]
        wait_s = "1m"
        [thresholds]
        rules = ["p95 < 1s"]
        [run]
        reports_dir = "/var/reports"
        drain = 5
        seed = 7
        time_scale = 60
        [validity]
        max_lag_p95 = "10ms"
        max_generator_cpu = 75
        [monitors]
        interval = "500ms"
        host = false
        """
    )
    assert config == replace(
        config,
        host="https://api.example.com",
        host_rules=HostRules(["api.example.com"]),
        wait_s=60.0,
        reports_dir=Path("/var/reports"),
        drain_s=5.0,
        seed=7,
        time_scale=60.0,
        max_lag_p95_ms=10.0,
        max_generator_cpu_percent=75.0,
        monitoring=replace(load().monitoring, interval_s=0.5, host=False),
    )
    assert [rule.limit for rule in config.rules] == [1000.0]


VARIABLES = {
    "PERFLOAD_HOST": "http://localhost:9",
    "PERFLOAD_ALLOW": "a.test, *.b.test",
    "PERFLOAD_WAIT_S": "30",
    "PERFLOAD_REPORTS_DIR": "out",
    "PERFLOAD_DRAIN": "2m",
    "PERFLOAD_SEED": "-3",
    "PERFLOAD_TIME_SCALE": "0.5",
    "PERFLOAD_FREEZE_OBJECTS": "no",
    "PERFLOAD_MAX_LAG_P95": "20ms",
    "PERFLOAD_MAX_GENERATOR_CPU": "80%",
    "PERFLOAD_MONITOR_INTERVAL": "2",
    "PERFLOAD_MONITOR_INTERVALS": '{"mongodb": "5s"}',
    "PERFLOAD_MONITOR_TIMEOUT": "3s",
    "PERFLOAD_MONITOR_HOST": "off",
    "PERFLOAD_MONITOR_PROCESSES": "name:uvicorn, port:8000",
    "PERFLOAD_MONITOR_GPU": "off",
    "PERFLOAD_MONITOR_MONGODB": "no",
    "PERFLOAD_MONITOR_REDIS": "no",
    "PERFLOAD_MONGODB_PROFILE": "slow",
    "PERFLOAD_MONGODB_SLOW": "50ms",
    "PERFLOAD_PROMETHEUS_URL": "http://localhost:9090",
    "PERFLOAD_PROMETHEUS_QUERIES": '{"nginx": "rate(nginx[1m])"}',
    "PERFLOAD_PROMETHEUS_PORT": "9464",
    "PERFLOAD_PROMETHEUS_BIND": "0.0.0.0",
    "PERFLOAD_AGENTS": '[{"name": "db", "url": "http://db:9465"}]',
    "PERFLOAD_AI_PRICES": "prices.json",
    "PERFLOAD_AI_MAX_COST": "2.5",
    "PERFLOAD_AI_MAX_TOKENS": "100000",
}


def test_every_variable_is_read_from_environment_and_env_file(load, tmp_path):
    from_environ = load(environ=VARIABLES)
    from_file = load(env="\n".join(f"{name}='{value}'" for name, value in VARIABLES.items()))
    assert {key.variable for key in KEYS} - {""} == set(VARIABLES)
    assert from_environ == from_file
    assert from_environ == replace(
        load(),
        host="http://localhost:9",
        host_rules=HostRules(["localhost", "127.0.0.1", "::1", "a.test", "*.b.test"]),
        wait_s=30.0,
        reports_dir=tmp_path / "out",
        drain_s=120.0,
        seed=-3,
        time_scale=0.5,
        freeze_objects=False,
        max_lag_p95_ms=20.0,
        max_generator_cpu_percent=80.0,
        monitoring=Monitoring(
            interval_s=2.0,
            intervals_s={"mongodb": 5.0},
            timeout_s=3.0,
            host=False,
            processes=("name:uvicorn", "port:8000"),
            gpu="off",
            mongodb=False,
            mongodb_profile="slow",
            mongodb_slow_ms=50.0,
            redis=False,
            prometheus_url="http://localhost:9090",
            prometheus_queries={"nginx": "rate(nginx[1m])"},
            agents=(AgentAddress("db", "http://db:9465"),),
        ),
        prometheus_port=9464,
        prometheus_bind="0.0.0.0",
        ai_prices="prices.json",
        ai_max_cost=2.5,
        ai_max_tokens=100_000.0,
    )


def test_stronger_sources_win(load):
    sources = {
        "toml": "[run]\nseed = 1",
        "env": "PERFLOAD_SEED=2",
        "environ": {"PERFLOAD_SEED": "3"},
        "run__seed": 4,
    }
    seeds = []
    while sources:
        seeds.append(load(**sources).seed)
        sources.popitem()
    assert seeds == [4, 3, 2, 1]


def test_empty_variables_and_flags_that_are_none_are_not_given(load):
    config = load("[run]\nseed = 1", "PERFLOAD_SEED=", {"PERFLOAD_SEED": ""}, run__seed=None)
    assert config.seed == 1


def test_allowed_hosts_add_up(load):
    config = load(
        '[target]\nallow = ["file.test"]',
        "PERFLOAD_ALLOW=env.test",
        target__allow=["flag.test", "file.test"],
    )
    assert config.host_rules.allow == ("file.test", "env.test", "flag.test")


@pytest.mark.parametrize(
    ("sources", "host"),
    [
        ({"env": "BACKEND_URL=http://env:1"}, "http://env:1"),
        (
            {"env": "BACKEND_URL=http://env:1", "environ": {"BACKEND_URL": "http://environ:2"}},
            "http://environ:2",
        ),
        ({"toml": '[target]\nhost = "http://toml:3"', "env": "BACKEND_URL=http://env:1"}, "http://toml:3"),
    ],
)
def test_backend_url_is_the_target_when_nothing_else_names_one(load, sources, host):
    assert load(**sources).host == host


@pytest.mark.parametrize(
    ("toml", "message", "hint"),
    [
        (
            "[run]\ndrian = 5",
            "perfload.toml: unknown key run.drian",
            "did you mean run.drain? Known: run.reports_dir",
        ),
        (
            "[treshold]\nx = 1",
            "perfload.toml: unknown table [treshold]",
            "did you mean thresholds? Known: target",
        ),
        (
            'reports_dir = "x"',
            "perfload.toml: unknown key reports_dir",
            "did you mean run.reports_dir? Known",
        ),
        ("run = 5", "perfload.toml: run is 5", "write [run]"),
        ("[run]\nseed = '5'", "perfload.toml: run.seed is '5'", "write a whole number"),
        ("[run]\nseed = true", "perfload.toml: run.seed is True", "write a whole number"),
        ("[run]\nseed = 1.5", "perfload.toml: run.seed is 1.5", "write a whole number"),
        ("[run]\ntime_scale = 0", "perfload.toml: run.time_scale is 0", "write a number above 0"),
        ("[run]\ntime_scale = '2'", "perfload.toml: run.time_scale is '2'", "write a number above 0"),
        ("[run]\ntime_scale = nan", "perfload.toml: run.time_scale is nan", "write a number above 0"),
        ("[run]\nreports_dir = 5", "perfload.toml: run.reports_dir is 5", "write a text in quotes"),
        ("[run]\ndrain = '5x'", "perfload.toml: run.drain: '5x' is not a duration", "write seconds"),
        ("[run]\ndrain = -1", "perfload.toml: run.drain: -1 is not a duration", "write seconds"),
        ("[run.drain]\nx = 1", "perfload.toml: run.drain is {'x': 1}", "write a duration"),
        ("[monitors]\ninterval = 0", "perfload.toml: monitors.interval is 0", "write a duration above zero"),
        ("[monitors]\nhost = 'yes'", "perfload.toml: monitors.host is 'yes'", "write true or false"),
        (
            "[validity]\nmax_generator_cpu = '120%'",
            "perfload.toml: validity.max_generator_cpu is '120%'",
            "write a p",
        ),
        ("[target]\nallow = 'a'", "perfload.toml: target.allow is 'a'", "write a list of texts"),
        ("[target]\nallow = [1]", "perfload.toml: target.allow is [1]", "write a list of texts"),
        ("[target]\nallow = ['*']", "perfload.toml: target.allow: allowed host '*' would", "name the hosts"),
    ],
)
def test_errors_of_the_file_name_the_key(error_of, toml, message, hint):
    error = error_of(toml)
    assert error.message.startswith(message)
    assert error.hint.startswith(hint)


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("PERFLOAD_SEED", "x", "write a whole number"),
        ("PERFLOAD_TIME_SCALE", "fast", "write a number above 0"),
        ("PERFLOAD_MONITOR_HOST", "maybe", "write true or false"),
        ("PERFLOAD_MAX_GENERATOR_CPU", "lots", "write a percentage"),
    ],
)
def test_errors_of_variables_name_the_variable(error_of, name, value, hint):
    from_environ = error_of(environ={name: value})
    assert from_environ.message == f"{name} is {value!r}"
    assert from_environ.hint.startswith(hint)
    assert error_of(env=f"{name}={value}").message == f".env.performance: {name} is {value!r}"


def test_errors_of_flags_name_the_option(error_of):
    assert error_of(run__seed="x").message == "option run.seed is 'x'"
    assert error_of(run__sed=1).message == "unknown option run.sed"


def test_a_bad_threshold_names_the_file_and_shows_the_rule(error_of):
    assert error_of('[thresholds]\nrules = ["p95 < 5s", "p95 < 5"]').message == (
        "perfload.toml: threshold 2 is not understood: the limit has no unit\n    p95 < 5\n          ^"
    )
    assert error_of(thresholds__rules=["p95"]).message.startswith(
        "option thresholds.rules: threshold 1 is not"
    )


def test_malformed_toml_tells_line_and_column(error_of, tmp_path):
    error = error_of("[run]\nseed 5\n")
    assert error.message.startswith(f"{tmp_path / 'perfload.toml'}: ")
    assert "(at line 2, column 6)" in error.message


def test_files_that_cannot_be_read_are_errors(load, tmp_path):
    (tmp_path / "perfload.toml").write_bytes(b"# \xff")
    with pytest.raises(UsageError, match=r"perfload\.toml: byte 2 is not UTF-8"):
        load_config(directory=tmp_path, environ={}, flags={})
    (tmp_path / "perfload.toml").unlink()
    (tmp_path / ".env.performance").mkdir()
    with pytest.raises(UsageError, match=r"\.env\.performance: Is a directory"):
        load_config(directory=tmp_path, environ={}, flags={})


def test_bad_line_of_the_env_file_is_told_without_its_content(error_of):
    error = error_of(env="REDIS_URL=redis://localhost\nTEST_ADMIN_PASSWORD='hunter2\n")
    assert "line 2 is not understood" in error.message
    assert "hunter2" not in str(error)


def test_unknown_perfload_variable_in_the_env_file_is_an_error(error_of):
    error = error_of(env="PERFLOAD_REPORT_DIR=x")
    assert error.message.endswith(".env.performance: unknown variable PERFLOAD_REPORT_DIR")
    assert error.hint.startswith("did you mean PERFLOAD_REPORTS_DIR?")


def test_settings_hold_every_variable_as_it_is_written(load):
    config = load(
        env="MONGODB_URL=mongodb://u:p@db/app\nTEST_ADMIN_PASSWORD=a${HOME}$b\nOWN_THING=x\nREDIS_URL=\nPERFLOAD_SEED=1",
        environ={"OPENAI_TEST_API_KEY": "sk-abcdefgh", "OWN_THING": "y", "HOME": "/root", "PATH": "/bin"},
    )
    assert dict(config.settings) == {
        "MONGODB_URL": "mongodb://u:p@db/app",
        "TEST_ADMIN_PASSWORD": "a${HOME}$b",
        "OPENAI_TEST_API_KEY": "sk-abcdefgh",
        "OWN_THING": "y",
    }


def test_repr_of_the_configuration_hides_secrets(load):
    shown = repr(
        load(
            env="MONGODB_URL=mongodb://u:hunter2@db/app\nTEST_ADMIN_PASSWORD=hunter2\nTEST_ADMIN_EMAIL=a@b.test",
            environ={"ANTHROPIC_TEST_API_KEY": "hunter2"},
        )
    )
    assert "hunter2" not in shown
    assert "'MONGODB_URL': 'mongodb://***@db/app'" in shown
    assert "'TEST_ADMIN_EMAIL': 'a@b.test'" in shown


def test_example_env_file_is_valid_and_lists_every_variable(load):
    example = (ROOT / ".env.performance.example").read_text(encoding="utf-8")
    assert load(env=example).host == "http://localhost:8000"
    variables = {line.removeprefix("# ").partition("=")[0] for line in example.splitlines() if "=" in line}
    assert variables == {*SETTINGS, *OWN_VARIABLES}


def test_example_values_of_the_keys_are_valid(load):
    example = (ROOT / ".env.performance.example").read_text(encoding="utf-8")
    enabled = load(env=example.replace("# PERFLOAD_", "PERFLOAD_"))
    assert (enabled.wait_s, enabled.drain_s, enabled.max_lag_p95_ms) == (30.0, 60.0, 50.0)


def test_every_key_and_variable_is_documented():
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    names = (*(key.name for key in KEYS), *OWN_VARIABLES, *SETTINGS)
    assert [name for name in names if f"`{name}`" not in page] == []

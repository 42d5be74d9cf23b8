import locust.argument_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from locust import stats

from perfload.config import KEYS, load_config
from perfload.load.statistics import bucket_response_time
from perfload.options import FLAG_KEYS, STOP_TIMEOUT_S, add_options, config_flags


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> object:
    """Locust's own parser: importing perfload.load has made its options a part of it."""
    for key in KEYS:
        monkeypatch.delenv(key.variable or "PERFLOAD_NOTHING", raising=False)
    monkeypatch.setattr(locust.argument_parser, "DEFAULT_CONFIG_FILES", [])
    return locust.argument_parser.get_parser(default_config_files=[])


def options(parser: object, *arguments: str) -> dict[str, object]:
    return dict(vars(parser.parse_args(list(arguments))))  # type: ignore[attr-defined]


def test_every_flag_is_an_option_and_overrides_a_key_that_exists(parser: object) -> None:
    assert FLAG_KEYS.keys() <= options(parser).keys()
    assert set(FLAG_KEYS.values()) <= {key.name for key in KEYS}
    assert len(set(FLAG_KEYS.values())) == len(FLAG_KEYS)


def test_listeners_are_on_loopback_and_users_may_finish_unless_asked_otherwise(parser: object) -> None:
    found = options(parser)
    assert found["web_host"] == "127.0.0.1"
    assert found["master_bind_host"] == "127.0.0.1"
    assert found["stop_timeout"] == STOP_TIMEOUT_S == 10.0
    asked = options(parser, "--web-host", "0.0.0.0", "--master-bind-host", "*", "--stop-timeout", "3")
    assert (asked["web_host"], asked["master_bind_host"], asked["stop_timeout"]) == ("0.0.0.0", "*", 3.0)


def test_flags_that_were_not_given_override_nothing(parser: object, tmp_path: object) -> None:
    flags = config_flags(options(parser))
    assert flags == dict.fromkeys(FLAG_KEYS.values())
    plain = load_config(directory=tmp_path, environ={}, flags={})  # type: ignore[arg-type]
    assert load_config(directory=tmp_path, environ={}, flags=flags) == plain  # type: ignore[arg-type]


def test_flags_reach_the_configuration(parser: object, tmp_path: object) -> None:
    found = options(
        parser,
        "--time-scale=60",
        "--allow-host=a.example.com",
        "--allow-host=*.b.example.com",
        "--wait-for-target=90s",
        "--threshold=p95 < 1s",
        "--threshold=error_rate <= 2%",
        "--reports-dir=elsewhere",
        "--seed=7",
    )
    config = load_config(directory=tmp_path, environ={}, flags=config_flags(found))  # type: ignore[arg-type]
    assert (config.time_scale, config.wait_s, config.seed) == (60.0, 90.0, 7)
    assert [rule.text for rule in config.rules] == ["p95 < 1s", "error_rate <= 2%"]
    assert config.reports_dir == tmp_path / "elsewhere"  # type: ignore[operator]
    config.host_rules.check("http://x.b.example.com")
    config.host_rules.check("http://a.example.com")


def test_a_flag_is_stronger_than_the_environment(parser: object, tmp_path: object) -> None:
    scales = []
    for arguments in ([], ["--time-scale=60"]):
        flags = config_flags(options(parser, *arguments))
        environ = {"PERFLOAD_TIME_SCALE": "12"}
        config = load_config(directory=tmp_path, environ=environ, flags=flags)  # type: ignore[arg-type]
        scales.append(config.time_scale)
    assert scales == [12.0, 60.0]


def test_no_option_holds_a_secret(parser: object) -> None:
    ours = {action.dest for action in ours_of(parser)}
    assert ours == {*FLAG_KEYS, "insecure_cluster"}
    assert [action.dest for action in ours_of(parser) if not action.help] == []


def ours_of(parser: object) -> list[object]:
    (group,) = [
        group
        for group in parser._action_groups  # type: ignore[attr-defined]
        if group.title == "perfload options"
    ]
    return list(group._group_actions)


def test_options_can_be_added_to_any_parser() -> None:
    parser = locust.argument_parser.get_empty_argument_parser(add_help=False)
    add_options(parser)
    assert vars(parser.parse_args(["--seed", "3"]))["seed"] == 3


# --- Locust's own statistics


@given(st.floats(0, 3_600_000))
def test_a_response_time_is_kept_within_a_thousandth(response_time_ms: float) -> None:
    half_us = 0.0005
    bucket = bucket_response_time(response_time_ms)
    assert abs(bucket - response_time_ms) <= response_time_ms / 1000 + half_us


def test_locust_counts_with_our_resolution() -> None:
    requests = stats.RequestStats()
    for response_time_ms in (147.3, 147.3, 993.0):
        requests.log_request("GET", "/a", response_time_ms, 10)
    assert requests.total.get_response_time_percentile(0.5) == pytest.approx(147.3, rel=1e-3)
    assert requests.get("/a", "GET").get_response_time_percentile(0.99) == pytest.approx(993.0, rel=1e-3)

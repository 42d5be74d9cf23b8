"""docker-compose.yml and .env.example: what is open, who may do what, where secrets come from."""

from __future__ import annotations

import json
import re

import pytest
import yaml

import perfload
from perfload.cli.main import build_parser
from perfload.config import OWN_VARIABLES, SETTINGS
from tests.unit.deploy.files import ROOT, compose, text, variables

SERVICES = compose()["services"]
OWN = ("master", "worker", "target")
GENERATORS = ("master", "worker")
SECRET = re.compile(r"_(PASSWORD|KEY|AUTH)$")
SUBSTITUTED = re.compile(r"(?<!\$)\$\{(?P<name>\w+)")


@pytest.fixture(params=SERVICES)
def service(request):
    return SERVICES[request.param]


def test_only_loopback_is_published(service):
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in service.get("ports", ()))


def test_what_is_published():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"master": ["127.0.0.1:8089:8089"], "grafana": ["127.0.0.1:3000:3000"]}


def test_the_cluster_has_a_network_of_its_own_that_leads_nowhere():
    assert compose()["networks"]["cluster"] == {"internal": True}
    on_it = [name for name, service in SERVICES.items() if "cluster" in service["networks"]]
    assert on_it == ["master", "worker"]
    assert '--master-bind-host "$${cluster:?' in SERVICES["master"]["command"][-1]
    assert "$$(address master.cluster)" in SERVICES["master"]["command"][-1]
    assert SERVICES["master"]["networks"]["cluster"]["aliases"] == ["master.cluster"]
    assert SERVICES["worker"]["command"][-2:] == ["--master-host", "master.cluster"]


def test_nobody_may_do_more_than_needed(service):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert service["mem_limit"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & service.keys()


def test_what_is_mounted_exists_and_cannot_be_changed(service):
    for volume in service.get("volumes", ()):
        source, _, rest = volume.partition(":")
        if source.startswith("./"):
            assert (ROOT / source).exists()
            assert rest.endswith(":ro")
        else:
            assert source in compose()["volumes"]


def test_every_service_says_whether_it_is_well(service):
    assert {"test", "interval", "timeout", "retries"} <= service["healthcheck"].keys()


def test_who_waits_for_whom():
    waits = {name: service["depends_on"] for name, service in SERVICES.items() if "depends_on" in service}
    healthy = {"condition": "service_healthy"}
    assert waits == {"worker": {"master": healthy}, "grafana": {"prometheus": healthy}}


def test_images_are_pinned_to_a_version(service):
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"])


@pytest.mark.parametrize("name", OWN)
def test_perfload_is_the_version_that_is_here(name):
    assert SERVICES[name]["image"] == f"perfload:{perfload.__version__}"
    assert SERVICES[name]["build"] == "."
    assert SERVICES[name]["init"] is True
    assert SERVICES[name]["ulimits"] == {"nofile": 65536}


@pytest.mark.parametrize("page", ["README.md", "docs/containers.md"])
def test_pages_name_the_version_that_is_here(page):
    assert set(re.findall(r"\bperfload:(\d[\w.]*)", text(page))) == {perfload.__version__}


def test_which_profiles_there_are():
    profiles = {name: service.get("profiles", []) for name, service in SERVICES.items()}
    assert profiles == {
        "master": [],
        "worker": [],
        "target": ["demo"],
        "mongo": ["stores"],
        "redis": ["stores"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }


def test_workers_come_back_and_a_load_test_does_not_start_again():
    assert SERVICES["worker"]["restart"] == "unless-stopped"
    assert SERVICES["master"]["restart"] == "no"


def test_the_target_understands_its_command():
    program, *arguments = SERVICES["target"]["command"]
    assert program == "perfload"
    assert build_parser().parse_known_args(arguments)[1] == []


# --- settings and secrets


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_get_every_setting_there_is(name):
    environment = {
        variable for variable in SERVICES[name]["environment"] if not variable.startswith("LOCUST_")
    }
    # Where records go is the volume's business.
    assert environment == {*OWN_VARIABLES, *SETTINGS} - {"PERFLOAD_REPORTS_DIR"}


def test_the_scenario_and_the_shape_exist():
    default = SERVICES["master"]["environment"]["LOCUST_LOCUSTFILE"]
    files = re.fullmatch(r"\$\{LOCUST_LOCUSTFILE:-(.*)\}", default)[1].split(",")
    assert len(files) == 2
    assert all((ROOT / name).is_file() for name in files)


def test_secrets_come_from_the_env_file(service):
    environment = service.get("environment", {})
    secrets = {name: value for name, value in environment.items() if SECRET.search(name)}
    assert all(value is None or re.fullmatch(r"\$\{\w+:[-?][^}]*\}", value) for value in secrets.values())


def test_no_default_holds_a_password():
    found = re.findall(r"\$\{(\w*(?:PASSWORD|KEY))(:-?)([^}]*)\}", text("docker-compose.yml"))
    assert {name: default for name, kind, default in found if kind == ":-"} == {
        "MONGO_PASSWORD": "",
        "REDIS_PASSWORD": "",
        "GRAFANA_PASSWORD": "",
    }


def test_nothing_starts_without_a_key():
    key = SERVICES["master"]["environment"]["PERFLOAD_CLUSTER_KEY"]
    assert re.fullmatch(r"\$\{PERFLOAD_CLUSTER_KEY:\?.*perfload cluster keygen.*\}", key)
    assert SERVICES["worker"]["environment"]["PERFLOAD_CLUSTER_KEY"] == key


def test_only_those_who_need_a_secret_have_it():
    holders = {}
    for name, service in SERVICES.items():
        for variable in filter(SECRET.search, service.get("environment", {})):
            holders.setdefault(variable, []).append(name)
    assert holders.pop("MONGO_INITDB_ROOT_PASSWORD") == ["mongo"]
    assert holders.pop("REDISCLI_AUTH") == ["redis"]
    assert holders.pop("GF_SECURITY_ADMIN_PASSWORD") == ["grafana"]
    assert all(names == list(GENERATORS) for names in holders.values())


def test_the_example_has_every_variable_and_no_secret():
    substituted = {match["name"] for match in SUBSTITUTED.finditer(text("docker-compose.yml"))}
    passed_on = {name for service in SERVICES.values() for name in service.get("environment", {})}
    example = variables(".env.example")
    assert substituted <= example.keys()
    assert example.keys() <= substituted | passed_on
    assert [name for name, value in example.items() if SECRET.search(name) and value] == []


@pytest.mark.parametrize("name", [".env", "deploy/kubernetes/secrets.env"])
def test_git_ignores_the_files_with_secrets(name):
    assert name in text(".gitignore").splitlines()


# --- monitoring


def test_grafana_has_a_password_and_no_strangers():
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert environment["GF_USERS_ALLOW_SIGN_UP"] == "false"


def scrape_jobs():
    jobs = yaml.safe_load(text("monitoring/prometheus.yml"))["scrape_configs"]
    return {job["job_name"]: job for job in jobs}


def mounts(name):
    """Return where the paths of the checkout are in a service, by path."""
    volumes = (volume.split(":") for volume in SERVICES[name]["volumes"])
    return {source.removeprefix("./"): target for source, target, *_ in volumes if source.startswith("./")}


def test_prometheus_reaches_the_master_where_it_listens():
    (target,) = scrape_jobs()["perfload"]["static_configs"][0]["targets"]
    alias, _, port = target.partition(":")
    assert SERVICES["master"]["networks"]["load"]["aliases"] == [alias]
    assert "load" in SERVICES["prometheus"]["networks"]
    assert f"load=$$(address {alias})" in SERVICES["master"]["command"][-1]
    assert 'export PERFLOAD_PROMETHEUS_BIND="$${load}"' in SERVICES["master"]["command"][-1]
    assert f"# PERFLOAD_PROMETHEUS_PORT={port}\n" in text(".env.example")
    assert "ports" not in SERVICES["prometheus"]


def test_prometheus_finds_its_rules_and_the_agents():
    config = yaml.safe_load(text("monitoring/prometheus.yml"))
    places = mounts("prometheus")
    assert places["monitoring/prometheus.yml"] == "/etc/prometheus/prometheus.yml"
    (agents,) = scrape_jobs()["perfload-agents"]["file_sd_configs"][0]["files"]
    for pattern in (*config["rule_files"], agents):
        folder = f"monitoring/{pattern.partition('/')[0]}"
        assert places[folder] == f"/etc/prometheus/{folder.removeprefix('monitoring/')}"
        assert list(ROOT.glob(f"monitoring/{pattern}"))


def test_the_token_of_the_agents_stays_out_of_git():
    assert scrape_jobs()["perfload-agents"]["authorization"] == {"credentials_file": "agents/token"}
    assert "token" in text("monitoring/agents/.gitignore").splitlines()


def test_no_agent_is_scraped_that_nobody_named():
    assert yaml.safe_load(text("monitoring/agents/agents.yml")) == []


def test_grafana_asks_the_prometheus_of_the_file():
    folder = "monitoring/grafana/provisioning/datasources"
    (source,) = yaml.safe_load(text(f"{folder}/prometheus.yml"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert mounts("grafana")[folder] == "/etc/grafana/provisioning/datasources"


def test_grafana_finds_its_dashboard():
    folder = "monitoring/grafana/provisioning/dashboards"
    (provider,) = yaml.safe_load(text(f"{folder}/perfload.yml"))["providers"]
    places = mounts("grafana")
    assert places[folder] == "/etc/grafana/provisioning/dashboards"
    assert places["monitoring/grafana/dashboards"] == provider["options"]["path"]


def test_every_panel_asks_the_data_source_that_is_there_and_has_a_place_of_its_own():
    sources = text("monitoring/grafana/provisioning/datasources/prometheus.yml")
    (source,) = yaml.safe_load(sources)["datasources"]
    panels = json.loads(text("monitoring/grafana/dashboards/perfload.json"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    asked = {target["datasource"]["uid"] for panel in panels for target in panel.get("targets", ())}
    assert asked == {source["uid"]}
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23

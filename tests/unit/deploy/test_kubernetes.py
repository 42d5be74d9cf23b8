"""deploy/kubernetes/: the parts name each other right, and nothing is open that need not be."""

from __future__ import annotations

import pytest

import perfload
from perfload.config import OWN_VARIABLES, SETTINGS
from tests.unit.deploy.files import KUBERNETES, resources, variables

(KUSTOMIZATION,) = resources("kustomization.yaml")
ALL = [resource for name in KUSTOMIZATION["resources"] for resource in resources(name)]
COMMON = KUSTOMIZATION["labels"][0]["pairs"]


def named(kind, name):
    (found,) = [one for one in ALL if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


DEPLOYMENTS = [named("Deployment", name) for name in ("perfload-master", "perfload-worker")]
MASTER, WORKER = (deployment["spec"]["template"] for deployment in DEPLOYMENTS)
(OPERATOR,) = resources("operator.yaml")


def container(pod):
    (found,) = pod["spec"]["containers"]
    return found


@pytest.fixture(params=[MASTER, WORKER], ids=["master", "worker"])
def pod(request):
    return request.param


def test_every_file_is_used():
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml", "operator.yaml"}
    assert files == set(KUSTOMIZATION["resources"])


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["metadata"]["name"])
def test_a_deployment_selects_its_own_pods(deployment):
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_there_is_one_master_at_a_time():
    assert DEPLOYMENTS[0]["spec"]["replicas"] == 1
    assert DEPLOYMENTS[0]["spec"]["strategy"] == {"type": "Recreate"}


def test_workers_find_the_master():
    service = named("Service", "perfload-master")["spec"]
    assert service["selector"].items() <= MASTER["metadata"]["labels"].items()
    assert service["type"] == "ClusterIP"
    (port,) = service["ports"]
    assert port["port"] == 5557
    assert {"name": port["targetPort"], "containerPort": 5557} in container(MASTER)["ports"]
    arguments = container(WORKER)["args"]
    assert arguments[arguments.index("--master-host") + 1] == "perfload-master"


def test_workers_reach_the_cluster_port_and_nobody_else_anything():
    closed = named("NetworkPolicy", "perfload-closed")["spec"]
    assert closed["podSelector"]["matchLabels"] == COMMON  # not everything else in the namespace
    assert closed["policyTypes"] == ["Ingress"]
    assert "ingress" not in closed
    opened = named("NetworkPolicy", "perfload-cluster")["spec"]
    assert opened["podSelector"]["matchLabels"].items() <= MASTER["metadata"]["labels"].items()
    (rule,) = opened["ingress"]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"].items() <= WORKER["metadata"]["labels"].items()
    assert peer.keys() == {"podSelector"}
    assert [port["port"] for port in rule["ports"]] == ["cluster"]


def test_the_web_ui_stays_on_the_pods_loopback():
    arguments = container(MASTER)["args"]
    assert arguments[arguments.index("--web-host") + 1] == "127.0.0.1"
    assert container(MASTER)["readinessProbe"]["exec"]["command"] == ["health", "http://127.0.0.1:8089/"]
    assert not [one for one in ALL if one["kind"] in {"Ingress", "HTTPRoute"}]
    assert "--web-host 127.0.0.1" in OPERATOR["spec"]["master"]["command"]


def test_a_worker_is_ready_when_it_has_its_master():
    assert container(WORKER)["readinessProbe"]["exec"]["command"] == ["health", "connected:5557"]


LOCKED_POD = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
LOCKED_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def test_nobody_may_do_more_than_needed(pod):
    assert LOCKED_POD.items() <= pod["spec"]["securityContext"].items()
    assert container(pod)["securityContext"] == LOCKED_CONTAINER
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["enableServiceLinks"] is False


def test_memory_is_limited_and_the_processor_is_not(pod):
    resources = container(pod)["resources"]
    assert resources["limits"].keys() == {"memory"}
    assert resources["requests"].keys() == {"cpu", "memory"}


def test_the_master_writes_to_the_claim_that_there_is():
    mounts = {mount["mountPath"]: mount["name"] for mount in container(MASTER)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in MASTER["spec"]["volumes"]}
    claim = volumes[mounts["/load/reports"]]["persistentVolumeClaim"]["claimName"]
    assert named("PersistentVolumeClaim", claim)
    assert MASTER["spec"]["securityContext"]["fsGroup"] == 10001


def test_settings_and_secrets_are_those_that_are_generated(pod):
    (settings,) = KUSTOMIZATION["configMapGenerator"]
    (secrets,) = KUSTOMIZATION["secretGenerator"]
    assert container(pod)["envFrom"] == [
        {"configMapRef": {"name": settings["name"]}},
        {"secretRef": {"name": secrets["name"]}},
    ]
    assert settings["envs"] == ["settings.env"]
    assert secrets["envs"] == ["secrets.env"]


def test_the_env_files_have_known_names_and_no_secret():
    settings = variables("deploy/kubernetes/settings.env")
    secrets = variables("deploy/kubernetes/secrets.env.example")
    assert {*settings, *secrets} <= {*OWN_VARIABLES, *SETTINGS, "LOCUST_LOCUSTFILE"}
    assert not [name for name in settings if name.endswith(("_KEY", "_PASSWORD"))]
    assert secrets["PERFLOAD_CLUSTER_KEY"] == ""
    for name in settings["LOCUST_LOCUSTFILE"].split(","):
        assert (KUBERNETES.parents[1] / name).is_file()


def test_the_image_has_the_version_that_is_here(pod):
    (image,) = KUSTOMIZATION["images"]
    assert container(pod)["image"] == image["name"]
    assert image["newTag"] == perfload.__version__
    assert OPERATOR["spec"]["image"] == f"{image['newName']}:{image['newTag']}"


def test_the_operator_gets_the_same():
    spec = OPERATOR["spec"]
    assert spec["security"]["podSecurityContext"] == MASTER["spec"]["securityContext"]
    assert spec["security"]["containerSecurityContext"] == LOCKED_CONTAINER
    assert spec["env"] == {"configMapRefs": [{"name": "perfload"}], "secretRefs": [{"name": "perfload"}]}
    assert spec["master"]["resources"] == container(MASTER)["resources"]
    assert spec["worker"]["resources"] == container(WORKER)["resources"]
    assert spec["volumes"] == MASTER["spec"]["volumes"]

"""If a token names no issuer, remedies take it from the job that refreshes the token, or from the proxy."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cluster import Cluster
from tests.support.dex import jwt
from tests.support.proxy import Server
from tests.webhook.doctor.probing import ask
from webhook.cluster.kube import KubeClient
from webhook.core.values import SecretKey
from webhook.doctor.namespace import check_token, read_token
from webhook.doctor.refresh_job import NAME, NO_JOB, RefreshJob, find_refresh_job

NOW = datetime(2026, 6, 1, tzinfo=UTC)
COMPONENT = Path(__file__).parents[3] / "manifests" / "components" / "token-refresh"
CRONJOBS = "/apis/batch/v1/namespaces/team-a/cronjobs"
CONFIG_MAP = f"/api/v1/namespaces/team-a/configmaps/{NAME}"
ISSUER = "http://dex.auth.svc.cluster.local:5556/dex"
SECRET = SecretKey("mlflow-token")
COMMAND = f"mlflow-webhook token refresh --namespace team-a --issuer {ISSUER}"
IN_THE_CLUSTER = f"   # or: kubectl create job --namespace team-a --from=cronjob/{NAME} token-$(date +%s)"


@pytest.fixture
def client(cluster: Cluster) -> KubeClient:
    """A cluster with the component as it is shipped, and no Secret."""
    cluster.objects[CRONJOBS] = {"items": [yaml.safe_load((COMPONENT / "cronjob.yaml").read_text())]}
    cluster.objects[CONFIG_MAP] = yaml.safe_load((COMPONENT / "configmap.yaml").read_text())
    return KubeClient.from_environment(kubeconfig=str(cluster.kubeconfig))


def container(cluster: Cluster) -> dict[str, Any]:
    job = cluster.objects[CRONJOBS]["items"][0]
    found: dict[str, Any] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_job_of_the_component_is_found_by_its_label() -> None:
    kustomization = yaml.safe_load((COMPONENT / "kustomization.yaml").read_text())
    assert kustomization["labels"][0]["pairs"]["app.kubernetes.io/name"] == NAME


def test_without_a_secret_the_remedy_names_the_issuer_and_the_job(client: KubeClient) -> None:
    finding = read_token(client, "team-a", SECRET).finding
    assert (finding.code, finding.remedy) == ("secret_missing", COMMAND + IN_THE_CLUSTER)


@pytest.mark.parametrize(
    ("stored", "code"), [({"jwt": "YQ=="}, "key_missing"), ({}, "key_missing"), ({"token": "/w=="}, "not_text")]
)
def test_without_a_readable_token_the_remedy_names_them_too(
    stored: dict[str, str], code: str, client: KubeClient, cluster: Cluster
) -> None:
    cluster.secrets["mlflow-token"] = {"metadata": {}, "data": stored}
    finding = read_token(client, "team-a", SECRET).finding
    assert (finding.code, finding.remedy) == (code, COMMAND + IN_THE_CLUSTER)


def test_for_a_text_that_is_not_a_token_the_remedy_names_them_too(client: KubeClient, cluster: Cluster) -> None:
    cluster.put(b"rubbish")
    stored = read_token(client, "team-a", SECRET)
    assert stored.token == "rubbish"
    assert check_token(stored.token, namespace="team-a", job=stored.job, now=NOW).remedy == COMMAND + IN_THE_CLUSTER


def test_a_token_that_names_its_issuer_needs_no_job(client: KubeClient, cluster: Cluster) -> None:
    cluster.put(jwt().encode())
    assert read_token(client, "team-a", SECRET).job == NO_JOB


@pytest.mark.parametrize(
    "settings",
    [
        {"args": ["token", "refresh", "--issuer", "https://a/dex"]},
        {"args": ["token", "refresh", "--issuer=https://a/dex"]},
        {"command": ["mlflow-webhook", "token", "refresh", "--issuer", "https://a/dex"], "args": None},
        {"env": [{"name": "X", "value": "y"}, {"name": "MLFLOW_TOKEN_ISSUER", "value": "https://a/dex"}]},
        {"env": [{"name": "MLFLOW_TOKEN_ISSUER", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "where"}}}]},
        {"envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "d"}, "prefix": "MLFLOW_"}]},
        {"args": ["token", "refresh", "--issuer"], "envFrom": [{"configMapRef": {"name": "e"}}]},
    ],
)
def test_the_issuer_may_be_set_in_every_way(settings: dict[str, Any], client: KubeClient, cluster: Cluster) -> None:
    configured = container(cluster)
    configured.pop("envFrom")
    configured.update(settings)
    for name, data in (("c", {"where": "https://a/dex"}), ("d", {"TOKEN_ISSUER": "https://a/dex"})):
        cluster.objects[f"/api/v1/namespaces/team-a/configmaps/{name}"] = {"data": data}
    cluster.objects["/api/v1/namespaces/team-a/configmaps/e"] = {"data": {"MLFLOW_TOKEN_ISSUER": "https://a/dex"}}
    assert find_refresh_job(client, "team-a") == RefreshJob(NAME, "https://a/dex")


def test_resources_that_may_not_be_read_count_as_unknown(client: KubeClient, cluster: Cluster) -> None:
    cluster.forbidden = {CRONJOBS}
    assert find_refresh_job(client, "team-a") == RefreshJob(issuer=ISSUER)
    cluster.forbidden = {CRONJOBS, CONFIG_MAP}
    assert find_refresh_job(client, "team-a") == NO_JOB
    cluster.forbidden = {CONFIG_MAP}
    assert find_refresh_job(client, "team-a") == RefreshJob(NAME)
    remedy = read_token(client, "team-a", SECRET).finding.remedy
    assert remedy == f"mlflow-webhook token refresh --namespace team-a --issuer ISSUER{IN_THE_CLUSTER}"


def test_a_proxy_that_signs_people_in_at_dex_tells_the_issuer_where_nothing_else_does(server: Server) -> None:
    remedy = ask(server, token=None)["proxy-accepts-token"].remedy
    assert remedy == f"mlflow-webhook token refresh --namespace NAMESPACE --issuer {server.issuer}"
    known = ask(server, token=None, job=RefreshJob(NAME, ISSUER))["proxy-accepts-token"].remedy
    assert known.startswith(
        f"mlflow-webhook token refresh --namespace NAMESPACE --issuer {ISSUER}   # or: kubectl create"
    )

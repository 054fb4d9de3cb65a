"""Which variables from ConfigMaps and Secrets conflict with a pod's wiring."""

from __future__ import annotations

from typing import Any, cast

import pytest

from webhook.cluster.kube import KubeClient
from webhook.cluster.kube_errors import KubeForbiddenError, KubeNotFoundError, KubeUnavailableError
from webhook.doctor.env_from import check_env_from
from webhook.doctor.findings import Finding, Status

WIRED = [
    {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow"},
    {"name": "MLFLOW_TRACKING_TOKEN"},
    {"name": "MLFLOW_EXPERIMENT_NAME", "value": "nightly"},
]
SECRET = {"secretRef": {"name": "s"}}
CONFIG_MAP = {"configMapRef": {"name": "c"}}


class Objects:
    """The ConfigMap c and the Secret s of a namespace, with these keys; or what reading them raises."""

    def __init__(self, found: list[str] | Exception) -> None:
        self._found = found

    def get(self, path: str) -> dict[str, Any]:
        assert path in {"/api/v1/namespaces/team-a/secrets/s", "/api/v1/namespaces/team-a/configmaps/c"}
        if isinstance(self._found, Exception):
            raise self._found
        return {"data": dict.fromkeys(self._found, "a value")} if self._found else {}


def check(found: list[str] | Exception, *sources: dict[str, Any], env: list[dict[str, Any]] = WIRED) -> list[Finding]:
    pod = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "env": env, "envFrom": list(sources)}, {"name": "other"}]},
    }
    findings = list(check_env_from(cast(KubeClient, Objects(found)), pod, "team-a"))
    assert "a value" not in str(findings)
    return findings


@pytest.mark.parametrize(
    ("keys", "source", "words"),
    [
        (
            ["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"],
            SECRET,
            "Secret s has MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_USERNAME: MLflow's client uses them in place of "
            "the token for the server in MLFLOW_TRACKING_URI",
        ),
        (
            ["MLFLOW_TRACKING_URI"],
            CONFIG_MAP,
            "ConfigMap c has MLFLOW_TRACKING_URI, which the one in the container's env",
        ),
        (["MLFLOW_REGISTRY_URI"], CONFIG_MAP, "has MLFLOW_REGISTRY_URI: MLflow's client sends the token there"),
        (["MLFLOW_GATEWAY_URI"], SECRET, "has MLFLOW_GATEWAY_URI: MLflow's client sends the token there"),
        (
            ["MLFLOW_EXPERIMENT_ID"],
            CONFIG_MAP,
            "has MLFLOW_EXPERIMENT_ID: MLflow refuses it if it is not the id of MLFLOW_EXPERIMENT_NAME",
        ),
        (["TRACKING_AUTH"], {**SECRET, "prefix": "MLFLOW_"}, "Secret s has MLFLOW_TRACKING_AUTH"),
    ],
)
def test_a_key_that_is_a_server_or_credentials_is_named_with_its_effect(
    keys: list[str], source: dict[str, Any], words: str
) -> None:
    (finding,) = check(["OTHER", *keys], source)
    assert (finding.status, finding.code) == (Status.WARNED, "env_from_conflict")
    assert words in finding.message
    assert finding.message.startswith("p, container c: ")


@pytest.mark.parametrize("keys", [[], ["OTHER"], ["MLFLOW_TRACKING_TOKEN"]], ids=["empty", "other", "overridden"])
def test_other_keys_are_no_conflict(keys: list[str]) -> None:
    (finding,) = check(keys, CONFIG_MAP, SECRET)
    assert finding.status is Status.PASSED


def test_an_experiment_id_without_a_name_passes() -> None:
    (finding,) = check(["MLFLOW_EXPERIMENT_ID"], CONFIG_MAP, env=WIRED[:2])
    assert finding.status is Status.PASSED


def test_a_prefix_makes_other_names() -> None:
    (finding,) = check(["MLFLOW_TRACKING_PASSWORD"], {**SECRET, "prefix": "OLD_"})
    assert finding.status is Status.PASSED


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KubeForbiddenError("no", status=403), "you may not read Secret s"),
        (KubeUnavailableError("the API server is away"), "Secret s could not be read: the API server is away"),
    ],
)
def test_without_the_right_to_read_the_check_says_so(error: Exception, words: str) -> None:
    (finding,) = check(error, SECRET)
    assert finding.status is Status.SKIPPED
    assert words in finding.message


def test_what_does_not_exist_gives_no_variables() -> None:
    (finding,) = check(KubeNotFoundError("no", status=404), SECRET)
    assert finding.status is Status.PASSED


def test_a_container_without_env_from_or_without_a_server_is_not_checked() -> None:
    assert check(["MLFLOW_TRACKING_PASSWORD"]) == []
    assert check(["MLFLOW_TRACKING_PASSWORD"], SECRET, env=[]) == []
    assert check(["MLFLOW_TRACKING_PASSWORD"], {"configMapRef": {"name": "metadata-grpc-configmap"}}) == []

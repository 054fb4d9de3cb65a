"""Values that are both in manifests and in code are equal. tests/cluster installs the manifests."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from webhook import __version__
from webhook.cluster.storage import CONFIGURATIONS
from webhook.core.configuration import Platform
from webhook.core.names import LABEL
from webhook.doctor.installation import shipped_entries
from webhook.serving import mutate
from webhook.serving.metrics import Metrics
from webhook.settings import SETTINGS, load_settings

MANIFESTS = Path(__file__).parent.parent.parent / "manifests"
OTHERS = {"kustomization.yaml", "config.yaml", "names.yaml", "variables.yaml"}
"""Files without objects: for kustomize, or with the settings."""
FILES = sorted(path for path in MANIFESTS.rglob("*.yaml") if path.name not in OTHERS)


def documents(*parts: str) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all(MANIFESTS.joinpath(*parts).read_text()) if found]


def of_kind(kind: str, *parts: str) -> dict[str, Any]:
    return next(document for document in documents(*parts) if document["kind"] == kind)


DEPLOYMENT = of_kind("Deployment", "base", "deployment.yaml")
POD = DEPLOYMENT["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]
WEBHOOKS = {
    entry["name"]: entry for entry in of_kind("MutatingWebhookConfiguration", "base", "webhook.yaml")["webhooks"]
}
EXPLICIT = WEBHOOKS["labelled-pods.mlflow.kubeflow.org"]
IMPLIED = [entry for name, entry in WEBHOOKS.items() if name.endswith(".labelled-namespaces.mlflow.kubeflow.org")]


DEFAULTS = load_settings(file=None, environment={})


def test_the_port_is_the_one_that_is_listened_on() -> None:
    (port,) = CONTAINER["ports"]
    assert port["containerPort"] == DEFAULTS.listen_port
    (served,) = of_kind("Service", "base", "service.yaml")["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    assert all(entry["clientConfig"]["service"]["port"] == served["port"] for entry in WEBHOOKS.values())


def test_names_in_the_manifests_are_those_of_the_settings() -> None:
    for entry in WEBHOOKS.values():
        service = entry["clientConfig"]["service"]
        assert (service["path"], service["name"]) == (mutate.PATH, DEFAULTS.service_name)
        assert service["namespace"] == of_kind("Namespace", "base", "namespace.yaml")["metadata"]["name"]
    configuration = of_kind("MutatingWebhookConfiguration", "base", "webhook.yaml")
    assert configuration["metadata"]["name"] == DEFAULTS.configuration_name
    assert configuration["apiVersion"] == CONFIGURATIONS


def test_serve_knows_the_probes_and_variables_and_files_of_the_manifests() -> None:
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/healthz"
    variables = {entry["name"] for entry in CONTAINER["env"]}
    files = documents("overlays", "cert-manager", "deployment.yaml")[0]["spec"]["template"]["spec"]
    variables |= {entry["name"] for entry in files["containers"][0]["env"]}
    assert variables <= {found.variable for found in SETTINGS}
    mounts = {mount["name"]: mount["mountPath"] for mount in files["containers"][0]["volumeMounts"]}
    assert mounts["certificate"] == DEFAULTS.certificate_directory


def test_the_shipped_configuration_is_valid_and_says_what_the_defaults_say() -> None:
    shipped = load_settings(file=MANIFESTS / "base" / "config.yaml", environment={}).platform
    default = Platform()
    assert shipped.tracking_uri.value == default.tracking_uri.value
    assert shipped.token_secret.value == default.token_secret.value
    assert shipped.workspaces.value == default.workspaces.value


def test_there_is_time_to_drain() -> None:
    assert POD["terminationGracePeriodSeconds"] > DEFAULTS.shutdown_delay.total_seconds() + 10


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Return whether a label selector matches, as in the API server: a missing label is not in any list."""
    tests: dict[str, Callable[[str | None, list[str]], bool]] = {
        "In": lambda value, values: value in values,
        "NotIn": lambda value, values: value not in values,
        "Exists": lambda value, _: value is not None,
        "DoesNotExist": lambda value, _: value is None,
    }
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        tests[asked["operator"]](labels.get(asked["key"]), asked.get("values", []))
        for asked in selector.get("matchExpressions", [])
    )


@pytest.mark.parametrize("kfp", [{}, {"pipelines.kubeflow.org/v2_component": "true"}])
@pytest.mark.parametrize("jobset", [{}, {"jobset.sigs.k8s.io/jobset-name": "finetune"}])
@pytest.mark.parametrize("asks", [None, "true", "false", "yes"])
def test_a_pod_is_sent_by_one_entry_at_most_and_by_one_if_it_may_be_wired(
    kfp: dict[str, str], jobset: dict[str, str], asks: str | None
) -> None:
    labels = {**kfp, **jobset, **({} if asks is None else {LABEL: asks})}
    senders = [entry["name"] for entry in WEBHOOKS.values() if selects(entry["objectSelector"], labels)]
    wanted = asks == "true" or (asks != "false" and bool(kfp or jobset))
    assert len(senders) == wanted


def test_a_trainjobs_initializers_are_not_sent_because_of_their_namespace() -> None:
    labels = {"jobset.sigs.k8s.io/jobset-name": "finetune"}
    for name, sent in (("dataset-initializer", False), ("model-initializer", False), ("node", True), ("worker", True)):
        labels["jobset.sigs.k8s.io/replicatedjob-name"] = name
        assert any(selects(entry["objectSelector"], labels) for entry in IMPLIED) is sent


def test_without_a_pod_label_only_pods_of_labelled_namespaces_are_sent() -> None:
    assert all(entry["namespaceSelector"]["matchLabels"] == {LABEL: "true"} for entry in IMPLIED)
    assert "matchLabels" not in EXPLICIT["namespaceSelector"]


@pytest.mark.parametrize("entry", WEBHOOKS.values(), ids=WEBHOOKS)
def test_the_entries_exclude_system_namespaces_and_time_out(entry: dict[str, Any]) -> None:
    own = of_kind("Namespace", "base", "namespace.yaml")["metadata"]
    (added,) = yaml.safe_load((MANIFESTS / "base" / "kustomization.yaml").read_text())["labels"]
    for labels in ({"kubernetes.io/metadata.name": "kube-system"}, {**own["labels"], **added["pairs"]}):
        assert not selects(entry["namespaceSelector"], {LABEL: "true", **labels})
    assert selects(entry["namespaceSelector"], {LABEL: "true", "kubernetes.io/metadata.name": "team-a"})
    assert entry["sideEffects"] == "None"
    assert entry["timeoutSeconds"] <= 5
    assert "caBundle" not in entry["clientConfig"]
    assert entry["rules"] == [
        {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CREATE"],
            "resources": ["pods"],
            "scope": "Namespaced",
        }
    ]


def test_only_pods_with_their_own_label_are_refused_when_the_webhook_fails() -> None:
    assert EXPLICIT["failurePolicy"] == "Fail"
    assert {entry["failurePolicy"] for entry in IMPLIED} == {"Ignore"}


def test_pod_security_restricted_is_met() -> None:
    pod, container = POD["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"]
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["readOnlyRootFilesystem"]
    assert container["capabilities"] == {"drop": ["ALL"]}


def test_no_secret_but_its_own_can_be_read() -> None:
    for file in FILES:
        for document in (found for found in yaml.safe_load_all(file.read_text()) if found):
            for rule in document.get("rules", []) if "Role" in document["kind"] else []:
                if "secrets" in rule["resources"] and rule["verbs"] != ["create"]:
                    assert document["kind"] == "Role"
                    assert rule["resourceNames"]
    names = [
        rule["resourceNames"]
        for rule in of_kind("Role", "overlays", "self-signed", "rbac.yaml")["rules"]
        if "resourceNames" in rule
    ]
    assert names == [[DEFAULTS.ca_secret_name], [DEFAULTS.lease_name]]


def test_the_webhook_has_only_the_rights_that_it_uses() -> None:
    granted = {
        (resource, *rule.get("resourceNames", ["any"])): set(rule["verbs"])
        for parts in (("base", "rbac.yaml"), ("overlays", "self-signed", "rbac.yaml"))
        for document in documents(*parts)
        for rule in document.get("rules", [])
        for resource in rule["resources"]
    }
    assert granted == {
        ("namespaces", "any"): {"get", "list", "watch"},  # a live read, and the watch
        ("mutatingwebhookconfigurations", DEFAULTS.configuration_name): {"get", "list", "watch", "patch"},
        ("secrets", "any"): {"create"},
        ("secrets", DEFAULTS.ca_secret_name): {"get", "list", "watch", "update"},  # by the field selector of its name
        ("leases", "any"): {"create"},
        ("leases", DEFAULTS.lease_name): {"get", "update"},
    }


@pytest.mark.parametrize("folder", ["base", "components/token-refresh"])
def test_the_images_tag_is_the_version(folder: str) -> None:
    (image,) = yaml.safe_load((MANIFESTS / folder / "kustomization.yaml").read_text())["images"]
    assert image == {"name": CONTAINER["image"], "newTag": __version__}


def test_the_image_is_labelled_with_version_revision_and_source() -> None:
    text = (MANIFESTS.parent / "Dockerfile").read_text()
    assert f"\nARG VERSION={__version__}\n" in text
    labels = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)="\$\{([A-Z]+)\}"', text))
    assert labels == {"version": "VERSION", "revision": "REVISION", "source": "SOURCE"}


def test_the_base_image_is_pinned_by_digest_labelled_and_can_be_replaced_by_a_build_argument() -> None:
    text = (MANIFESTS.parent / "Dockerfile").read_text()
    pinned, *stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+-slim@sha256:[0-9a-f]{64}", pinned[0])
    replaceable = f"${{PYTHON:-{pinned[1]}}}"
    assert stages == [(replaceable, "build"), (replaceable, "")]
    base = dict(re.findall(r'org\.opencontainers\.image\.base\.([a-z]+)="(\S+)"', text))
    assert f"{base['name']}@{base['digest']}" == f"docker.io/library/{pinned[0]}"


def test_the_docs_name_no_other_version() -> None:
    """The version is in webhook/__init__.py. Pages and manifests must repeat the same version."""
    for page in [MANIFESTS.parent / "README.md", *MANIFESTS.parent.glob("docs/*.md")]:
        named = re.findall(r"mlflow-webhook:(\d+\.\d+\.\d+)|\?ref=v(\d+\.\d+\.\d+)", page.read_text())
        assert {first or second for first, second in named} <= {__version__}, page


@pytest.mark.parametrize("file", ["prometheus/alerts.yaml", "grafana/mlflow-webhook.json"])
def test_alerts_and_dashboard_use_existing_metrics(file: str) -> None:
    metrics = Metrics()
    metrics.certificate_expiry.labels("leaf").set(1)
    known = {line.split()[2] for line in metrics.render().decode().splitlines() if line.startswith("# TYPE")}
    asked = set(re.findall(r"mlflow_webhook_[a-z_]+", (MANIFESTS / "components" / file).read_text()))
    assert asked
    assert {name.removesuffix("_bucket") for name in asked} <= known


def test_the_tokens_alert_is_about_the_components_own_job() -> None:
    rules = yaml.safe_load((MANIFESTS / "components" / "prometheus" / "alerts.yaml").read_text())
    (alert,) = [rule for rule in rules["spec"]["groups"][0]["rules"] if rule["alert"] == "MlflowTokenNotRefreshed"]
    job = yaml.safe_load((MANIFESTS / "components" / "token-refresh" / "cronjob.yaml").read_text())
    assert set(re.findall(r'cronjob="(.+?)"', alert["expr"])) == {job["metadata"]["name"]}


def test_the_doctor_compares_with_the_entries_that_are_shipped() -> None:
    shipped = documents("base", "webhook.yaml")[0]["webhooks"]
    assert shipped_entries() == shipped

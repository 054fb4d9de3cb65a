"""The doctor on a real API server: a healthy installation passes, and each planted fault is found."""

from __future__ import annotations

import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certs.issue import issue_ca
from tests.cluster.controlplane import ControlPlane
from tests.cluster.doctor_case import CA, DEPLOYMENT, JSON_PATCH, NOW, DoctorCase, healthy
from tests.cluster.installation import CONFIGURATION, ROOT
from tests.cluster.stream import pod
from tests.support.dex import OTHER_KEY
from tests.support.pods import KFP, plain
from tests.support.proxy import Server
from tests.support.waiting import wait_until
from webhook.cluster.kube import core_path, group_path


@pytest.fixture(scope="module")
def case(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoctorCase]:
    with healthy(control_plane, tmp_path_factory.mktemp("certificate")) as made:
        yield made


def test_nothing_is_found_on_a_healthy_installation(case: DoctorCase) -> None:
    code, every = case.check(case.namespace)
    assert code == 0
    assert [finding for finding in every if finding["status"] not in {"passed", "skipped"}] == []
    assert [finding["check"] for finding in every if finding["status"] == "skipped"] == ["run-written"]


def replace_service(server: Server, **switches: Any) -> None:
    for name, value in switches.items():
        setattr(server, name, value)


INSTALLATION_FAULTS: dict[str, Callable[[DoctorCase], Any]] = {
    "configuration_missing": lambda case: case.admin.delete(CONFIGURATION),
    "entry_missing": lambda case: case.spoil("/webhooks/1"),
    "entry_changed/failurePolicy": lambda case: case.spoil("/webhooks/0/failurePolicy", "Ignore"),
    "entry_changed/objectSelector": lambda case: case.spoil("/webhooks/0/objectSelector", {}),
    "entry_changed/namespaceSelector": lambda case: case.spoil(
        "/webhooks/1/namespaceSelector", {"matchLabels": {"mlflow-enabled": "true"}}
    ),
    "entry_changed/matchConditions": lambda case: case.spoil("/webhooks/1/matchConditions"),
    "entry_changed/rules": lambda case: case.spoil("/webhooks/0/rules/0/operations", ["CREATE", "UPDATE"]),
    "ca_bundle_missing": lambda case: case.bundle(None),
    "ca_bundle_wrong": lambda case: case.bundle(issue_ca(common_name="x", lifetime=timedelta(days=1), now=NOW)),
    "replica_not_ready": lambda case: case.ready(1),
    "no_replica_ready": lambda case: case.ready(0),
    "no_replica_ready/ErrImagePull": lambda case: case.ready(0, waiting="ErrImagePull"),
    "deployment_missing": lambda case: case.admin.delete(DEPLOYMENT),
}
FAULTS = INSTALLATION_FAULTS | {
    "namespace_not_labelled": lambda case: case.label(None),
    "label_not_true": lambda case: case.label("yes"),
    "annotation_ignored": lambda case: case.annotate("not a url"),
    "secret_missing": lambda case: case.admin.delete(core_path(case.namespace, "secrets", "mlflow-token")),
    "key_missing": lambda case: case.token(case.jwt(), key="jwt"),
    "token_empty": lambda case: case.token(""),
    "token_white_space": lambda case: case.token(case.jwt() + "\n"),
    "token_not_a_jwt": lambda case: case.token("abc"),
    "token_truncated": lambda case: case.token(case.jwt()[:-3]),
    "token_without_email": lambda case: case.token(case.jwt(email=None, email_verified=None)),
    "token_expired": lambda case: case.token(case.jwt(exp=int(time.time()) - 9)),
    "token_ends_soon": lambda case: case.token(case.jwt(exp=int(time.time()) + 999)),
    "token_other_audience": lambda case: case.token(case.jwt(aud="other")),
    "token_key_unknown": lambda case: case.token(case.jwt(key=OTHER_KEY, kid="1" * 40)),
    "bearer_not_accepted": lambda case: replace_service(case.server, takes_bearer=False),
    "identity_not_allowed": lambda case: replace_service(case.server, allowed=False),
    "mlflow_down": lambda case: replace_service(case.server, mlflow_up=False),
    "workspace_unknown": lambda case: replace_service(case.server, workspaces={"default"}),
    "workspaces_disabled": lambda case: replace_service(case.server, workspaces_enabled=False),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named_with_its_remedy(fault: str, case: DoctorCase) -> None:
    switches = dict(vars(case.server))
    FAULTS[fault](case)
    try:
        code, found = case.check(case.namespace)
    finally:
        vars(case.server).update(switches)
        if fault == "secret_missing":
            case.admin.create(core_path(case.namespace, "secrets"), {"metadata": {"name": "mlflow-token"}})
        case.cure(installation=fault in INSTALLATION_FAULTS)
        if fault.partition("/")[0] in {"replica_not_ready", "no_replica_ready", "deployment_missing"}:
            case.ready(2)
    bad = {finding["code"]: finding for finding in found if finding["code"]}
    expected = fault.partition("/")[0]
    assert expected in bad
    assert bad[expected]["remedy"]
    assert code == (3 if any(finding["status"] == "failed" for finding in bad.values()) else 0)
    if "/" in fault:
        assert fault.partition("/")[2] in bad[expected]["message"]


def test_an_expiring_certificate_and_an_unavailable_webhook_are_named(case: DoctorCase) -> None:
    replica = case.installation.replicas[0]
    before = len(replica.events("certificate in service"))
    case.serve(timedelta(hours=20))
    wait_until(lambda: len(replica.events("certificate in service")) > before, "the new certificate")
    _, found = case.check(case.namespace)
    assert "certificate_ends_soon" in [finding["code"] for finding in found]
    case.serve(timedelta(days=20))
    case.installation.stop(replica)
    code, found = case.check(case.namespace)
    codes = [finding["code"] for finding in found]
    files = {"MLFLOW_WEBHOOK_CERTIFICATES": "files", "MLFLOW_WEBHOOK_CERTIFICATE_DIRECTORY": str(case.folder)}
    case.installation.start(1, files)
    assert code == 3
    assert {"webhook_unreachable", "webhook_not_called"} <= set(codes)


EVERY = [
    *("webhook-configuration", "webhook-entries", "ca-bundle", "served-certificate", "webhook-replicas"),
    *("pod-comes-back-wired", "namespace-labelled", "namespace-annotations", "workspace-name", "token-secret"),
    *(
        "token-good",
        "long-runs",
        "pods-wired",
        "server-reachable",
        "proxy-accepts-token",
        "mlflow-answers",
        "server-workspaces",
    ),
    *("workspace-access", "run-written"),
]


def test_objects_that_the_user_may_not_read_are_skipped_and_named(
    control_plane: ControlPlane, case: DoctorCase
) -> None:
    code, every = case.check(case.namespace, kubeconfig=control_plane.service_account("default", "default"))
    assert code == 0
    assert [finding["check"] for finding in every] == EVERY
    passed = [finding["check"] for finding in every if finding["status"] == "passed"]
    assert passed == ["server-reachable"]
    assert all(finding["status"] == "skipped" for finding in every if finding["check"] not in passed)
    assert "you may not read" in every[0]["message"]


def test_a_user_of_one_namespace_sees_all_about_it_and_which_checks_were_skipped(
    control_plane: ControlPlane, case: DoctorCase
) -> None:
    account = control_plane.service_account(case.namespace, "default")
    bind = {
        "metadata": {"name": "user"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": case.namespace}],
    }
    bindings = group_path("rbac.authorization.k8s.io/v1", "rolebindings", namespace=case.namespace)
    case.admin.create(bindings, bind)
    try:
        wait_until(lambda: case.check(case.namespace, kubeconfig=account)[1] != [], "an answer")
        code, found = case.check(case.namespace, kubeconfig=account)
    finally:
        case.admin.delete(f"{bindings}/user")
    status = {finding["check"]: finding["status"] for finding in found}
    assert code == 0
    assert list(status) == EVERY
    skipped = [check for check, is_ in status.items() if is_ == "skipped"]
    # the installation is the platform's; with the role "edit" there, a namespace itself can be read
    assert skipped == [*EVERY[:5], "run-written"]
    assert {is_ for check, is_ in status.items() if check not in skipped} == {"passed"}


def test_a_server_with_a_certificate_of_a_private_ca_is_checked_with_that_ca(case: DoctorCase, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(CA.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(case.folder / "tls.crt", case.folder / "tls.key")
    plain_server, case.server = case.server, Server(context)
    case.server.issuer = plain_server.issuer
    case.server.workspaces = plain_server.workspaces
    try:
        code, untrusted = case.check(case.namespace)
        trusted, _ = case.check(case.namespace, f"--ca-file={tmp_path / 'ca.crt'}")
    finally:
        case.server.stop()
        case.server = plain_server
    assert code == 3
    assert "certificate_not_trusted" in [finding["code"] for finding in untrusted]
    assert trusted == 0
    _, said = case.run(case.namespace, f"--ca-file={PAGE}")
    assert "contains no certificate in PEM form" in said


def test_waiting_ends_when_nothing_fails_any_more(case: DoctorCase) -> None:
    case.label("yes")
    timer = threading.Timer(4, lambda: case.label("true"))
    timer.start()
    try:
        began = time.monotonic()
        code, _ = case.run(case.namespace, "--wait=250")
        assert code == 0
        assert time.monotonic() - began > 3
    finally:
        timer.cancel()
        timer.join()
        case.label("true")


def test_waiting_continues_until_there_is_a_pod_to_check(case: DoctorCase) -> None:
    late = pod("late")
    timer = threading.Timer(4, lambda: case.admin.create(core_path(case.namespace, "pods"), late))
    timer.start()
    try:
        code, said = case.run("pod", "late", f"--namespace={case.namespace}", "--wait=250")
    finally:
        timer.join()
        case.admin.delete(core_path(case.namespace, "pods", "late"))
    assert code == 0, said


def test_waiting_ends_after_the_given_time_and_says_what_still_fails(case: DoctorCase) -> None:
    case.label("yes")
    try:
        code, found = case.check(case.namespace, "--wait=1")
    finally:
        case.label("true")
    assert code == 3
    assert "label_not_true" in [finding["code"] for finding in found]


def test_without_the_webhook_the_settings_of_its_deployment_are_used(case: DoctorCase) -> None:
    variable = {"name": "MLFLOW_WEBHOOK_TOKEN_SECRET", "value": "platform/jwt"}
    place = "/spec/template/spec/containers/0/env"
    case.admin.patch(DEPLOYMENT, [{"op": "add", "path": f"{place}/-", "value": variable}], content_type=JSON_PATCH)
    replica = case.installation.replicas[0]
    case.installation.stop(replica)
    try:
        _, found = case.check(case.namespace)
    finally:
        entries = case.admin.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"][0]["env"]
        remove = {"op": "remove", "path": f"{place}/{entries.index(variable)}"}
        case.admin.patch(DEPLOYMENT, [remove], content_type=JSON_PATCH)
        files = {"MLFLOW_WEBHOOK_CERTIFICATES": "files", "MLFLOW_WEBHOOK_CERTIFICATE_DIRECTORY": str(case.folder)}
        case.installation.start(1, files)
        case.cure()
        case.ready(2)
    assert f"Secret {case.namespace}/platform not found." in [finding["message"] for finding in found]


def test_a_pods_wiring_is_explained_and_compared_with_now(case: DoctorCase) -> None:
    body = pod("explained")
    case.admin.create(core_path(case.namespace, "pods"), body)
    code, found = case.check("pod", "explained", "-n", case.namespace)
    assert (code, [finding["status"] for finding in found]) == (0, ["passed", "passed"])
    assert "wired (wired_by_pod_label)" in found[0]["message"]
    assert "the client plugin is off" in found[1]["message"]
    case.annotate("another", "experiment")
    _, found = case.check("pod", "explained", "-n", case.namespace)
    case.annotate(None, "experiment")
    case.wait_for_environment(lambda found: found.get("MLFLOW_EXPERIMENT_NAME") != "another")
    assert found[0]["code"] == "values_changed"
    assert "c: MLFLOW_EXPERIMENT_NAME=another" in found[0]["message"]


def test_all_pods_of_a_trainjob_are_explained_even_those_that_were_missed(case: DoctorCase) -> None:
    for name, label in (("missed", "false"), ("wired", None)):
        body: dict[str, Any] = {
            "metadata": {"name": name, "labels": {"jobset.sigs.k8s.io/jobset-name": "job"}},
            "spec": {"containers": [{"name": "node", "image": "i"}]},
        }
        if label:
            body["metadata"]["labels"]["mlflow-enabled"] = label
        case.admin.create(core_path(case.namespace, "pods"), body)
    case.admin.patch(core_path(case.namespace, "pods", "missed"), {"metadata": {"labels": {"mlflow-enabled": None}}})
    code, found = case.check("trainjob", "job", "-n", case.namespace)
    case.admin.delete(core_path(case.namespace, "pods", "missed"))
    assert code == 3
    assert {finding["code"] for finding in found} == {"", "not_wired_but_would_be"}
    code, output = case.run("run", "no-such-run", "-n", case.namespace)
    assert (code, output.splitlines()) == (
        1,
        [
            f"Error: no pods of run no-such-run found in namespace {case.namespace}.",
            f"To see its MLflow runs: mlflow-webhook runs run no-such-run --namespace {case.namespace}",
        ],
    )


def test_training_pods_that_run_unwired_are_named_until_they_are_created_again(case: DoctorCase) -> None:
    """A pod that was created while the webhook was away is one that it never saw: here, one that had opted out."""
    path = core_path(case.namespace, "pods")
    for name, labels in (
        ("ended", {"pipeline/runid": "r1"}),
        ("missed-1", {"pipeline/runid": "r2"}),
        ("missed-2", {}),
        ("opted-out", {"mlflow-enabled": "false"}),
    ):
        body = plain(KFP, name)
        body["metadata"]["labels"] |= {"mlflow-enabled": "false", **labels}
        if "pipeline/runid" not in labels:
            del body["metadata"]["labels"]["pipeline/runid"]
            del body["metadata"]["labels"]["workflows.argoproj.io/workflow"]
        case.admin.create(path, body)
        if name != "opted-out":
            case.admin.patch(f"{path}/{name}", {"metadata": {"labels": {"mlflow-enabled": None}}})
    case.admin.patch(f"{path}/ended/status", {"status": {"phase": "Succeeded"}})
    try:
        code, found = case.check(case.namespace)
        (finding,) = [finding for finding in found if finding["check"] == "pods-wired"]
        assert (code, finding["code"]) == (3, "pods_not_wired")
        assert "missed-1, missed-2." in finding["message"]
        assert "Start again: pipeline run r2." in finding["remedy"]
        assert f"kubectl delete pod --namespace {case.namespace} missed-2" in finding["remedy"]
    finally:
        for name in ("ended", "missed-1", "missed-2", "opted-out"):
            case.admin.delete(f"{path}/{name}")
    _, found = case.check(case.namespace)
    assert [finding["status"] for finding in found if finding["check"] == "pods-wired"] == ["passed"]


def test_the_json_is_an_array_of_sections_with_stable_names(case: DoctorCase) -> None:
    _, sections = case.sections(case.namespace)
    assert [section["section"] for section in sections] == ["installation", "namespace", "server"]
    assert [section["subject"] for section in sections][:2] == ["mlflow-webhook", case.namespace]
    keys = {"check", "status", "message", "code", "remedy"}
    for section in sections:
        assert section.keys() == {"section", "subject", "note", "findings"}
        assert {frozenset(finding) for finding in section["findings"]} == {frozenset(keys)}
    case.admin.create(core_path(case.namespace, "pods"), pod("in-json"))
    _, sections = case.sections("pod", "in-json", "-n", case.namespace)
    assert [(section["section"], section["subject"]) for section in sections] == [("pod", "in-json")]


def test_the_client_plugin_is_seen_in_the_namespace_and_in_a_pod(case: DoctorCase) -> None:
    case.annotate("true", "client-plugin")
    try:
        case.wait_for_environment(lambda found: "PYTHONPATH" in found)
        case.admin.create(core_path(case.namespace, "pods"), pod("with-plugin"))
        _, found = case.check(case.namespace)
        (long_runs,) = [finding for finding in found if finding["check"] == "long-runs"]
        assert long_runs["code"] == "token_not_refreshed"
        code, found = case.check("pod", "with-plugin", "-n", case.namespace)
        assert (code, [finding["status"] for finding in found]) == (0, ["passed"] * 3), found
        assert found[1]["message"] == "the client plugin is in c"
        case.token(case.jwt(), key="jwt")
        code, found = case.check("pod", "with-plugin", "-n", case.namespace)
        assert (code, found[2]["code"]) == (3, "token_file_missing")
    finally:
        case.annotate(None, "client-plugin")
        case.cure(installation=False)
        case.wait_for_environment(lambda found: "PYTHONPATH" not in found)


def test_the_pods_of_a_run_of_kfp_are_explained(case: DoctorCase) -> None:
    body = plain(KFP, "impl")
    run = body["metadata"]["labels"]["pipeline/runid"]
    case.admin.create(core_path(case.namespace, "pods"), body)
    code, found = case.check("run", run, "-n", case.namespace)
    assert code == 0
    assert "impl was wired (wired_by_namespace_label)" in found[0]["message"]


PAGE = ROOT / "docs" / "checks.md"


def test_the_transcripts_in_the_docs_are_true(case: DoctorCase) -> None:
    """Run with UPDATE_TRANSCRIPTS=1 to write them again."""
    _, healthy = case.process(case.namespace)
    case.token(case.jwt(exp=int(time.time()) - 7300))
    case.spoil("/webhooks/1/matchConditions")
    try:
        _, broken = case.process(case.namespace)
    finally:
        case.cure()
    page = PAGE.read_text()
    for title, said in (("healthy", healthy), ("broken", broken)):
        said = said.replace(case.namespace, "team-a").replace(case.server.url, "http://127.0.0.1:8080")
        said = said.replace(case.dex.issuer, "http://dex.auth.svc.cluster.local:5556/dex")
        said = re.sub(r"found; wired pods: \d+", "found; wired pods: 4", said)
        said = re.sub(r"expires in 1?\d\.\d days", "expires in 20.0 days", said)
        said = re.sub(r"expires in 23 h \d+ min", "expires in 23 h 59 min", said)
        wanted = f"<!-- {title} -->\n```\n{said.rstrip()}\n```\n"
        present = re.search(rf"<!-- {title} -->\n```\n.*?\n```\n", page, re.DOTALL)
        assert present, title
        if os.environ.get("UPDATE_TRANSCRIPTS"):
            page = page.replace(present[0], wanted)
            PAGE.write_text(page)
        assert present[0] == wanted or os.environ.get("UPDATE_TRANSCRIPTS")

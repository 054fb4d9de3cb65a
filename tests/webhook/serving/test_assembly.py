"""The webhook as it is put together in a cluster: the real server and certificates, and a fake API server."""

from __future__ import annotations

import json
import re
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from certs.issue import issue_ca, issue_leaf
from tests.support.kube import FakeKube
from tests.support.pods import FOLDER, KFP
from tests.support.waiting import DEADLINE, wait_for_threads, wait_until
from webhook.cluster import loop
from webhook.serving import assembly
from webhook.serving.assembly import StartError, run_in_cluster
from webhook.serving.server import Server
from webhook.settings import load_settings

SECRET = "/api/v1/namespaces/mlflow-webhook/secrets/mlflow-webhook-ca"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/mlflow-webhook/leases/mlflow-webhook"
CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/mlflow-webhook"
BODY = (FOLDER / KFP).read_bytes()


class Running:
    """A webhook that serves."""

    def __init__(self, server: Server) -> None:
        self.port = server.servers[0].sockets[0].getsockname()[1]

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        with httpx.Client(verify=False, trust_env=False, timeout=DEADLINE) as client:
            return client.request(method, f"https://127.0.0.1:{self.port}{path}", **arguments)

    def checks(self) -> dict[str, str]:
        checks: dict[str, str] = self.request("GET", "/readyz").json()["checks"]
        return checks

    def wait_until_ready(self) -> None:
        ready = self.request
        wait_until(lambda: ready("GET", "/readyz").status_code == 200, "it to be ready", every=0.02)

    def names(self) -> list[str]:
        served = x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", self.port)).encode())
        names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [str(name.value) for name in names]


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> FakeKube:
    monkeypatch.setattr(loop, "LEAST_PAUSE", timedelta(seconds=0.02))
    kube = FakeKube()
    kube.put(CONFIGURATION, {"metadata": {"name": "mlflow-webhook"}, "webhooks": [{"name": "e", "clientConfig": {}}]})
    kube.put(
        "/api/v1/namespaces/kfp-team-b", {"metadata": {"name": "kfp-team-b", "labels": {"mlflow-enabled": "true"}}}
    )
    return kube


Run = Callable[..., None]


@pytest.fixture
def run(kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Call a check while the webhook serves with some settings; it has stopped afterwards."""

    def run_it(check: Callable[[Running], None], **settings: str) -> None:
        def serve(server: Server) -> None:
            thread = threading.Thread(target=server.run)
            thread.start()
            try:
                wait_until(lambda: server.started, "the server", every=0.01)
                check(Running(server))
            finally:
                server.should_exit = True
                thread.join()

        monkeypatch.setattr(assembly, "_run", serve)
        overrides = {"listenAddress": "127.0.0.1", "listenPort": "0", "identity": "a", **settings}
        run_in_cluster(load_settings(file=None, environment={}, overrides=overrides), kube.client)

    yield run_it
    wait_for_threads("informer", "certificates")


def test_it_is_ready_once_namespaces_are_known_and_clients_trust_its_ca(kube: FakeKube, run: Run) -> None:
    def check(webhook: Running) -> None:
        webhook.wait_until_ready()
        assert webhook.checks() == {"certificates": "ok", "namespaces": "ok", "shutdown": "ok"}
        (entry,) = kube.objects[CONFIGURATION]["webhooks"]
        assert entry["clientConfig"]["caBundle"] == kube.objects[SECRET]["data"]["ca.crt"]
        answer = webhook.request("POST", "/mutate", content=BODY, headers={"content-type": "application/json"})
        assert json.loads(b64decode(answer.json()["response"]["patch"]))
        metrics = webhook.request("GET", "/metrics").text
        assert "mlflow_webhook_namespaces 1.0" in metrics
        assert re.search(r"^mlflow_webhook_namespace_watch_age_seconds \d", metrics, re.MULTILINE)
        assert 'mlflow_webhook_certificate_expiry_timestamp_seconds{certificate="ca"}' in metrics

    run(check)
    assert kube.objects[LEASE]["spec"]["holderIdentity"] == ""


def test_its_certificate_names_the_service_and_further_names_and_addresses(run: Run) -> None:
    def check(webhook: Running) -> None:
        webhook.wait_until_ready()
        assert webhook.names() == [
            "w.other.svc",
            "w.other.svc.cluster.local",
            "w.other",
            "webhook.example",
            "10.1.2.3",
        ]

    run(check, serviceName="w", namespace="other", certificateNames="webhook.example, 10.1.2.3")


def test_while_the_api_server_is_away_it_serves_and_says_what_is_missing(kube: FakeKube, run: Run) -> None:
    kube.away = True

    def check(webhook: Running) -> None:
        assert webhook.request("GET", "/healthz").text == "ok\n"
        answer = webhook.request("GET", "/readyz")
        assert answer.status_code == 503
        assert answer.json() == {
            "ready": False,
            "checks": {
                "certificates": "there is no certificate yet",
                "namespaces": "the namespaces have not been listed yet",
                "shutdown": "ok",
            },
        }
        assert "mlflow_webhook_ready 0.0" in webhook.request("GET", "/metrics").text

    run(check)


def test_a_restart_of_the_watch_of_namespaces_is_counted(kube: FakeKube, run: Run) -> None:
    kube.forbidden = {"watch"}

    def check(webhook: Running) -> None:
        counted = "mlflow_webhook_namespace_watch_restarts_total 0.0"
        wait_until(lambda: counted not in webhook.request("GET", "/metrics").text, "it", every=0.02)

    run(check)


def test_with_a_certificate_from_files_only_namespaces_are_read(kube: FakeKube, run: Run, tmp_path: Path) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    leaf = issue_leaf(issue_ca(common_name="a CA", lifetime=day, now=now), dns_names=["mine"], lifetime=day, now=now)
    (tmp_path / "tls.crt").write_bytes(leaf.certificate_pem)
    (tmp_path / "tls.key").write_bytes(leaf.private_key_pem)

    def check(webhook: Running) -> None:
        webhook.wait_until_ready()
        assert webhook.names() == ["mine"]

    run(check, certificates="files", certificateDirectory=str(tmp_path))
    assert {sent.partition(" ")[2] for sent in kube.requests} == {"/api/v1/namespaces"}


def test_only_its_own_secret_and_configuration_are_watched(kube: FakeKube, run: Run) -> None:
    def watched() -> set[str]:
        return {sent.partition(" ")[2] for sent in kube.requests.copy() if sent.startswith("WATCH")}

    def check(webhook: Running) -> None:
        webhook.wait_until_ready()
        wait_until(lambda: len(watched()) >= 3, "the watches", every=0.02)

    run(check)
    assert kube.selectors == {"", "metadata.name=mlflow-webhook-ca", "metadata.name=mlflow-webhook"}
    assert watched() == {"/api/v1/namespaces", SECRET.rpartition("/")[0], CONFIGURATION.rpartition("/")[0]}


def test_an_address_that_cannot_be_listened_on_is_named(kube: FakeKube) -> None:
    settings = load_settings(
        file=None, environment={}, overrides={"listenAddress": "192.0.2.1", "listenPort": "8443", "identity": "a"}
    )
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1 port 8443"):
        run_in_cluster(settings, kube.client)

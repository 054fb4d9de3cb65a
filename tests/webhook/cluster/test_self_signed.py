"""The assembled certificates of a cluster, with a fake API server that counts requests."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certs import keeper
from certs.issue import KeyPair
from certs.keeper import CertificateSpec, Keeper
from tests.support.kube import FakeKube
from tests.support.waiting import wait_for_threads, wait_until
from webhook.cluster import loop
from webhook.cluster.named import NamedObject
from webhook.cluster.self_signed import SelfSigned
from webhook.cluster.storage import ConfigurationTrust, LeaseLeadership, SecretStore

SECRETS = "/api/v1/namespaces/mlflow-webhook/secrets"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/mlflow-webhook/leases/w"
SPEC = CertificateSpec(
    common_name="a CA",
    dns_names=["w.mlflow-webhook.svc"],
    ca_lifetime=timedelta(days=365),
    leaf_lifetime=timedelta(days=14),
)


class OneAtATime(Keeper):
    """A keeper that a test may step while the thread of the replica does."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._lock = threading.Lock()

    def step(self, now: datetime) -> None:
        with self._lock:
            super().step(now)


class Replica:
    """The certificates of one replica. The clock of its watches stands still until a test moves it."""

    def __init__(self, server: FakeKube, name: str) -> None:
        self.now = 1000.0
        client = server.client
        self.secret = NamedObject(client, SECRETS, "ca", clock=lambda: self.now)
        self.configuration = NamedObject(client, CONFIGURATIONS, "w", clock=lambda: self.now)
        leadership = LeaseLeadership(client, namespace="mlflow-webhook", name="w", identity=name)
        self.leaf: KeyPair | None = None
        self.problems: list[str] = []
        self.keeper = OneAtATime(
            SPEC,
            store=SecretStore(client, self.secret, namespace="mlflow-webhook", name="ca"),
            trust=ConfigurationTrust(client, self.configuration, name="w"),
            leadership=leadership,
            events=self,
        )
        self.certificates = SelfSigned(self.keeper, leadership, watched=[self.secret, self.configuration])

    def issued(self, leaf: KeyPair, ca: KeyPair | None = None) -> None:
        self.leaf = leaf

    def published(self) -> None:
        pass

    def failed(self, problem: str) -> None:
        self.problems.append(problem)

    def heard(self) -> bool:
        """Return whether both watches have received something at the current time."""
        return all(found._informer.silence == 0 for found in (self.secret, self.configuration))


@pytest.fixture
def server() -> FakeKube:
    server = FakeKube()
    server.put(f"{CONFIGURATIONS}/w", {"metadata": {"name": "w"}, "webhooks": [{"name": "e", "clientConfig": {}}]})
    return server


@pytest.fixture
def replicas(server: FakeKube, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Replica]]:
    """Two replicas that have started and have nothing more to do."""
    monkeypatch.setattr(loop, "LEAST_PAUSE", timedelta(seconds=0.02))
    # Only a change wakes them. An immediate reaction does not wait for the next regular step.
    monkeypatch.setattr(keeper, "LONGEST_WAIT", timedelta(hours=1))
    replicas = [Replica(server, name) for name in "ab"]
    for replica in replicas:
        replica.certificates.start()

    def idle() -> bool:
        before = len(server.requests)
        for replica in replicas:
            replica.keeper.step(datetime.now(UTC))
        ready = all(replica.certificates.problem() is None and replica.heard() for replica in replicas)
        watches = sum(sent.startswith("WATCH ") for sent in server.requests)
        return ready and watches >= 2 * len(replicas) and len(server.requests) == before

    wait_until(idle, "replicas that are ready and idle", every=0.1)
    server.requests.clear()
    yield replicas
    for replica in replicas:
        replica.certificates.stop()
    wait_for_threads("informer", "certificates")


def ca(server: FakeKube) -> bytes:
    return b64decode(server.objects[f"{SECRETS}/ca"]["data"]["ca.crt"])


def test_two_idle_replicas_send_no_request_in_ten_minutes(server: FakeKube, replicas: list[Replica]) -> None:
    """Except to open a watch again, which ends after five to ten minutes; here they do not end."""
    for _ in range(10):
        for replica in replicas:
            replica.now += 60
        server.bookmark()
        wait_until(lambda: all(replica.heard() for replica in replicas), "the bookmarks", every=0.005)
        for second in range(0, 60, 5):
            for replica in replicas:
                replica.keeper.step(datetime.now(UTC) + timedelta(seconds=second))
    assert server.requests == []
    assert [replica.problems for replica in replicas] == [[], []]


def test_a_deleted_secret_is_written_again_at_once_with_the_same_ca(server: FakeKube, replicas: list[Replica]) -> None:
    before = ca(server)
    server.remove(f"{SECRETS}/ca")
    wait_until(lambda: f"{SECRETS}/ca" in server.objects, "the Secret", every=0.01)
    assert ca(server) == before
    assert "next.crt" in server.objects[f"{SECRETS}/ca"]["data"]
    assert len([sent for sent in server.requests if sent.startswith("POST")]) == 1


def test_an_overwritten_bundle_is_repaired_at_once(server: FakeKube, replicas: list[Replica]) -> None:
    found = server.objects[f"{CONFIGURATIONS}/w"]
    server.put(f"{CONFIGURATIONS}/w", {**found, "webhooks": [{"name": "e", "clientConfig": {"caBundle": "eA=="}}]})

    def repaired() -> bool:
        (entry,) = server.objects[f"{CONFIGURATIONS}/w"]["webhooks"]
        return b64decode(entry["clientConfig"]["caBundle"]) == ca(server)

    wait_until(repaired, "the caBundle", every=0.01)


def test_when_it_stops_the_lease_is_free(server: FakeKube, replicas: list[Replica]) -> None:
    assert server.objects[LEASE]["spec"]["holderIdentity"] in {"a", "b"}
    for replica in replicas:
        replica.certificates.stop()
    assert server.objects[LEASE]["spec"]["holderIdentity"] == ""


def test_a_lease_that_cannot_be_released_is_logged_and_does_not_prevent_stopping(
    server: FakeKube, replicas: list[Replica], caplog: pytest.LogCaptureFixture
) -> None:
    server.away = True
    replicas[0].certificates.stop()
    server.away = False
    told = [vars(record) for record in caplog.records if record.name == "webhook.cluster.self_signed"]
    assert [(record["msg"], record["problem"]) for record in told] == [
        ("the lease could not be released", "Lease w: the API server is away")
    ]


def test_a_secret_that_cannot_be_read_is_a_problem_without_a_key(server: FakeKube, replicas: list[Replica]) -> None:
    data = {**server.objects[f"{SECRETS}/ca"]["data"], "ca.crt": "eA=="}
    server.put(f"{SECRETS}/ca", {"metadata": {"name": "ca"}, "data": data})
    wait_until(lambda: any(replica.problems for replica in replicas), "the problem", every=0.01)
    told = json.dumps([replica.problems for replica in replicas])
    assert "the stored CA cannot be read, and is replaced: ca.crt and ca.key are not a CA in PEM" in told
    assert "PRIVATE" not in told

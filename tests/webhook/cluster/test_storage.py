"""What the certificates need, in objects of a cluster: what is written, and how errors are reported."""

from __future__ import annotations

from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta

import pytest

from certs.lease import DURATION
from certs.ports import StoreConflictError, StoreError
from tests.support.kube import FakeKube
from webhook.cluster.named import NamedObject
from webhook.cluster.storage import ConfigurationTrust, LeaseLeadership, SecretStore

NAMESPACE = "mlflow-webhook"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
SECRET = f"{SECRETS}/ca"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
CONFIGURATION = f"{CONFIGURATIONS}/w"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/w"
START = datetime(2026, 1, 1, tzinfo=UTC)
DATA = {"ca.crt": b"certificate", "ca.key": b"key"}


@pytest.fixture
def server() -> FakeKube:
    return FakeKube()


def named(server: FakeKube, collection: str, name: str) -> NamedObject:
    """Return an object that is not watched, and whose clock stands still: it is not polled again."""
    return NamedObject(server.client, collection, name, clock=lambda: 0.0)


def secret_store(server: FakeKube) -> SecretStore:
    return SecretStore(server.client, named(server, SECRETS, "ca"), namespace=NAMESPACE, name="ca")


def trust_bundle(server: FakeKube) -> ConfigurationTrust:
    return ConfigurationTrust(server.client, named(server, CONFIGURATIONS, "w"), name="w")


def configure(server: FakeKube, *bundles: bytes | None) -> None:
    entries = [
        {"name": f"entry-{number}", "clientConfig": {"url": "https://x"} | _bundle(bundle), "timeoutSeconds": 5}
        for number, bundle in enumerate(bundles)
    ]
    server.put(CONFIGURATION, {"metadata": {"name": "w"}, "webhooks": entries})


def _bundle(bundle: bytes | None) -> dict[str, str]:
    return {} if bundle is None else {"caBundle": b64encode(bundle).decode()}


def test_an_authority_that_was_written_is_known_at_once(server: FakeKube) -> None:
    store = secret_store(server)
    assert store.read(live=True) is None
    store.write(DATA, version=None)
    found = store.read(live=False)
    assert found
    assert found[0] == DATA
    written = server.objects[SECRET]
    assert (written["kind"], written["type"]) == ("Secret", "Opaque")
    assert written["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "mlflow-webhook"}


def test_a_secret_is_replaced_with_its_labels_and_without_entries_that_are_gone(server: FakeKube) -> None:
    metadata = {"name": "ca", "labels": {"theirs": "x"}, "annotations": {"a": "b"}}
    server.put(SECRET, {"metadata": metadata, "data": {"distrust": "", "ca.crt": "eA=="}})
    store = secret_store(server)
    found = store.read(live=True)
    assert found
    store.write(DATA, version=found[1])
    assert server.objects[SECRET]["data"].keys() == DATA.keys()
    assert server.objects[SECRET]["metadata"].items() >= metadata.items()


def test_a_secret_that_changed_or_appeared_meanwhile_is_not_overwritten(server: FakeKube) -> None:
    store = secret_store(server)
    assert store.read(live=True) is None
    server.put(SECRET, {"metadata": {"name": "ca"}, "data": {"ca.crt": "eA=="}})
    with pytest.raises(StoreConflictError, match="Secret ca: "):
        store.write(DATA, version=None)
    found = store.read(live=True)
    assert found
    server.put(SECRET, {"metadata": {"name": "ca"}, "data": {"ca.crt": "eQ=="}})
    with pytest.raises(StoreConflictError):
        store.write(DATA, version=found[1])
    assert server.objects[SECRET]["data"] == {"ca.crt": "eQ=="}


def test_text_that_is_not_base64_counts_as_empty(server: FakeKube) -> None:
    server.put(SECRET, {"metadata": {"name": "ca"}, "data": {"ca.crt": "not base64!", "ca.key": "eA=="}})
    found = secret_store(server).read(live=True)
    assert found
    assert found[0] == {"ca.crt": b"", "ca.key": b"x"}


@pytest.mark.parametrize("bundles", [[], [None], [b"one", b"two"]], ids=["no entries", "one without", "two"])
def test_the_bundle_of_each_entry_is_read(server: FakeKube, bundles: list[bytes | None]) -> None:
    configure(server, *bundles)
    assert trust_bundle(server).read(live=True) == ([bundle or b"" for bundle in bundles] or None)


def test_without_a_configuration_nothing_is_configured(server: FakeKube) -> None:
    assert trust_bundle(server).read(live=True) is None


def test_a_bundle_is_published_to_every_entry_and_nothing_else_changes(server: FakeKube) -> None:
    configure(server, b"old", None)
    trust = trust_bundle(server)
    trust.read(live=True)
    trust.publish(b"new")
    entries = server.objects[CONFIGURATION]["webhooks"]
    assert [b64decode(entry["clientConfig"]["caBundle"]) for entry in entries] == [b"new", b"new"]
    assert all(entry["clientConfig"]["url"] == "https://x" and entry["timeoutSeconds"] == 5 for entry in entries)
    assert trust.read(live=False) == [b"new", b"new"]


class Replica(LeaseLeadership):
    """One replica's view of the lease. Its clock stands still until a test moves it."""

    def __init__(self, server: FakeKube, identity: str) -> None:
        self.now = 1000.0
        super().__init__(server.client, namespace=NAMESPACE, name="w", identity=identity, clock=lambda: self.now)


def test_one_replica_takes_the_lease_and_the_other_waits_until_it_has_expired(server: FakeKube) -> None:
    first, second = Replica(server, "a"), Replica(server, "b")
    assert first.held(START)
    assert not second.held(START)
    assert server.objects[LEASE]["spec"]["holderIdentity"] == "a"
    assert server.objects[LEASE]["spec"]["renewTime"] == "2026-01-01T00:00:00.000000Z"
    second.now += DURATION.total_seconds() - 1
    assert not second.held(START)
    second.now += 1
    assert second.held(START)
    assert server.objects[LEASE]["spec"].items() >= {"holderIdentity": "b", "leaseTransitions": 1}.items()


def test_the_holder_renews_the_lease_only_when_it_is_needed_again(server: FakeKube) -> None:
    replica = Replica(server, "a")
    assert replica.held(START)
    assert replica.held(START)
    server.requests.clear()
    assert replica.held(START)
    assert server.requests == [f"GET {LEASE}"]
    replica.now += DURATION.total_seconds()
    assert replica.held(START + DURATION)
    assert server.requests[1:] == [f"GET {LEASE}", f"PUT {LEASE}"]


def test_a_lease_that_something_else_wrote_first_is_not_held(server: FakeKube) -> None:
    replica = Replica(server, "a")
    assert replica.held(START)
    replica.give_up(START)
    get = server.get

    def late(path: str, **named: object) -> dict[str, object]:
        found = get(path, **named)
        server.put(path, found)
        return found

    server.get = late  # type: ignore[method-assign]
    assert not replica.held(START)


def test_a_lease_is_released_by_its_holder_alone(server: FakeKube) -> None:
    first, second = Replica(server, "a"), Replica(server, "b")
    assert first.held(START)
    second.give_up(START)
    assert server.objects[LEASE]["spec"]["holderIdentity"] == "a"
    first.give_up(START)
    assert server.objects[LEASE]["spec"]["holderIdentity"] == ""
    assert second.held(START + timedelta(seconds=1))


def test_a_lease_without_content_is_free(server: FakeKube) -> None:
    server.put(LEASE, {"metadata": {"name": "w"}})
    assert Replica(server, "a").held(START)


def test_an_api_server_that_is_away_is_a_store_error_that_names_the_object(server: FakeKube) -> None:
    server.away = True
    with pytest.raises(StoreError, match="Secret ca: the API server is away"):
        secret_store(server).read(live=False)
    with pytest.raises(StoreError, match="MutatingWebhookConfiguration w: "):
        trust_bundle(server).read(live=True)
    with pytest.raises(StoreError, match="Lease w: "):
        Replica(server, "a").held(START)

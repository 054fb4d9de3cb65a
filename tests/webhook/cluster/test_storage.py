"""The storage of certificates in objects of a cluster: what is written, and how errors are reported."""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
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
ENCODED = {"ca.crt": "Y2VydGlmaWNhdGU=", "ca.key": "a2V5"}
MANAGED_BY = {"app.kubernetes.io/managed-by": "mlflow-webhook"}


@pytest.fixture
def server() -> FakeKube:
    return FakeKube()


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another time zone than that of what is written."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


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
    new = {"name": "ca", "namespace": NAMESPACE, "labels": MANAGED_BY}
    assert server.sent == [{"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": new, "data": ENCODED}]


def test_a_secret_is_replaced_with_its_labels_and_without_entries_that_are_gone(server: FakeKube) -> None:
    metadata = {"name": "ca", "labels": {"theirs": "x"}, "annotations": {"a": "b"}}
    server.put(SECRET, {"metadata": metadata, "data": {"distrust": "", "ca.crt": "eA=="}})
    store = secret_store(server)
    found = store.read(live=True)
    assert found
    store.write(DATA, version=found[1])
    kept = {**metadata, "resourceVersion": found[1]}
    assert server.sent == [{"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": kept, "data": ENCODED}]


@pytest.mark.parametrize("kind", ["Secret", "configuration"])
def test_known_data_is_read_again_only_if_it_is_requested_live(server: FakeKube, kind: str) -> None:
    def change(content: bytes) -> None:
        server.put(SECRET, {"metadata": {"name": "ca"}, "data": {"ca.crt": b64encode(content).decode()}})
        configure(server, content)

    def content(*, live: bool) -> object:
        found = read(live=live)
        return found[0] if found else None

    change(b"before")
    before, after = ({"ca.crt": text} if kind == "Secret" else text for text in (b"before", b"after"))
    read = secret_store(server).read if kind == "Secret" else trust_bundle(server).read
    assert content(live=True) == before
    change(b"after")
    assert content(live=False) == before
    assert content(live=True) == after


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
    server.put(SECRET, {"metadata": {"name": "ca"}, "data": {"ca.crt": "e!A==", "ca.key": "eA=="}})
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
    assert server.field_managers == ["mlflow-webhook"]
    (sent,) = server.sent
    assert sent == {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "w"},
        "webhooks": [{"name": f"entry-{number}", "clientConfig": _bundle(b"new")} for number in range(2)],
    }


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


def test_a_lease_that_is_renewed_stays_with_its_holder(server: FakeKube) -> None:
    first, second = Replica(server, "a"), Replica(server, "b")
    assert first.held(START)
    for seconds in (10, 20, 30):
        first.now += 10
        assert first.held(START + timedelta(seconds=seconds))
        assert not second.held(START)
        second.now += 10
    second.now += 5
    assert second.held(START)


def test_the_holder_renews_the_lease_when_a_third_of_its_duration_has_passed(server: FakeKube) -> None:
    replica = Replica(server, "a")
    assert replica.held(START)
    assert replica.held(START)
    server.requests.clear()
    replica.now += 4.99
    assert replica.held(START)
    assert server.requests == [f"GET {LEASE}"]
    replica.now += 0.01
    assert replica.held(START)
    assert server.requests[1:] == [f"GET {LEASE}", f"PUT {LEASE}"]


def test_a_new_lease_has_all_fields(server: FakeKube, new_york: None) -> None:
    assert Replica(server, "a").held(START)
    assert server.sent == [
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "w", "namespace": NAMESPACE, "labels": MANAGED_BY},
            "spec": {
                "holderIdentity": "a",
                "leaseDurationSeconds": 15,
                "acquireTime": "2026-01-01T00:00:00.000000Z",
                "renewTime": "2026-01-01T00:00:00.000000Z",
                "leaseTransitions": 0,
            },
        }
    ]


def test_a_lease_keeps_its_other_fields_when_it_is_renewed(server: FakeKube) -> None:
    had = {"acquireTime": "2025-12-31T23:59:00.000000Z", "leaseTransitions": 7}
    metadata = {"name": "w", "labels": {"theirs": "x"}}
    server.put(LEASE, {"metadata": metadata, "spec": {"holderIdentity": "a", **had}})
    replica = Replica(server, "a")
    assert replica.held(START)
    replica.now += DURATION.total_seconds()
    assert replica.held(START)
    (sent,) = server.sent
    assert (sent["apiVersion"], sent["kind"]) == ("coordination.k8s.io/v1", "Lease")
    assert sent["metadata"].items() >= metadata.items()
    assert sent["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "renewTime": "2026-01-01T00:00:00.000000Z",
        **had,
    }


def test_another_duration_of_a_lease_is_waited_for(server: FakeKube) -> None:
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 40, "leaseTransitions": 7}
    server.put(LEASE, {"metadata": {"name": "w"}, "spec": spec})
    replica = Replica(server, "b")
    assert not replica.held(START)
    replica.now += 39
    assert not replica.held(START)
    replica.now += 1
    assert replica.held(START)
    assert server.objects[LEASE]["spec"]["leaseTransitions"] == 8


def test_missing_times_of_a_lease_count_as_long_ago(server: FakeKube) -> None:
    server.put(LEASE, {"metadata": {"name": "w"}, "spec": {"holderIdentity": "a"}})
    Replica(server, "a").give_up(START)
    assert server.objects[LEASE]["spec"]["acquireTime"] == "1970-01-01T00:00:00.000000Z"


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
    with pytest.raises(StoreError, match="Lease w: "):
        Replica(server, "a").give_up(START)


def test_a_bundle_that_may_not_be_published_is_a_store_error_that_names_the_configuration(server: FakeKube) -> None:
    configure(server, b"old")
    trust = trust_bundle(server)
    trust.read(live=True)
    server.forbidden = {"patch"}
    with pytest.raises(StoreError, match="MutatingWebhookConfiguration w: cannot patch"):
        trust.publish(b"new")

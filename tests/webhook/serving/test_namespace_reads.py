"""How often the namespaces of pods with their own label are read, and what happens if that fails."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from typing import Any

import pytest

from tests.support.pods import review
from webhook.core.configuration import Namespace, Platform
from webhook.core.lookup import LookupFailedError
from webhook.serving.metrics import Metrics
from webhook.serving.mutate import CONFIRMED_FOR, Mutate

LABELLED = Namespace("kfp-team-b", {"mlflow-enabled": "true"}, {})
UNLABELLED = Namespace("kfp-team-b", {}, {})
ASKS = "real/kfp-2.17.0-labelled.container-impl.admissionreview.json"


class Cluster:
    """What the watch knows, the API server's answer (None: it fails), and a webhook with a clock that is turned."""

    def __init__(self, known: Namespace, live: Namespace | None, *, fresh: bool = True) -> None:
        self.watched, self.live, self.is_fresh = known, live, fresh
        self.reads = 0
        self.now = 100.0
        self.metrics = Metrics()
        self._mutate = Mutate(
            platform=Platform(),
            namespaces=self,
            metrics=self.metrics,
            write=lambda _: None,
            clock=lambda: self.now,
        )

    def known(self, name: str) -> Namespace | None:
        return self.watched if name == self.watched.name else None

    def fresh(self) -> bool:
        return self.is_fresh

    async def read(self, name: str) -> Namespace:
        self.reads += 1
        if self.live is None:
            raise LookupFailedError("the API server is away")
        if self.live is not UNLABELLED:
            self.watched = self.live
        return self.live

    def create(self, *, mirror: bool = False) -> dict[str, Any]:
        document = review(ASKS)
        document["request"]["namespace"] = "kfp-team-b"
        if mirror:
            document["request"]["object"]["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x"
        response = json.loads(asyncio.run(self._mutate.answer(json.dumps(document).encode())))["response"]
        assert isinstance(response, dict)
        return response

    def lookups(self, outcome: str) -> float:
        labels = {"outcome": outcome}
        return self.metrics.registry.get_sample_value("mlflow_webhook_namespace_lookups_total", labels) or 0.0


def workspace(response: dict[str, Any]) -> str | None:
    operations = json.loads(b64decode(response["patch"]))
    entries = [operation["value"] for operation in operations if isinstance(operation["value"], dict)]
    return next((entry["value"] for entry in entries if entry["name"] == "MLFLOW_WORKSPACE"), None)


def test_many_pods_that_ask_in_an_unlabelled_namespace_cost_one_read_in_a_while() -> None:
    cluster = Cluster(UNLABELLED, UNLABELLED)
    for _ in range(50):
        cluster.now += CONFIRMED_FOR / 51
        assert cluster.create()["auditAnnotations"]["reason"] == "wired_by_pod_label"
    assert cluster.reads == 1
    cluster.now += CONFIRMED_FOR
    cluster.create()
    assert cluster.reads == 2


def test_a_namespace_that_was_labelled_a_moment_ago_gives_its_workspace_before_the_watch_knows() -> None:
    assert workspace(Cluster(UNLABELLED, LABELLED).create()) == "kfp-team-b"


def test_a_change_on_the_watch_ends_the_confirmation() -> None:
    cluster = Cluster(UNLABELLED, UNLABELLED)
    cluster.create()
    cluster.watched = Namespace("kfp-team-b", {}, {"mlflow.kubeflow.org/workspace": "team-x"})
    cluster.live = cluster.watched
    assert workspace(cluster.create()) == "team-x"
    assert cluster.reads == 2


def test_a_watch_that_has_been_silent_too_long_is_not_relied_on_though_it_was_confirmed() -> None:
    cluster = Cluster(UNLABELLED, UNLABELLED)
    cluster.create()
    cluster.is_fresh = False
    cluster.create()
    assert cluster.reads == 2


@pytest.mark.parametrize(
    ("known", "fresh", "allowed", "workspace_set", "words"),
    [
        (
            UNLABELLED,
            True,
            True,
            None,
            "kfp-team-b could not be read from the API server; it is treated as not labelled",
        ),
        (LABELLED, False, True, "kfp-team-b", "its labels and annotations may be out of date"),
        (UNLABELLED, False, False, None, "cannot be read now; retry"),
    ],
    ids=["unlabelled", "labelled, silent watch", "unlabelled, silent watch"],
)
def test_a_read_that_fails_is_seen_and_gives_no_wrong_workspace(
    known: Namespace, fresh: bool, allowed: bool, workspace_set: str | None, words: str
) -> None:
    cluster = Cluster(known, None, fresh=fresh)
    response = cluster.create()
    assert response["allowed"] is allowed
    assert words in json.dumps(response)
    assert cluster.lookups("failed") == 1
    if allowed:
        assert workspace(response) == workspace_set
    else:
        assert response["status"]["code"] == 429
        assert response["auditAnnotations"]["reason"] == "namespace_lookup_failed"


def test_a_failed_read_confirms_nothing() -> None:
    cluster = Cluster(UNLABELLED, None)
    cluster.create()
    cluster.create()
    assert cluster.reads == 2


def test_a_mirror_pod_needs_no_read() -> None:
    cluster = Cluster(UNLABELLED, None, fresh=False)
    assert cluster.create(mirror=True)["auditAnnotations"]["reason"] == "mirror_pod"
    assert cluster.reads == 0

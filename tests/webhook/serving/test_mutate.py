from __future__ import annotations

import asyncio
import json
import time
from base64 import b64decode
from collections.abc import Mapping, MutableMapping
from datetime import timedelta
from typing import Any, cast

import pytest
from click.testing import CliRunner

from tests.support.pods import FOLDER, KFP, SAMPLES
from webhook.cli import cli
from webhook.cluster.kube import KubeClient, KubeNotFoundError
from webhook.cluster.live_reads import BURST, PER_SECOND
from webhook.cluster.namespaces import NamespaceWatch, StaticNamespaces
from webhook.core.configuration import Namespace, Platform
from webhook.core.lookup import LookupFailedError
from webhook.serving.metrics import Metrics
from webhook.serving.mutate import Mutate

LABELLED = {"mlflow-enabled": "true"}
ANNOTATION = "mlflow.kubeflow.org/experiment"
OLD = Namespace("kfp-team-b", LABELLED, {ANNOTATION: "old"})
NEW = Namespace("kfp-team-b", LABELLED, {ANNOTATION: "new"})


class Namespaces:
    """The state of the watch, whether it has been silent too long, and the result of a live read (None: it fails)."""

    def __init__(self, known: Namespace | None, *, fresh: bool, live: Namespace | None) -> None:
        self._known, self._fresh, self._live = known, fresh, live
        self.reads = 0

    def known(self, name: str) -> Namespace | None:
        assert name == "kfp-team-b"
        return self._known

    def fresh(self) -> bool:
        return self._fresh

    async def read(self, name: str) -> Namespace:
        assert name == "kfp-team-b"
        self.reads += 1
        if self._live is None:
            raise LookupFailedError("the API server is away")
        return self._live


def answer(namespaces: Namespaces) -> tuple[str, str | None]:
    """Return the reason, and the experiment that the pod got."""
    written: list[Mapping[str, Any]] = []
    mutate = Mutate(platform=Platform(), namespaces=namespaces, metrics=Metrics(), write=written.append)
    response = json.loads(asyncio.run(mutate.answer((FOLDER / KFP).read_bytes())))["response"]
    operations = json.loads(b64decode(response.get("patch", "W10=")))
    values = [operation["value"] for operation in operations]
    experiments = [v["value"] for v in values if isinstance(v, dict) and v.get("name") == "MLFLOW_EXPERIMENT_NAME"]
    return written[0]["reason"], next(iter(experiments), None)


@pytest.mark.parametrize(
    ("known", "fresh", "live", "expected", "reads"),
    [
        (OLD, True, NEW, ("wired_by_namespace_label", "old"), 0),
        (OLD, False, NEW, ("wired_by_namespace_label", "new"), 1),
        (OLD, False, None, ("wired_by_namespace_label", "old"), 1),
        (Namespace(OLD.name, {}, OLD.annotations), True, NEW, ("wired_by_namespace_label", "new"), 1),
        (None, True, NEW, ("wired_by_namespace_label", "new"), 1),
        (None, True, None, ("namespace_lookup_failed", None), 1),
    ],
    ids=["known", "silent too long", "silent, and no answer", "not labelled a moment ago", "unknown", "no answer"],
)
def test_a_namespace_is_read_when_what_is_known_may_be_out_of_date(
    known: Namespace | None, fresh: bool, live: Namespace | None, expected: tuple[str, str | None], reads: int
) -> None:
    namespaces = Namespaces(known, fresh=fresh, live=live)
    assert answer(namespaces) == expected
    assert namespaces.reads == reads


def test_reviews_that_wait_for_a_lookup_share_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    body = (FOLDER / KFP).read_bytes()
    monkeypatch.setattr("webhook.serving.mutate.HELD_LIMIT", 3 * len(body))
    go_on = asyncio.Event()
    statuses: list[int] = []

    class Slow(Namespaces):
        async def read(self, name: str) -> Namespace:
            await go_on.wait()
            return await super().read(name)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: MutableMapping[str, Any]) -> None:
        statuses.extend([message["status"]] if "status" in message else [])
        if len(statuses) == 7:
            go_on.set()

    async def serve() -> None:
        scope = {"method": "POST", "headers": [(b"content-type", b"application/json")]}
        namespaces = Slow(None, fresh=True, live=NEW)
        mutate = Mutate(platform=Platform(), namespaces=namespaces, metrics=Metrics(), write=lambda _: None)
        await asyncio.gather(*[mutate(scope, receive, send) for _ in range(10)])
        await mutate(scope, receive, send)

    asyncio.run(serve())
    assert statuses == [503] * 7 + [200] * 4


@pytest.mark.parametrize("sample", [name for name in SAMPLES if name.endswith(".admissionreview.json")])
@pytest.mark.parametrize("labels", [LABELLED, {}], ids=["labelled", "unlabelled"])
def test_what_inject_prints_is_what_the_server_answers(sample: str, labels: dict[str, str]) -> None:
    content = (FOLDER / sample).read_bytes()
    request = json.loads(content)["request"]
    namespaces = StaticNamespaces([Namespace(request["namespace"], labels, {})])
    mutate = Mutate(platform=Platform(), namespaces=namespaces, metrics=Metrics(), write=lambda _: None)
    answered = json.loads(asyncio.run(mutate.answer(content)))["response"].get("patch", "W10=")
    given = [f"--namespace-label={name}={value}" for name, value in labels.items()]
    printed = CliRunner().invoke(cli, ["inject", "-f", str(FOLDER / sample), "-o", "patch", *given]).stdout
    assert json.loads(printed)[0]["patch"] == json.loads(b64decode(answered))


@pytest.mark.parametrize("error", [OSError(28, "disk full"), BrokenPipeError(), ValueError("closed file")])
def test_a_decision_that_cannot_be_logged_is_still_answered_and_is_counted(error: Exception) -> None:
    metrics = Metrics()
    sent: list[MutableMapping[str, Any]] = []

    def write(_: Mapping[str, Any]) -> None:
        assert sent[-1]["type"] == "http.response.body"  # the answer does not wait for the log
        raise error

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": (FOLDER / KFP).read_bytes()}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"method": "POST", "headers": [(b"content-type", b"application/json")]}
    namespaces = Namespaces(OLD, fresh=True, live=None)
    mutate = Mutate(platform=Platform(), namespaces=namespaces, metrics=metrics, write=write)
    asyncio.run(mutate(scope, receive, send))
    assert [message.get("status") for message in sent] == [200, None]
    assert json.loads(sent[1]["body"])["response"]["patch"]
    assert metrics.registry.get_sample_value("mlflow_webhook_log_lines_lost_total") == 1
    assert metrics.registry.get_sample_value("mlflow_webhook_internal_errors_total") == 0


def test_forged_reviews_cause_few_reads_and_raise_no_alert() -> None:
    """Three hundred reviews, each for a namespace that does not exist."""
    paths: list[str] = []

    class Empty:
        def get(self, path: str, **_: object) -> dict[str, Any]:
            paths.append(path)
            raise KubeNotFoundError("not found", status=404)

    metrics = Metrics()
    watch = NamespaceWatch(cast("KubeClient", Empty()), lookup_timeout=timedelta(minutes=5))
    mutate = Mutate(platform=Platform(), namespaces=watch, metrics=metrics, write=lambda _: None)
    document = json.loads((FOLDER / KFP).read_bytes())

    async def send() -> None:
        for number in range(300):
            document["request"]["namespace"] = f"made-up-{number}"
            await mutate.answer(json.dumps(document).encode())

    started = time.monotonic()
    asyncio.run(send())
    assert len(paths) <= BURST + PER_SECOND * (time.monotonic() - started)
    outcomes = {
        outcome: metrics.registry.get_sample_value("mlflow_webhook_namespace_lookups_total", {"outcome": outcome})
        for outcome in ("failed", "not_found", "limited")
    }
    assert outcomes == {"failed": 0, "not_found": len(paths), "limited": 300 - len(paths)}

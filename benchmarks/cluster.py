"""Measures with a real API server: single pods, a burst of pods, and ten thousand namespaces in the watch."""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import MANY, Spread, labelled_namespace, percentile, rss_mib
from tests.cluster.controlplane import ControlPlane, Program, free_port
from tests.cluster.installation import CONFIGURATION, Installation
from tests.support.pods import KFP, TRAINJOB, plain, review
from tests.support.waiting import wait_until
from webhook.cluster.kube import KubeError, core_path, group_path

CREATION_ROUNDS, PODS = 7, 150
BURST, CLIENTS, ROUNDS, STARTS, REVIEWS = 2_000, 50, 3, 5, 300
NAMESPACES = {
    "untouched": {},
    "touched": {"recall": "touch"},
    "unconditional": {"recall": "always"},
    "recalled": {"recall": "same"},
    "wired": {"mlflow-enabled": "true"},
}


@contextmanager
def installed() -> Iterator[Installation]:
    """Run a control plane with the project's manifests."""
    with tempfile.TemporaryDirectory() as folder:
        plane = ControlPlane(Path(folder))
        try:
            plane.start()
            installation = Installation(plane)
            try:
                installation.install()
                yield installation
            finally:
                installation.remove()
        finally:
            plane.stop()


def measure() -> dict[str, Any]:
    """Run all measurements in one cluster."""
    with installed() as installation:
        installation.start(2)
        admin = installation.admin
        for name, labels in NAMESPACES.items():
            admin.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
            accounts = core_path(name, "serviceaccounts")
            wait_until(lambda path=accounts: bool(admin.list(path)["items"]), "a service account")  # type: ignore[misc]
        with _recalling(installation):
            _call(installation, installation.replicas[0].port)  # a balancer takes time, a Service does not
            found: dict[str, Any] = {
                name: _creation(installation, sample)
                for name, sample in (("creation_of_a_trainjob_node", TRAINJOB), ("creation_of_a_kfp_component", KFP))
            }
            _call(installation, installation.balancer.port)
            found["burst"] = _burst(installation)
        installation.stop(*installation.replicas)
        found["growth"] = _growth(installation)
        return found


@contextmanager
def _recalling(installation: Installation) -> Iterator[None]:
    """Run a webhook that answers from memory: an annotation or our patch for all pods, or our patch for our pods."""
    plane = installation.plane
    port, ca = free_port(), plane.folder / "recall.pem"
    server = Program([sys.executable, "-m", "benchmarks.servers", "recall", str(port), ca], plane.folder / "recall.log")
    try:
        wait_until(ca.exists, "the webhook that answers from memory")
        bundle = b64encode(ca.read_bytes()).decode()
        touch: dict[str, Any] = {
            "name": "touch.example.com",
            "clientConfig": {"url": f"https://127.0.0.1:{port}/touch", "caBundle": bundle},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": NAMESPACES["touched"]},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        recalls = {"clientConfig": {"url": f"https://127.0.0.1:{port}/same", "caBundle": bundle}}
        everywhere = {"namespaceSelector": {"matchLabels": NAMESPACES["unconditional"]}}
        always = {**touch, **recalls, **everywhere, "name": "always.example.com"}
        there = {"namespaceSelector": {"matchLabels": NAMESPACES["recalled"]}}
        implied = [
            entry
            for entry in installation.admin.get(CONFIGURATION)["webhooks"]
            if "matchLabels" in entry["namespaceSelector"]
        ]
        same = [{**entry, **recalls, **there, "name": f"same.{entry['name']}"} for entry in implied]
        configurations = group_path("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations")
        plane.client().create(configurations, {"metadata": {"name": "recall"}, "webhooks": [touch, always, *same]})
        yield
    finally:
        server.stop()


def _call(installation: Installation, port: int) -> None:
    """Make the API server call this webhook, and wait until it does."""
    installation.call_with("url", f"https://127.0.0.1:{port}/mutate")
    time.sleep(2)


def _creation(installation: Installation, sample: str) -> dict[str, Any]:
    """Create the same pod in each namespace in turn, in rounds; return the times in ms."""
    before = _own(installation)
    rounds = [_creation_round(installation, sample, number) for number in range(CREATION_ROUNDS)]
    own = (_own(installation) - before) / PODS / CREATION_ROUNDS * 1e3
    if not own:
        raise RuntimeError("the webhook was not called")
    p50 = {name: [percentile(times[name], 0.5) for times in rounds] for name in NAMESPACES}
    p99 = {name: [percentile(times[name], 0.99) for times in rounds] for name in NAMESPACES}
    called = [name for name in NAMESPACES if name != "untouched"]
    return {
        "p50_ms": {name: Spread.of(p50[name]) for name in NAMESPACES},
        "p99_ms": {name: Spread.of(p99[name]) for name in NAMESPACES},
        "median_difference_ms": {
            name: Spread.of([with_ - without for with_, without in zip(p50[name], p50["untouched"], strict=True)])
            for name in called
        },
        "p99_ratio": {
            name: Spread.of([with_ / without for with_, without in zip(p99[name], p99["untouched"], strict=True)])
            for name in called
        },
        "of_which_the_webhooks_own_ms": own,
    }


def _creation_round(installation: Installation, sample: str, number: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in NAMESPACES}
    kind = "kfp" if sample == KFP else "job"
    given: dict[str, list[str]] = {}
    for index in range(PODS):
        for namespace, found in times.items():
            body = plain(sample, f"{kind}-{number}-{index}")
            started = time.perf_counter()
            created = installation.admin.create(core_path(namespace, "pods"), body)
            found.append((time.perf_counter() - started) * 1e3)
            given[namespace] = _variables(created)
    wired, untouched = given["wired"], given["untouched"]
    if not (given["recalled"] == given["unconditional"] == wired) or given["touched"] != untouched:
        raise RuntimeError("the compared webhooks do not make the same change")
    return times


def _variables(pod: dict[str, Any]) -> list[str]:
    return [entry["name"] for container in pod["spec"]["containers"] for entry in container.get("env", [])]


def _own(installation: Installation) -> float:
    """Return the seconds that the replicas have spent between a review's last byte and its answer."""
    return sum(replica.metric("mlflow_webhook_review_duration_seconds_sum") for replica in installation.replicas)


def _burst(installation: Installation) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in ("untouched", "recalled", "wired")}
    errors: list[str] = []
    unwired = 0
    clients = threading.local()

    def create(namespace: str, name: str) -> bool:
        if not hasattr(clients, "own"):
            clients.own = installation.plane.client()
        try:
            created = clients.own.create(core_path(namespace, "pods"), plain(KFP, name), timeout=60)
        except KubeError as error:
            errors.append(error.message)
            return False
        return "MLFLOW_TRACKING_URI" in _variables(created)

    for number in range(ROUNDS):
        for namespace, found in seconds.items():
            names = [f"burst-{number}-{index}" for index in range(BURST)]
            started = time.perf_counter()
            with ThreadPoolExecutor(CLIENTS) as pool:
                wired = list(pool.map(lambda name, namespace=namespace: create(namespace, name), names))  # type: ignore[misc]
            found.append(time.perf_counter() - started)
            if namespace == "wired":
                unwired += wired.count(False)
            installation.admin.delete(core_path(namespace, "pods"), params={"gracePeriodSeconds": 0}, timeout=120)
    return {
        "pods": BURST * ROUNDS,
        "clients": CLIENTS,
        "unwired": unwired,
        "errors": len(errors),
        "seconds": {name: Spread.of(values) for name, values in seconds.items()},
        "ratio": {
            name: Spread.of([a / b for a, b in zip(seconds[name], seconds["untouched"], strict=True)])
            for name in ("recalled", "wired")
        },
    }


def _growth(installation: Installation) -> dict[str, Any]:
    def make(number: int) -> None:
        installation.admin.create("/api/v1/namespaces", labelled_namespace(number), timeout=120)

    document = copy.deepcopy(review(KFP))
    document["request"]["namespace"] = "wired"
    body = json.dumps(document, separators=(",", ":")).encode()
    found: dict[str, Any] = {}
    for number in (0, MANY):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(make, range(number)))
        starts = [_start(installation, body) for _ in range(STARTS)]
        found[str(number)] = {name: Spread.of([start[name] for start in starts]) for name in starts[0]}
    return found


def _start(installation: Installation, body: bytes) -> dict[str, float]:
    """Start a replica, wait for its first answer, and stop it."""
    started = time.perf_counter()
    replica = installation.launch({}, kubeconfig=installation.kubeconfig)
    wait_until(replica.ready, "a replica to be ready", every=0.01)
    replica.review(body)
    seconds = time.perf_counter() - started
    for _ in range(REVIEWS):
        replica.review(body)
    memory = rss_mib(replica.pid)
    installation.stop(replica)
    return {"seconds_to_first_answer": seconds, "rss_mib": memory}

"""Through a real API server: pods one by one, a burst of pods, and ten thousand namespaces in the watch."""

from __future__ import annotations

import copy
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measuring import Spread, percentile, rss_mib
from tests.cluster.controlplane import ControlPlane, wait_until
from tests.cluster.installation import CONFIGURATION, Installation, Replica
from tests.pods import KFP, TRAINJOB, pod
from webhook.kube import KubeClient, KubeError, core_path

PODS, BURST, CLIENTS, NAMESPACES, ROUNDS = 500, 2_000, 50, 10_000, 3


@contextmanager
def installed() -> Iterator[Installation]:
    """Run a control plane with our manifests on it."""
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
    """Measure everything in turn, in one cluster."""
    with installed() as installation:
        installation.start(2)
        admin = installation.admin
        for name, labels in (("labelled", {"mlflow-enabled": "true"}), ("unlabelled", {})):
            admin.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
            accounts = core_path(name, "serviceaccounts")
            wait_until(lambda path=accounts: bool(admin.list(path)["items"]), "a service account")  # type: ignore[misc]
        # A Service costs the API server nothing; the tests' balancer is in this process, and would cost its share.
        _call(installation, installation.replicas[0].port)
        found = {
            name: _creation(admin, sample, installation.replicas[0])
            for name, sample in (("creation_of_a_trainjob_node", TRAINJOB), ("creation_of_a_kfp_component", KFP))
        }
        _call(installation, installation.balancer.port)
        found["burst"] = _burst(installation)
        installation.stop(*installation.replicas)
        found["growth"] = _growth(installation)
        return found


def _call(installation: Installation, port: int) -> None:
    """Have the API server call here, and wait until it does."""
    url = f"https://127.0.0.1:{port}/mutate"
    patch = [{"op": "replace", "path": f"/webhooks/{index}/clientConfig/url", "value": url} for index in (0, 1)]
    installation.admin.patch(CONFIGURATION, patch, content_type="application/json-patch+json")
    time.sleep(2)


def _body(name: str, sample: str = KFP) -> dict[str, Any]:
    document = copy.deepcopy(pod(sample))
    metadata = document["metadata"]
    spec = document["spec"]
    for key in ("serviceAccountName", "serviceAccount", "priority", "preemptionPolicy"):
        spec.pop(key, None)
    return {
        "metadata": {"name": name, "labels": metadata["labels"], "annotations": metadata["annotations"]},
        "spec": spec,
    }


def _creation(admin: KubeClient, sample: str, replica: Replica) -> dict[str, Any]:
    """Create the same pod in a labelled and in an unlabelled namespace by turns: called, and not called (ms)."""
    before = _own(replica)
    times: dict[str, list[float]] = {"labelled": [], "unlabelled": []}
    for number in range(PODS):
        for namespace, found in times.items():
            body = _body(f"{'kfp' if sample == KFP else 'job'}-{number}", sample)
            started = time.perf_counter()
            admin.create(core_path(namespace, "pods"), body)
            found.append((time.perf_counter() - started) * 1e3)
    p50 = {name: percentile(values, 0.5) for name, values in times.items()}
    p99 = {name: percentile(values, 0.99) for name, values in times.items()}
    return {
        "p50": p50,
        "p99": p99,
        "median_difference": p50["labelled"] - p50["unlabelled"],
        "p99_ratio": p99["labelled"] / p99["unlabelled"],
        "of_which_the_webhooks_own": (_own(replica) - before) / PODS * 1e3,
    }


def _own(replica: Replica) -> float:
    """Seconds that a replica has spent between a review's last byte and its answer."""
    return replica.metric("mlflow_webhook_review_duration_seconds_sum")


def _burst(installation: Installation) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {"labelled": [], "unlabelled": []}
    errors: list[str] = []
    unwired = 0
    clients = threading.local()

    def create(namespace: str, name: str) -> bool:
        if not hasattr(clients, "own"):
            clients.own = installation.plane.client()
        try:
            created = clients.own.create(core_path(namespace, "pods"), _body(name), timeout=60)
        except KubeError as error:
            errors.append(error.message)
            return False
        return any(
            entry["name"] == "MLFLOW_TRACKING_URI"
            for container in created["spec"]["containers"]
            for entry in container.get("env", [])
        )

    for number in range(ROUNDS):
        for namespace, found in seconds.items():
            names = [f"burst-{number}-{index}" for index in range(BURST)]
            started = time.perf_counter()
            with ThreadPoolExecutor(CLIENTS) as pool:
                wired = list(pool.map(lambda name, namespace=namespace: create(namespace, name), names))  # type: ignore[misc]
            found.append(time.perf_counter() - started)
            if namespace == "labelled":
                unwired += wired.count(False)
            installation.admin.delete(core_path(namespace, "pods"), params={"gracePeriodSeconds": 0}, timeout=120)
    return {
        "pods": BURST * ROUNDS,
        "clients": CLIENTS,
        "unwired": unwired,
        "errors": len(errors),
        "seconds": {name: Spread.of(values) for name, values in seconds.items()},
        "ratio": Spread.of([a / b for a, b in zip(seconds["labelled"], seconds["unlabelled"], strict=True)]),
    }


def _growth(installation: Installation) -> dict[str, Any]:
    def make(number: int) -> None:
        labels = {"mlflow-enabled": "true", "team": f"team-{number}"}
        annotations = {"mlflow.kubeflow.org/experiment": f"experiment-{number}", "owner": "x" * 200}
        metadata = {"name": f"many-{number}", "labels": labels, "annotations": annotations}
        installation.admin.create("/api/v1/namespaces", {"metadata": metadata}, timeout=120)

    found: dict[str, Any] = {}
    for number in (0, NAMESPACES):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(make, range(number)))
        started = time.perf_counter()
        (replica,) = installation.start(1)
        found[str(number)] = {"seconds_to_ready": time.perf_counter() - started, "rss_mib": _memory(replica)}
        installation.stop(replica)
    return found


def _memory(replica: Replica) -> float:
    time.sleep(2)
    return rss_mib(replica.pid)

"""A stream of pods, explicit and implied by turns, at a steady rate, all as dry runs."""

from __future__ import annotations

import threading
from typing import Any

from webhook.cluster.kube import KubeClient, KubeError, core_path


def pod(name: str = "p") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"mlflow-enabled": "true"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }


def implied(name: str = "i") -> dict[str, Any]:
    """Return a TrainJob's node without its own label: in a labelled namespace it is wired, or silently left unwired."""
    labels = {"jobset.sigs.k8s.io/jobset-name": "job"}
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "node", "image": "i"}]}}


def wired(client: KubeClient, namespace: str) -> bool:
    """Return whether an explicit pod would be created wired now."""
    try:
        created = client.create(core_path(namespace, "pods"), pod(), params={"dryRun": "All"})
    except KubeError:
        return False
    return any(entry["name"] == "MLFLOW_TRACKING_URI" for entry in created["spec"]["containers"][0].get("env", []))


class Stream:
    """A steady rate of pods; one that is refused, or comes back unwired, is remembered."""

    def __init__(self, admin: KubeClient, namespace: str, *, threads: int = 2, pause: float = 0.04) -> None:
        self._admin, self._namespace, self._pause = admin, namespace, pause
        self.calls = 0
        self.failures: list[str] = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self) -> None:
        path = core_path(self._namespace, "pods")
        while not self._stopping.wait(self._pause):
            self.calls += 1
            body = pod() if self.calls % 2 else implied()
            try:
                created = self._admin.create(path, body, params={"dryRun": "All"})
            except KubeError as error:
                self.failures.append(error.message)
            else:
                if not created["spec"]["containers"][0].get("env"):
                    self.failures.append("unwired")

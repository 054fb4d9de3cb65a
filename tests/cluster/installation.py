"""Installs the unchanged manifests on the control plane, and runs replicas of the webhook with their ServiceAccount.

There is no kubelet: a replica is a process. A balancer on the loopback address replaces the Service. In the manifests,
only `clientConfig.service` is replaced, by the balancer's URL, and the timeout, by a longer one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from demo.processes import free_port
from tests.cluster.balancer import Balancer
from tests.cluster.controlplane import ControlPlane, Program
from tests.support.logs import whole_lines
from tests.support.waiting import DEADLINE, wait_until
from webhook.cluster.kube import KubeClient, KubeNotFoundError, core_path, group_path

ROOT = Path(__file__).parent.parent.parent
NAMESPACE = NAME = "mlflow-webhook"
CONFIGURATION = group_path("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", NAME)
SHORT = {"MLFLOW_WEBHOOK_CA_LIFETIME": "60s", "MLFLOW_WEBHOOK_LEAF_LIFETIME": "20s"}
"""Lifetimes that are short enough to see a CA renewed. On a busy machine, a renewal takes seconds of the last third."""
EXPLICIT = "labelled-pods.mlflow.kubeflow.org"


class Replica:
    """One process of the webhook."""

    def __init__(self, name: str, kubeconfig: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self.name, self.port = name, free_port()
        self.log = folder / f"{name}.log"
        self._program = Program(
            [sys.executable, "-m", "webhook.cli", "serve", "--kubeconfig", kubeconfig, "--port", str(self.port)],
            self.log,
            {
                "MLFLOW_WEBHOOK_LISTEN_ADDRESS": "127.0.0.1",
                "MLFLOW_WEBHOOK_IDENTITY": name,
                "MLFLOW_WEBHOOK_CERTIFICATE_NAMES": "127.0.0.1",
                "MLFLOW_WEBHOOK_SHUTDOWN_DELAY": "1s",
                "MLFLOW_WEBHOOK_LOOKUP_TIMEOUT": "20s",
                **environment,
            },
        )

    @property
    def pid(self) -> int:
        """The process."""
        return self._program.process.pid

    def get(self, path: str) -> httpx.Response:
        """Send a request as a probe does: without verifying the certificate."""
        with httpx.Client(verify=False, trust_env=False, timeout=DEADLINE) as client:
            return client.get(f"https://127.0.0.1:{self.port}{path}")

    def ready(self) -> bool:
        """Return whether it takes reviews now."""
        if self._program.process.poll() is not None:
            return False
        try:
            return self.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def alive(self) -> bool:
        """Return whether it answers, ready or not."""
        try:
            return self.get("/healthz").status_code == 200
        except httpx.HTTPError:
            return False

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        lines = (json.loads(line) for line in whole_lines(self.log) if line.startswith("{"))
        return [line for line in lines if line["event"] == name]

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        text = self.get("/metrics").text
        samples = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(value) for given, value in samples if all(pair in given for pair in wanted))

    def review(self, body: bytes) -> dict[str, Any]:
        """Send it a review; returns the response."""
        headers = {"Content-Type": "application/json"}
        with httpx.Client(verify=False, trust_env=False, timeout=DEADLINE) as client:
            answer = client.post(f"https://127.0.0.1:{self.port}/mutate", content=body, headers=headers)
        response: dict[str, Any] = answer.json()["response"]
        return response

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._program.process.terminate()

    def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        return self._program.wait()  # a second SIGTERM would end it without the delay


def write_overlay(folder: Path, overlay: str, *components: str, **fields: Any) -> None:
    """Write a kustomization like a user's, with a shipped overlay (or none), components and fields."""
    folder.mkdir(parents=True, exist_ok=True)
    manifests = Path(os.path.relpath(ROOT / "manifests", folder.resolve()))
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(manifests / "overlays" / overlay)] if overlay else [],
        "components": [str(manifests / "components" / component) for component in components],
        **{name: value for name, value in fields.items() if value},
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))


class Installation:
    """The webhook, installed by an overlay."""

    def __init__(
        self, plane: ControlPlane, overlay: str = "self-signed", *, namespace: str = NAMESPACE, prefix: str = ""
    ) -> None:
        self.plane, self.admin, self._overlay = plane, plane.client(), overlay
        self.namespace, self.prefix, self.name = namespace, prefix, f"{prefix}{NAME}"
        self.folder = plane.folder / f"installation-{time.monotonic_ns()}"
        self.folder.mkdir()
        self.replicas: list[Replica] = []
        """The running replicas."""
        self.balancer = Balancer(self.replicas)
        self._numbers = itertools.count()
        self._kubeconfig: Path | None = None
        self._manifests = ""

    def install(self) -> None:
        """Apply the overlay."""
        self._manifests = self._manifests or self.manifests()
        # Without the API server's schema, which takes ten times as long as the rest; test_upkeep and test_install_page
        # have the manifests validated.
        quick = ("--validate=false", "--openapi-patch=false")
        self.plane.kubectl("apply", "--filename=-", *quick, stdin=self._manifests)
        self._kubeconfig = self._kubeconfig or self.plane.service_account(self.namespace, self.name)

    @classmethod
    def of_what_is_there(cls, plane: ControlPlane) -> Installation:
        """Return the installation that somebody has applied; its entries call the replicas that are started here."""
        installation = cls(plane)
        entries = installation.admin.get(CONFIGURATION)["webhooks"]
        url = f"https://127.0.0.1:{installation.balancer.port}{entries[0]['clientConfig']['service']['path']}"
        patch = [
            {"op": "replace", "path": f"/webhooks/{index}/clientConfig", "value": {"url": url}}
            for index in range(len(entries))
        ]
        installation.admin.patch(CONFIGURATION, patch, content_type="application/json-patch+json")
        installation._kubeconfig = plane.service_account(NAMESPACE, NAME)
        return installation

    def manifests(self) -> str:
        """Return what kustomize makes of the overlay, with the balancer's URL in place of the Service's."""
        folder = ROOT / "manifests" / "overlays" / self._overlay
        if (self.namespace, self.prefix) != (NAMESPACE, ""):
            folder = self.folder / "overlay"
            write_overlay(folder, self._overlay, namespace=self.namespace, namePrefix=self.prefix)
        documents = list(yaml.safe_load_all(self.plane.kubectl("kustomize", folder)))
        for document in documents:
            for entry in document.get("webhooks", []):
                path = entry["clientConfig"].pop("service")["path"]
                entry["clientConfig"]["url"] = f"https://127.0.0.1:{self.balancer.port}{path}"
                entry["timeoutSeconds"] = 30  # the longest that is possible, for a busy machine
            if document["kind"] == "Certificate" and "dnsNames" in document["spec"]:
                document["spec"]["ipAddresses"] = ["127.0.0.1"]
        return yaml.safe_dump_all(documents)

    def call_with(self, field: str, value: str | None) -> None:
        """Set a field of each entry's clientConfig; None removes it."""
        operation = {"op": "remove"} if value is None else {"op": "add", "value": value}
        entries = range(len(self.admin.get(CONFIGURATION)["webhooks"]))
        patch = [{**operation, "path": f"/webhooks/{entry}/clientConfig/{field}"} for entry in entries]
        self.admin.patch(CONFIGURATION, patch, content_type="application/json-patch+json")

    @property
    def kubeconfig(self) -> Path:
        """The webhook's own ServiceAccount's."""
        assert self._kubeconfig
        return self._kubeconfig

    def client(self) -> KubeClient:
        """Return a client that may do what the webhook may."""
        return self.plane.client(self.kubeconfig)

    def start(self, number: int = 1, environment: Mapping[str, str] | None = None) -> list[Replica]:
        """Start replicas, all at the same moment, and wait until they are ready and get calls."""
        started = [
            Replica(f"replica-{next(self._numbers)}", self.kubeconfig, self.folder, self._environment(environment))
            for _ in range(number)
        ]
        self.replicas.extend(started)
        for replica in started:
            wait_until(replica.ready, f"{replica.name} to be ready ({replica.log})")
        wait_until(lambda: all(map(self.balancer.knows, started)), "the balancer to know them")
        return started

    def launch(self, environment: Mapping[str, str], *, kubeconfig: Path) -> Replica:
        """Start a replica that cannot become ready, as somebody else."""
        name = f"replica-{next(self._numbers)}"
        replica = Replica(name, kubeconfig, self.folder, self._environment(environment))
        self.replicas.append(replica)
        wait_until(replica.alive, f"{replica.name} to answer ({replica.log})")
        return replica

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        """Return the variables that the Deployment sets for its pods, and more."""
        deployment = self.admin.get(group_path("apps/v1", "deployments", self.name, namespace=self.namespace))
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        stated = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
        return stated | {"MLFLOW_WEBHOOK_NAMESPACE": self.namespace} | dict(more or {})

    def stop(self, *replicas: Replica) -> list[int]:
        """Stop replicas, as a rollout does; returns their exit codes."""
        for replica in replicas:
            replica.terminate()
        codes = [replica.wait() for replica in replicas]
        for replica in replicas:
            self.replicas.remove(replica)
        return codes

    def decisions(self, **labels: str) -> float:
        """Return how many reviews all replicas have answered in this way."""
        return sum(replica.metric("mlflow_webhook_decisions_total", **labels) for replica in self.replicas)

    def remove(self) -> None:
        """Stop the replicas, and delete what they created and what calls them. The next start finds the rest."""
        self.stop(*self.replicas)
        self.balancer.stop()
        for path in (
            group_path("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", self.name),
            core_path(self.namespace, "secrets", f"{NAME}-ca"),
            group_path("coordination.k8s.io/v1", "leases", NAME, namespace=self.namespace),
        ):
            with contextlib.suppress(KubeNotFoundError):
                self.admin.delete(path)

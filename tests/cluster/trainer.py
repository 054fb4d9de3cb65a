"""The real JobSet and Kubeflow Trainer controllers on a control plane, with their CRDs, webhooks and runtimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml

from certs.issue import issue_ca, issue_leaf
from demo.processes import free_port
from tests.cluster.binaries import find, module_folder
from tests.cluster.controlplane import ControlPlane, Program, encoded
from tests.support.waiting import wait_until

_WEBHOOK_KINDS = {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}


class Trainer:
    """The controllers, run as the administrator: their own RBAC is not tested here."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._plane = control_plane
        self._folder = control_plane.folder / "trainer"
        self._programs: list[Program] = []
        self._ports = {"jobset": free_port(), "trainer": free_port()}

    def start(self) -> None:
        """Install what the releases ship, and start both controllers."""
        jobset = module_folder("sigs.k8s.io/jobset", of="trainer")
        trainer = module_folder("github.com/kubeflow/trainer/v2", of="trainer")
        for crds in (jobset / "config/components/crd/bases", trainer / "manifests/base/crds"):
            files = [file for file in sorted(crds.glob("*.yaml")) if file.name != "kustomization.yaml"]
            self._plane.kubectl("apply", "--server-side", *(f"--filename={file}" for file in files))
        for crd in ("jobsets.jobset.x-k8s.io", "trainjobs.trainer.kubeflow.org"):
            self._plane.kubectl("wait", "--for=condition=established", "--timeout=120s", f"crd/{crd}")
        self._plane.kubectl("create", "namespace", "kubeflow-system")
        ca_bundle = self._start_controllers()
        documents = [
            *self._by_url(jobset / "config/default", self._ports["jobset"], ca_bundle),
            *self._by_url(trainer / "manifests/base/webhook", self._ports["trainer"], ca_bundle),
        ]
        self._plane.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(documents))
        runtimes = self._plane.kubectl("kustomize", trainer / "manifests/overlays/runtimes")
        self._plane.kubectl("apply", "--server-side", "--filename=-", stdin=runtimes)

    def stop(self) -> None:
        """Stop both controllers."""
        for program in self._programs:
            program.stop(seconds=5)

    def _by_url(self, kustomization: Path, port: int, ca_bundle: str) -> list[dict[str, Any]]:
        documents = yaml.safe_load_all(self._plane.kubectl("kustomize", kustomization))
        configurations = [document for document in documents if document["kind"] in _WEBHOOK_KINDS]
        for webhook in (webhook for configuration in configurations for webhook in configuration["webhooks"]):
            path = webhook["clientConfig"]["service"]["path"]
            webhook["clientConfig"] = {"url": f"https://127.0.0.1:{port}{path}", "caBundle": ca_bundle}
        return configurations

    def _start_controllers(self) -> str:
        certificates = self._folder / "k8s-webhook-server" / "serving-certs"
        certificates.mkdir(parents=True)
        now, lifetime = datetime.now(UTC), timedelta(days=1)
        ca = issue_ca(common_name="controllers of the tests", lifetime=lifetime, now=now)
        leaf = issue_leaf(ca, dns_names=["localhost"], ip_addresses=["127.0.0.1"], lifetime=lifetime, now=now)
        (certificates / "tls.crt").write_bytes(leaf.certificate_pem)
        (certificates / "tls.key").write_bytes(leaf.private_key_pem)
        common: dict[str, Any] = {
            "kind": "Configuration",
            "metrics": {"bindAddress": "0"},
            "leaderElection": {"leaderElect": False},
        }
        self._start(
            "jobset",
            find("jobset"),
            common
            | {
                "apiVersion": "config.jobset.x-k8s.io/v1alpha1",
                "webhook": {"host": "127.0.0.1", "port": self._ports["jobset"], "certDir": str(certificates)},
                "internalCertManagement": {"enable": False},
            },
        )
        self._start(
            "trainer",
            find("trainer-controller-manager"),
            common
            | {
                "apiVersion": "config.trainer.kubeflow.org/v1alpha1",
                "webhook": {"host": "127.0.0.1", "port": self._ports["trainer"]},
                "certManagement": {"enable": False},
            },
        )
        return encoded(ca.certificate_pem)

    def _start(self, name: str, binary: Path, configuration: dict[str, Any]) -> None:
        health = f"127.0.0.1:{free_port()}"
        file = self._folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(configuration | {"health": {"healthProbeBindAddress": health}}))
        # Trainer has no setting for its certificates: it looks in this place under TMPDIR.
        env = {"KUBECONFIG": str(self._plane.kubeconfig), "TMPDIR": str(self._folder)}
        program = Program([binary, f"--config={file}"], self._folder / f"{name}.log", env)
        self._programs.append(program)

        def ready() -> bool:
            if program.process.poll() is not None:
                raise AssertionError(f"{name} has ended:\n{program.tail()}")
            try:
                return httpx.get(f"http://{health}/readyz", timeout=60, trust_env=False).status_code == 200
            except httpx.HTTPError:
                return False

        wait_until(ready, f"{name} to be ready")

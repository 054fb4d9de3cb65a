"""A real control plane for tests: etcd, kube-apiserver with RBAC, kube-controller-manager, on the loopback address."""

from __future__ import annotations

import json
import os
import secrets
import signal
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from certs.issue import issue_ca, issue_leaf
from demo.processes import free_port
from tests.cluster.binaries import find
from tests.support.client_certificate import issue_client
from tests.support.logs import whole_lines
from tests.support.waiting import DEADLINE, wait_until
from webhook.cluster.kube import KubeClient


class Program:
    """A process that writes its output to a file."""

    def __init__(self, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=output, stderr=output, env={**os.environ, **(env or {})}
            )

    def stop(self, *, seconds: float = DEADLINE, with_signal: int = signal.SIGTERM) -> int:
        """End it, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        return self.wait(seconds)

    def wait(self, seconds: float = DEADLINE) -> int:
        """Wait for its end, and return its exit code. It is killed after `seconds`."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def tail(self, lines: int = 15) -> str:
        """Return the end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class ControlPlane:
    """One cluster without nodes. Pods are created and never run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"https://127.0.0.1:{free_port()}"
        self._etcd_url = f"http://127.0.0.1:{free_port()}"
        self._etcd_peer_url = f"http://127.0.0.1:{free_port()}"
        self._token = secrets.token_urlsafe(24)
        self._programs: dict[str, Program] = {}
        self.ca = folder / "ca.crt"
        self.webhook_client_ca = folder / "webhook-client-ca.crt"
        """The CA of the client certificate that the API server sends to webhooks."""
        self._write_keys()
        self.kubeconfig = self.write_kubeconfig("admin", self._token)

    def start(self) -> None:
        """Start everything, and wait until pods can be created."""
        self.start_etcd()
        self.start_apiserver()
        self._programs["controller-manager"] = Program(
            [
                find("kube-controller-manager"),
                f"--kubeconfig={self.kubeconfig}",
                f"--authentication-kubeconfig={self.kubeconfig}",
                f"--authorization-kubeconfig={self.kubeconfig}",
                f"--service-account-private-key-file={self.folder / 'service-accounts.key'}",
                f"--root-ca-file={self.ca}",
                "--use-service-account-credentials",
                "--kube-api-qps=500",  # its default of 20 makes the start, a token for each controller, 4 s longer
                "--kube-api-burst=1000",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                f"--secure-port={free_port()}",
            ],
            self.folder / "controller-manager.log",
        )
        admin = self.client()
        wait_until(
            lambda: bool(admin.list("/api/v1/namespaces/default/serviceaccounts")["items"]),
            "the default service account",
        )

    def stop(self) -> None:
        """Stop everything."""
        for name in ("controller-manager", "apiserver", "etcd"):
            if program := self._programs.pop(name, None):
                program.stop(seconds=5)

    def start_etcd(self) -> None:
        """Start etcd on its data."""
        self._programs["etcd"] = Program(
            [
                find("etcd"),
                f"--data-dir={self.folder / 'etcd'}",
                "--unsafe-no-fsync",
                "--log-level=warn",
                f"--listen-client-urls={self._etcd_url}",
                f"--advertise-client-urls={self._etcd_url}",
                f"--listen-peer-urls={self._etcd_peer_url}",
                f"--initial-advertise-peer-urls={self._etcd_peer_url}",
                f"--initial-cluster=default={self._etcd_peer_url}",
            ],
            self.folder / "etcd.log",
        )

    def stop_etcd(self) -> None:
        """Stop etcd. The API server keeps running, but cannot read or write."""
        self._programs.pop("etcd").stop()

    def start_apiserver(self) -> None:
        """Start the API server, and wait until it is ready."""
        self._programs["apiserver"] = Program(
            [
                find("kube-apiserver"),
                f"--etcd-servers={self._etcd_url}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self.url.rpartition(':')[2]}",
                f"--tls-cert-file={self.folder / 'apiserver.crt'}",
                f"--tls-private-key-file={self.folder / 'apiserver.key'}",
                f"--token-auth-file={self.folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-key-file={self.folder / 'service-accounts.pub'}",
                f"--service-account-signing-key-file={self.folder / 'service-accounts.key'}",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--allow-privileged=true",
                "--shutdown-delay-duration=0s",
                f"--admission-control-config-file={self.folder / 'admission.yaml'}",
                f"--audit-policy-file={self.folder / 'audit-policy.json'}",
                f"--audit-log-path={self.folder / 'audit.log'}",
            ],
            self.folder / "apiserver.log",
        )
        wait_until(self.ready, "the API server to be ready")

    def stop_apiserver(self) -> None:
        """Stop the API server; etcd keeps its data."""
        self._programs.pop("apiserver").stop(seconds=5)

    def ready(self) -> bool:
        """Return whether the API server says that it is ready."""
        program = self._programs["apiserver"]
        if program.process.poll() is not None:
            raise AssertionError(f"the API server has ended:\n{program.tail()}")
        try:
            return httpx.get(f"{self.url}/readyz", verify=self._tls, timeout=60, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def client(self, kubeconfig: Path | None = None) -> KubeClient:
        """Return a client, of the administrator by default."""
        return KubeClient.from_environment(kubeconfig=str(kubeconfig or self.kubeconfig))

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as the administrator; returns its output, errors included when `check` is off."""
        done = subprocess.run(
            [find("kubectl"), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "KUBECONFIG": str(self.kubeconfig)},
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def service_account(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig that holds a real token of a ServiceAccount."""
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        token = self.client().create(path, request)["status"]["token"]
        return self.write_kubeconfig(f"{namespace}-{name}", token)

    def write_kubeconfig(self, user: str, token: str) -> Path:
        """Write a kubeconfig for a bearer token; it trusts this API server's own CA."""
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self.ca)}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
        file = self.folder / f"{user}.kubeconfig"
        file.write_text(json.dumps(document))
        return file

    def requests(self, user: str) -> list[dict[str, Any]]:
        """Return the audit events of the requests of a service account (``namespace:name``) so far, in their order."""
        lines = (json.loads(line) for line in whole_lines(self.folder / "audit.log"))
        return [line for line in lines if line["user"]["username"] == f"system:serviceaccount:{user}"]

    def compact(self) -> None:
        """Compact etcd, so that older resource versions are gone."""
        status = httpx.post(f"{self._etcd_url}/v3/maintenance/status", json={}, trust_env=False, timeout=60).json()
        revision = status["header"]["revision"]
        httpx.post(f"{self._etcd_url}/v3/kv/compaction", json={"revision": revision}, trust_env=False, timeout=60)

    @property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def _write_keys(self) -> None:
        now, lifetime = datetime.now(UTC), timedelta(days=1)
        ca = issue_ca(common_name="API server of the tests", lifetime=lifetime, now=now)
        leaf = issue_leaf(ca, dns_names=["kubernetes"], ip_addresses=["127.0.0.1"], lifetime=lifetime, now=now)
        self.ca.write_bytes(ca.certificate_pem)
        (self.folder / "apiserver.crt").write_bytes(leaf.certificate_pem)
        (self.folder / "apiserver.key").write_bytes(leaf.private_key_pem)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        (self.folder / "service-accounts.key").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain)
        )
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        (self.folder / "service-accounts.pub").write_bytes(public)
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["ResponseStarted", "ResponseComplete", "Panic"],
            "rules": [{"level": "None", "userGroups": ["system:masters"]}, {"level": "Metadata"}],
        }
        (self.folder / "audit-policy.json").write_text(json.dumps(policy))
        self._write_webhook_client(now, lifetime)
        (self.folder / "tokens.csv").write_text(f'{self._token},admin,admin,"system:masters"\n')

    def _write_webhook_client(self, now: datetime, lifetime: timedelta) -> None:
        ca = issue_ca(common_name="webhook clients of the tests", lifetime=lifetime, now=now)
        self.webhook_client_ca.write_bytes(ca.certificate_pem)
        certificate = issue_client(ca, "kube-apiserver", now=now)
        files = {"client-certificate": certificate.certificate_pem, "client-key": certificate.private_key_pem}
        for name, content in files.items():
            (self.folder / f"webhook-{name}.pem").write_bytes(content)
        # Webhooks are called by URL here, at a port that is not known yet: the user "*" is for all of them.
        user = {"name": "*", "user": {name: str(self.folder / f"webhook-{name}.pem") for name in files}}
        kubeconfig = {"apiVersion": "v1", "kind": "Config", "users": [user]}
        (self.folder / "webhooks.kubeconfig").write_text(json.dumps(kubeconfig))
        plugin = {
            "name": "MutatingAdmissionWebhook",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "WebhookAdmissionConfiguration",
                "kubeConfigFile": str(self.folder / "webhooks.kubeconfig"),
            },
        }
        admission = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [plugin]}
        (self.folder / "admission.yaml").write_text(json.dumps(admission))


def encoded(content: bytes) -> str:
    """Return base64 as text, as Kubernetes has it in JSON."""
    return b64encode(content).decode()

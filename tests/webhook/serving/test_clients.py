"""Who may send reviews, by client certificates, on the real server."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.issue import KeyPair, issue_ca
from certs.ports import InstallError
from tests.support.client_certificate import issue_client
from tests.support.pods import FOLDER, KFP
from tests.support.waiting import DEADLINE, wait_until
from webhook.cluster.namespaces import StaticNamespaces
from webhook.serving import assembly
from webhook.serving.assembly import StartError, run_standalone
from webhook.serving.clients import ClientVerification
from webhook.serving.server import Server
from webhook.settings import load_settings

BODY = (FOLDER / KFP).read_bytes()
NOW = datetime.now(UTC)
CA, OTHER_CA = (issue_ca(common_name=name, lifetime=timedelta(days=1), now=NOW) for name in ("clients", "others"))
API_SERVER = issue_client(CA, "kube-apiserver", now=NOW)

Request = Callable[..., httpx.Response]
Serving = Callable[..., AbstractContextManager[Request]]


@pytest.fixture
def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """Serve with some settings; what it yields sends a request, with a client certificate or without."""
    (tmp_path / "clients.pem").write_bytes(CA.certificate_pem)

    @contextmanager
    def serve(**settings: str) -> Iterator[Request]:
        servers: list[Server] = []
        monkeypatch.setattr(assembly, "_run", servers.append)
        given = {"listenAddress": "127.0.0.1", "listenPort": "0", "clientCaFile": str(tmp_path / "clients.pem")}
        run_standalone(
            load_settings(environment={}, overrides={**given, **settings}), StaticNamespaces([]), ca_file=None
        )
        (server,) = servers
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            wait_until(lambda: server.started, "the server", every=0.01)
            port = server.servers[0].sockets[0].getsockname()[1]

            def request(path: str, certificate: KeyPair | None = None) -> httpx.Response:
                with httpx.Client(verify=context(tmp_path, certificate), trust_env=False, timeout=DEADLINE) as client:
                    if path != "/mutate":
                        return client.get(f"https://127.0.0.1:{port}{path}")
                    headers = {"content-type": "application/json"}
                    return client.post(f"https://127.0.0.1:{port}{path}", content=BODY, headers=headers)

            yield request
        finally:
            server.should_exit = True
            thread.join()

    return serve


def context(folder: Path, certificate: KeyPair | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        file = folder / "client.pem"
        file.write_bytes(certificate.certificate_pem + certificate.private_key_pem)
        context.load_cert_chain(file)
    return context


def test_only_a_client_with_a_certificate_may_send_reviews_and_probes_need_none(serving: Serving) -> None:
    with serving() as request:
        assert request("/mutate", API_SERVER).json()["response"]["allowed"]
        refused = request("/mutate")
        assert refused.status_code == 403
        assert refused.text == "a client certificate is required, or this one is not accepted (clientNames)\n"
        assert request("/readyz").status_code == 200
        assert 'mlflow_webhook_bad_requests_total{status="403"} 1.0' in request("/metrics").text


def test_only_the_names_that_are_set_are_accepted(serving: Serving) -> None:
    with serving(clientNames="front-proxy, kube-apiserver") as request:
        assert request("/mutate", API_SERVER).status_code == 200
        assert request("/mutate", issue_client(CA, "front-proxy", now=NOW)).status_code == 200
        assert request("/mutate", issue_client(CA, "system:node:a", now=NOW)).status_code == 403


@pytest.mark.parametrize(
    "certificate",
    [
        issue_client(OTHER_CA, "kube-apiserver", now=NOW),
        issue_client(CA, "kube-apiserver", now=NOW - timedelta(days=3)),
        issue_client(CA, "kube-apiserver", now=NOW, usage=ExtendedKeyUsageOID.SERVER_AUTH),
    ],
    ids=["of another CA", "expired", "of a server"],
)
def test_an_invalid_certificate_ends_the_connection(serving: Serving, certificate: KeyPair) -> None:
    with serving() as request:
        with pytest.raises(httpx.HTTPError):
            request("/mutate", certificate)
        assert request("/mutate", API_SERVER).status_code == 200


def test_without_the_setting_no_certificate_is_requested(serving: Serving) -> None:
    with serving(clientCaFile="") as request:
        assert request("/mutate").status_code == 200
        assert request("/mutate", API_SERVER).status_code == 200


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot read .*: No such file or directory"), (b"rubbish", "has no certificate in PEM")],
)
def test_a_file_that_cannot_be_used_stops_the_start(
    serving: Serving, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    file = tmp_path / "other.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StartError, match=f"clientCaFile: .*{problem}"), serving(clientCaFile=str(file)):
        pass
    with pytest.raises(InstallError):
        ClientVerification(ca_file=file).request_certificates(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

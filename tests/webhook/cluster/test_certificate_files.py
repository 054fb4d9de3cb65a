"""Certificates from files, put into the context of a real server, and asked for by a real handshake."""

from __future__ import annotations

import shutil
import ssl
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from certs.issue import KeyPair, issue_ca, issue_leaf
from tests.support.waiting import wait_for_threads, wait_until
from webhook.cluster.certificate_files import FromFiles
from webhook.serving.app import create_app
from webhook.serving.certificates import CertificateEvents
from webhook.serving.metrics import Metrics
from webhook.serving.server import Server, create_server

DAY = timedelta(days=1)


def leaf(name: str, *, ended: bool = False) -> KeyPair:
    now = datetime.now(UTC) - (30 * DAY if ended else timedelta(0))
    return issue_leaf(issue_ca(common_name="a CA", lifetime=DAY, now=now), dns_names=[name], lifetime=DAY, now=now)


def weak(name: str) -> KeyPair:
    """Return a certificate whose RSA key of 1024 bits OpenSSL does not serve."""
    key = rsa.generate_private_key(65537, 1024)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + DAY)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
        private_key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


class Replica:
    """A server whose certificate comes from a folder. A test says when the folder is looked at."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.metrics = folder, Metrics()
        self.files = FromFiles(folder, CertificateEvents(lambda pair: self.server.install(pair), self.metrics))
        self.server: Server = create_server(
            create_app(mutate=_no_reviews, metrics=self.metrics, problems={}),
            certificate=leaf("throw-away"),
            host="127.0.0.1",
            port=0,
            shutdown_delay=timedelta(0),
        )
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()
        wait_until(lambda: self.server.started, "the server", every=0.01)

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join()

    def write(self, pair: KeyPair) -> None:
        (self.folder / "tls.crt").write_bytes(pair.certificate_pem)
        (self.folder / "tls.key").write_bytes(pair.private_key_pem)

    def serves(self) -> str:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        served = x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", port)).encode())
        return str(served.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    def count(self, metric: str) -> float:
        return self.metrics.registry.get_sample_value(f"mlflow_webhook_certificate_{metric}_total") or 0


async def _no_reviews(*_: object) -> None:
    raise AssertionError


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    replica = Replica(tmp_path)
    yield replica
    replica.stop()


def test_a_certificate_that_is_renewed_is_served(replica: Replica) -> None:
    assert replica.files.problem() == f"{replica.folder} has no usable certificate yet"
    replica.write(leaf("first"))
    replica.files.look()
    assert replica.serves() == "first"
    assert replica.files.problem() is None
    replica.files.look()
    assert replica.count("renewals") == 1
    replica.write(leaf("second"))
    replica.files.look()
    assert replica.serves() == "second"
    assert replica.count("renewals") == 2


def test_a_certificate_that_cannot_be_served_is_a_failure_and_another_is_served_later(replica: Replica) -> None:
    replica.write(weak("weak"))
    replica.files.look()
    replica.files.look()
    assert (replica.count("failures"), replica.count("renewals")) == (2, 0)
    assert replica.serves() == "throw-away"
    assert replica.files.problem() == f"{replica.folder} has no usable certificate yet"
    replica.write(leaf("good"))
    replica.files.look()
    assert replica.serves() == "good"
    assert replica.files.problem() is None


def test_without_a_folder_for_temporary_files_the_old_certificate_stays_and_it_is_tried_again(
    replica: Replica, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    shutil.rmtree(folder)
    replica.write(leaf("new"))
    replica.files.look()
    assert replica.count("failures") == 1
    assert replica.serves() == "throw-away"
    folder.mkdir()
    replica.files.look()
    assert replica.serves() == "new"


def test_files_that_are_replaced_one_after_the_other_are_served_once_they_belong_together(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = leaf("first"), leaf("second")
    replica.write(first)
    replica.files.look()
    (replica.folder / "tls.crt").write_bytes(second.certificate_pem)
    replica.files.look()
    assert replica.serves() == "first"
    problems = [vars(record).get("problem") for record in caplog.records]
    assert f"{replica.folder}/tls.key does not belong to {replica.folder}/tls.crt" in problems
    replica.write(second)
    replica.files.look()
    assert replica.serves() == "second"


def test_a_certificate_that_has_expired_is_served_but_not_ready(replica: Replica) -> None:
    replica.write(leaf("expired", ended=True))
    replica.files.look()
    assert replica.serves() == "expired"
    problem = replica.files.problem() or ""
    assert problem.startswith(f"the certificate in {replica.folder} expired at ")


def test_the_folder_is_read_as_soon_as_it_starts(replica: Replica) -> None:
    replica.write(leaf("first"))
    replica.files.start()
    wait_until(lambda: replica.count("renewals") == 1, "the certificate", every=0.01)
    replica.files.stop()
    wait_for_threads("certificates")

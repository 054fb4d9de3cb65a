from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from certs.issue import CLOCK_SKEW, KeyPair, issue_ca, issue_leaf

NOW = datetime.now(UTC).replace(microsecond=0)
CA = issue_ca(common_name="a CA", lifetime=timedelta(days=10), now=NOW)


def leaf(**changes: object) -> KeyPair:
    arguments = {"dns_names": ["w.ns.svc"], "ip_addresses": ["127.0.0.1"], "lifetime": timedelta(days=1), "now": NOW}
    return issue_leaf(CA, **{**arguments, **changes})  # type: ignore[arg-type]  # a table of arguments


def handshake(served: KeyPair, *, trusted: KeyPair, name: str, folder: Path) -> None:
    """Shake hands over a real TLS connection, as a client that trusts one CA and asks for `name`."""
    file = folder / "served.pem"
    file.write_bytes(served.certificate_pem + served.private_key_pem)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(file)
    client.load_verify_locations(cadata=trusted.certificate_pem.decode())
    ours, theirs = socket.socketpair()

    def serve() -> None:
        # The client's view is the one that is tested.
        with suppress(OSError), ours, server.wrap_socket(ours, server_side=True) as connection:
            connection.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with theirs, client.wrap_socket(theirs, server_hostname=name) as connection:
            connection.send(b"x")
    finally:
        thread.join(5)


@pytest.mark.parametrize("name", ["w.ns.svc", "127.0.0.1"])
def test_a_leaf_is_verified_by_a_real_handshake(name: str, tmp_path: Path) -> None:
    handshake(leaf(), trusted=CA, name=name, folder=tmp_path)


def test_a_leaf_is_not_good_for_another_name(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(leaf(), trusted=CA, name="x.ns.svc", folder=tmp_path)


def test_a_leaf_is_not_trusted_through_another_ca(tmp_path: Path) -> None:
    other = issue_ca(common_name="a CA", lifetime=timedelta(days=10), now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(leaf(), trusted=other, name="w.ns.svc", folder=tmp_path)


def test_an_expired_leaf_is_refused(tmp_path: Path) -> None:
    old = leaf(now=NOW - timedelta(days=2))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(old, trusted=CA, name="w.ns.svc", folder=tmp_path)


def test_a_client_whose_clock_is_behind_accepts_a_new_leaf() -> None:
    certificate = x509.load_pem_x509_certificate(leaf().certificate_pem)
    assert certificate.not_valid_before_utc == NOW - CLOCK_SKEW


def test_a_leaf_never_outlives_its_ca() -> None:
    certificate = x509.load_pem_x509_certificate(leaf(lifetime=timedelta(days=99)).certificate_pem)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=10)


def test_a_leaf_cannot_sign() -> None:
    certificate = x509.load_pem_x509_certificate(leaf().certificate_pem)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_key_does_not_show() -> None:
    assert "PRIVATE" not in repr(CA)

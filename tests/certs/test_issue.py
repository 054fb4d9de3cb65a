from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.issue import CLOCK_SKEW, KeyPair, issue_ca, issue_leaf

NOW = datetime.now(UTC).replace(microsecond=0)


def new_ca() -> KeyPair:
    return issue_ca(common_name="a CA", lifetime=timedelta(days=10), now=NOW)


CA = new_ca()


def leaf(**changes: object) -> KeyPair:
    arguments = {"dns_names": ["w.ns.svc"], "ip_addresses": ["127.0.0.1"], "lifetime": timedelta(days=1), "now": NOW}
    return issue_leaf(CA, **{**arguments, **changes})  # type: ignore[arg-type]  # a table of arguments


def extensions(pair: KeyPair) -> dict[str, tuple[bool, x509.ExtensionType]]:
    """Return whether each extension is critical, and its value; without those that identify keys."""
    found = x509.load_pem_x509_certificate(pair.certificate_pem).extensions
    identifiers = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)
    return {
        str(each.oid._name): (each.critical, each.value) for each in found if not isinstance(each.value, identifiers)
    }


def usage(**granted: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        **{
            "digital_signature": False,
            "content_commitment": False,
            "key_encipherment": False,
            "data_encipherment": False,
            "key_agreement": False,
            "key_cert_sign": False,
            "crl_sign": False,
            "encipher_only": False,
            "decipher_only": False,
            **granted,
        }
    )


def handshake(served: KeyPair, *, trusted: KeyPair, name: str, folder: Path) -> None:
    """Connect over real TLS, as a client that trusts one CA and expects `name`."""
    file = folder / "served.pem"
    file.write_bytes(served.certificate_pem + served.private_key_pem)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(file)
    client.load_verify_locations(cadata=trusted.certificate_pem.decode())
    ours, theirs = socket.socketpair()

    def serve() -> None:
        # The test checks the client's side.
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


def test_a_leaf_is_not_valid_for_another_name(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(leaf(), trusted=CA, name="x.ns.svc", folder=tmp_path)


def test_a_leaf_is_not_trusted_through_another_ca(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(leaf(), trusted=new_ca(), name="w.ns.svc", folder=tmp_path)


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


def test_a_ca_can_sign_leaves_and_nothing_else() -> None:
    assert extensions(new_ca()) == {
        "basicConstraints": (True, x509.BasicConstraints(ca=True, path_length=0)),
        "keyUsage": (True, usage(key_cert_sign=True)),
    }


def test_a_leaf_is_for_a_server_with_its_names_and_cannot_sign() -> None:
    names = [x509.DNSName("w.ns.svc"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    assert extensions(leaf()) == {
        "basicConstraints": (True, x509.BasicConstraints(ca=False, path_length=None)),
        "keyUsage": (True, usage(digital_signature=True)),
        "extendedKeyUsage": (False, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])),
        "subjectAltName": (False, x509.SubjectAlternativeName(names)),
    }


def test_a_leaf_names_the_key_of_its_ca() -> None:
    ca = new_ca()
    made = issue_leaf(ca, dns_names=["w.ns.svc"], lifetime=timedelta(days=1), now=NOW)
    issued, issuer = (x509.load_pem_x509_certificate(pair.certificate_pem).extensions for pair in (made, ca))
    authority = issued.get_extension_for_class(x509.AuthorityKeyIdentifier)
    subject = issuer.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert authority.value.key_identifier == subject.value.digest
    assert (authority.critical, subject.critical) == (False, False)


def test_a_long_name_is_cut_to_the_length_of_a_common_name() -> None:
    name = f"{'w' * 60}.ns.svc"
    certificate = x509.load_pem_x509_certificate(leaf(dns_names=[name]).certificate_pem)
    assert certificate.subject.rfc4514_string() == f"CN={name[:64]}"


def test_the_key_does_not_show() -> None:
    assert "PRIVATE" not in repr(CA)

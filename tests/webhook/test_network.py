from __future__ import annotations

import ipaddress
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.waiting import DEADLINE
from webhook.network import NetworkFault, ProxySettingsError, fault_of, open_client, split_url

DAY = timedelta(days=1)


def certificate(file: Path, host: str, start: timedelta, end: timedelta) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*pem))


class Silent(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A handshake that the client breaks off is what is tested."""


@pytest.mark.parametrize(
    ("host", "start", "end", "trusted", "fault"),
    [
        ("127.0.0.1", -DAY, DAY, False, NetworkFault.UNTRUSTED),
        ("127.0.0.2", -DAY, DAY, True, NetworkFault.OTHER_HOST),
        ("127.0.0.1", -2 * DAY, -DAY, True, NetworkFault.OUT_OF_DATE),
        ("127.0.0.1", DAY, 2 * DAY, True, NetworkFault.OUT_OF_DATE),
    ],
)
def test_the_faults_of_certificates_are_distinguished(
    host: str, start: timedelta, end: timedelta, trusted: bool, fault: NetworkFault, tmp_path: Path
) -> None:
    file = tmp_path / "server.pem"
    certificate(file, host, start, end)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = Silent(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        verify = ssl.create_default_context(cafile=str(file) if trusted else None)
        with pytest.raises(httpx.ConnectError) as caught:
            httpx.get(f"https://127.0.0.1:{server.server_port}/", verify=verify, trust_env=False, timeout=DEADLINE)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
    assert fault_of(caught.value) is fault


def test_no_two_faults_have_the_same_words() -> None:
    assert len({fault.sentence("https://dex.example/dex") for fault in NetworkFault}) == len(NetworkFault)


@pytest.mark.parametrize(("name", "value"), [("ALL_PROXY", "socks5://127.0.0.1:1"), ("NO_PROXY", "fd00::/8")])
def test_proxy_settings_that_cannot_be_used_are_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ProxySettingsError, match=name):
        open_client(timeout=1)


@pytest.mark.parametrize("url", ["http://[", "//a]b/", "http://a:99999/", "http://a:b/"])
def test_a_malformed_url_has_no_parts(url: str) -> None:
    assert split_url(url).geturl() == ""

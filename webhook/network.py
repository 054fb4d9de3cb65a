"""Opens HTTP clients, and finds out why a server could not be reached: a code from a closed set, with a sentence."""

from __future__ import annotations

import socket
import ssl
from enum import StrEnum
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx


class NetworkFault(StrEnum):
    """Why a server did not answer. The codes are stable names."""

    NAME = "name_does_not_resolve"
    REFUSED = "nothing_listens"
    PLAIN = "tls_to_a_plain_port"
    UNTRUSTED = "certificate_not_trusted"
    OTHER_HOST = "certificate_of_another_host"
    OUT_OF_DATE = "certificate_out_of_date"
    TIMEOUT = "no_answer_in_time"
    NOT_HTTP = "answer_not_http"
    ADDRESS = "address_not_valid"
    OTHER = "connection_failed"

    @property
    def may_pass(self) -> bool:
        """Return whether a retry can succeed without a change of the configuration."""
        return self in {NetworkFault.NAME, NetworkFault.REFUSED, NetworkFault.TIMEOUT, NetworkFault.OTHER}

    def sentence(self, url: str) -> str:
        """Return the fault as a sentence."""
        if self is NetworkFault.ADDRESS:
            return f"{url!r} is not a valid http:// or https:// URL."
        address = httpx.URL(url)
        place = f"{address.host}:{address.port or (443 if address.scheme == 'https' else 80)}"
        return {
            NetworkFault.NAME: f"The name {address.host} does not resolve.",
            NetworkFault.REFUSED: f"Connection refused: nothing listens at {place}.",
            NetworkFault.PLAIN: f"{place} does not speak TLS: use http:// for this port, or use the TLS port.",
            NetworkFault.UNTRUSTED: f"The certificate of {place} is from a CA that is not trusted here: use --ca-file.",
            NetworkFault.OTHER_HOST: f"The certificate of {place} is for another host name. Use a name that is in it.",
            NetworkFault.OUT_OF_DATE: f"The certificate of {place} has expired or is not valid yet (by this clock).",
            NetworkFault.TIMEOUT: f"{place} did not answer in time.",
            NetworkFault.NOT_HTTP: f"{place} answered with something that is not valid HTTP.",
            NetworkFault.OTHER: f"The connection to {place} failed.",
        }[self]


_CERTIFICATE = {
    9: NetworkFault.OUT_OF_DATE,
    10: NetworkFault.OUT_OF_DATE,
    62: NetworkFault.OTHER_HOST,
    64: NetworkFault.OTHER_HOST,
}
"""OpenSSL's verification codes (x509_vfy.h): not yet valid, expired, host name mismatch, IP address mismatch."""


def fault_of(error: httpx.RequestError) -> NetworkFault:
    """Return the cause of an httpx exception."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for link in chain:
        match link:
            case ssl.SSLCertVerificationError():
                return _CERTIFICATE.get(link.verify_code, NetworkFault.UNTRUSTED)
            case ssl.SSLError() if "WRONG_VERSION_NUMBER" in str(link) or "RECORD_LAYER" in str(link):
                return NetworkFault.PLAIN
            case socket.gaierror():
                return NetworkFault.NAME
            case ConnectionRefusedError():
                return NetworkFault.REFUSED
            case httpx.TimeoutException():
                return NetworkFault.TIMEOUT
            case httpx.UnsupportedProtocol():
                return NetworkFault.ADDRESS
            case httpx.DecodingError():
                return NetworkFault.NOT_HTTP
            case httpx.RemoteProtocolError() if "without sending" not in str(link):
                return NetworkFault.NOT_HTTP
    return NetworkFault.OTHER


class ProxySettingsError(Exception):
    """The environment variables for proxies have an invalid value."""


def open_client(**arguments: Any) -> httpx.Client:
    """Open an httpx client with these arguments. Raises ProxySettingsError."""
    try:
        return httpx.Client(**arguments)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise ProxySettingsError(
            "invalid HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY: proxies must be http:// or https:// URLs, and "
            "NO_PROXY must contain names or IPv4 addresses"
        ) from error


def split_url(url: str) -> SplitResult:
    """Split a URL. A malformed URL, or one with an invalid port, has empty parts."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError if it is invalid
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts

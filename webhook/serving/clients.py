"""Which clients may send reviews: anybody, or only those with a client certificate, such as the API server."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from certs.ports import InstallError

STATE = "client_name"
"""Where the protocol puts a client's name in the ASGI scope's state."""


@dataclass(frozen=True, kw_only=True)
class ClientVerification:
    """The CAs for clients' certificates, and the accepted common names (none: any name)."""

    ca_file: Path
    names: frozenset[str] = frozenset()

    def request_certificates(self, context: ssl.SSLContext) -> None:
        """Ask clients for a certificate. Raises InstallError.

        A client may connect without one, as the kubelet's probes and Prometheus do. A certificate from another CA ends
        the handshake.
        """
        try:
            context.load_verify_locations(cafile=self.ca_file)
        except ssl.SSLError as error:
            raise InstallError(f"clientCaFile: {self.ca_file} has no certificate in PEM") from error
        except OSError as error:
            raise InstallError(f"clientCaFile: cannot read {self.ca_file}: {error.strerror}") from error
        context.verify_mode = ssl.CERT_OPTIONAL

    def accepts(self, scope: Mapping[str, Any]) -> bool:
        """Return whether the client of a request may send reviews."""
        name = scope["state"].get(STATE)
        return name is not None and (not self.names or name in self.names)


def common_name(certificate: Mapping[str, Any] | None) -> str | None:
    """Return the common name in a certificate of the ssl module: "" if it has none, None without a certificate."""
    if not certificate:
        return None
    fields = [field for relative in certificate.get("subject", ()) for field in relative]
    return next((value for name, value in fields if name == "commonName"), "")

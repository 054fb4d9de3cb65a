"""Reads a certificate from files that something else renews, such as a mounted Secret of cert-manager.

CertificateFileError   the files are missing or unreadable, or do not belong together
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certs.issue import KeyPair


class CertificateFileError(Exception):
    """The files cannot be used. The message says which and why. It contains nothing of the key."""


def read_certificate(folder: Path) -> KeyPair:
    """Read tls.crt (a chain, the leaf first) and tls.key. Raises CertificateFileError."""
    certificate_file, key_file = folder / "tls.crt", folder / "tls.key"
    certificate_pem, private_key_pem = _read(certificate_file), _read(key_file)
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError as error:
        raise CertificateFileError(f"{certificate_file} is not a certificate in PEM") from error
    try:
        key = serialization.load_pem_private_key(private_key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateFileError(f"{key_file} is not a private key in PEM without a password") from error
    if key.public_key() != certificate.public_key():
        raise CertificateFileError(f"{key_file} does not belong to {certificate_file}")
    return KeyPair(certificate_pem=certificate_pem, private_key_pem=private_key_pem)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CertificateFileError(f"cannot read {file}: {error.strerror}") from error

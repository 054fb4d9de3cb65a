from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs.files import CertificateFileError, read_certificate
from certs.issue import issue_ca

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAIR, OTHER = (issue_ca(common_name=name, lifetime=timedelta(days=1), now=NOW) for name in ("one", "other"))


def write(folder: Path, certificate: bytes = PAIR.certificate_pem, key: bytes = PAIR.private_key_pem) -> Path:
    (folder / "tls.crt").write_bytes(certificate)
    (folder / "tls.key").write_bytes(key)
    return folder


def test_a_certificate_and_its_key_are_read(tmp_path: Path) -> None:
    assert read_certificate(write(tmp_path)) == PAIR


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CertificateFileError, match=r"tls\.crt: No such file"):
        read_certificate(tmp_path)


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (b"rubbish", PAIR.private_key_pem, r"tls\.crt is not a certificate"),
        (PAIR.certificate_pem, b"rubbish", r"tls\.key is not a private key"),
        (PAIR.certificate_pem, OTHER.private_key_pem, r"tls\.key does not belong"),
    ],
)
def test_files_that_cannot_be_served_are_refused(certificate: bytes, key: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(CertificateFileError, match=problem) as caught:
        read_certificate(write(tmp_path, certificate, key))
    assert "PRIVATE" not in str(caught.value)

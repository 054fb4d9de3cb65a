"""Finds credentials: in a mounted Secret, the environment, or by a prompt; never on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from webhook.token.grant import Credentials

FIELDS = {
    "username": "MLFLOW_TOKEN_USERNAME",
    "password": "MLFLOW_TOKEN_PASSWORD",
    "client-id": "MLFLOW_TOKEN_CLIENT_ID",
    "client-secret": "MLFLOW_TOKEN_CLIENT_SECRET",
}
"""Each field's file in a mounted Secret, and its environment variable."""
ISSUER = "MLFLOW_TOKEN_ISSUER"
"""The environment variable with the address of the issuer."""
OPTIONAL = frozenset({"client-secret"})
"""The secret of a public client is empty."""
CA_FILE = "ca.crt"
"""The CA of Dex's certificate, in the same folder; named as in Secrets of type kubernetes.io/tls."""


class CredentialsError(Exception):
    """Credentials are missing or cannot be read. The message says which ones, and the places that were searched."""


def find_credentials(
    *, folder: Path | None, environment: Mapping[str, str], ask: Callable[[str], str] | None
) -> Credentials:
    """Return credentials: each field from the folder, else the environment, else `ask`. Raises CredentialsError.

    One newline at the end of a file is removed, and a byte order mark at its beginning: editors and `echo` write them,
    and Dex would take them as part of the password.
    """
    found: dict[str, str] = {}
    for name, variable in FIELDS.items():
        value = _from_file(folder / name) if folder else None
        if value is None:
            value = environment.get(variable)
        if value is None and ask is not None:
            value = ask(name)
        if value and not _is_text(value):
            raise CredentialsError(f"{name}: {variable} is not UTF-8")
        if value:
            found[name] = value
    missing = [name for name in FIELDS if name not in found and name not in OPTIONAL]
    if missing:
        places = [f"file {folder / name}" for name in missing] if folder else []
        places += [FIELDS[name] for name in missing]
        raise CredentialsError(f"no {', '.join(missing)}: looked for {', '.join(places)}")
    return Credentials(
        username=found["username"],
        password=found["password"],
        client_id=found["client-id"],
        client_secret=found.get("client-secret", ""),
    )


def find_ca(folder: Path) -> Path | None:
    """Return the CA's file in a folder, or None."""
    file = folder / CA_FILE
    return file if file.is_file() else None


def _is_text(value: str) -> bool:
    """Return whether a value is valid text: Python represents other bytes of the environment as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _from_file(file: Path) -> str | None:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CredentialsError(f"cannot read {file}: {reason}") from None
    return text.removesuffix("\n").removesuffix("\r")

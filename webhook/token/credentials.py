"""Where credentials come from: a mounted Secret, the environment, a prompt; not the command line, which others see."""

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
OPTIONAL = frozenset({"client-secret"})
"""A public client has none; an empty answer at the prompt says so."""
CA_FILE = "ca.crt"
"""The file beside them that verifies Dex's certificate, named as in Secrets of type kubernetes.io/tls."""


class CredentialsError(Exception):
    """Something is missing; the message says what, and where it was looked for."""


def find_credentials(
    *, folder: Path | None, environment: Mapping[str, str], ask: Callable[[str], str] | None
) -> Credentials:
    """Take each field from the folder, else from the environment, else from `ask`. Raises CredentialsError.

    One newline at a file's end is not part of the value: editors and `echo` put it there, and Dex takes it for a part
    of the password.
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
    """Give the CA's file in the folder, or None."""
    file = folder / CA_FILE
    return file if file.is_file() else None


def _is_text(value: str) -> bool:
    """Python reads bytes of the environment that are not UTF-8 as lone surrogates, which cannot be sent."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _from_file(file: Path) -> str | None:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"cannot read {file}: {type(error).__name__}") from None
    return text.removesuffix("\n").removesuffix("\r")

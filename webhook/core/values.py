"""Reads the values that users write in annotations and settings: URLs, names, Secrets, true and false."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_RESERVED_WORKSPACES = frozenset({"workspaces", "api", "ajax-api", "static-files"})
_WORKSPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])")
_SECRET_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_SERVER = re.compile(
    r"([hH][tT][tT][pP][sS]?)://(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]*[0-9A-Za-z_-]\.?)(?::([0-9]{0,5}))?"
    r"(?:[/?#][\x21-\x5b\x5d-\x7e]*)?"
)
"""A URL that every client parses in the same way: only ASCII, no user name, no space, no backslash."""
_USER = re.compile(r"(://)[^/?#\s]*@")
"""A user name, with or without a password, in a URL."""
EXPERIMENT_LIMIT = 500
"""The longest name of an experiment (mlflow 3.17.2: utils/validation.py)."""
DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""The names of namespaces, Services and containers (RFC 1123)."""


class SecretKey(NamedTuple):
    """A key of a Secret in the pod's own namespace."""

    name: str
    key: str = "token"


def parse_tracking_uri(text: str) -> str:
    """Read an http(s) URL without credentials, query or fragment. Raises ValueError, which says what is expected."""
    expected = "an http:// or https:// URL with a host, and no user name, password, query or fragment"
    if origin(text) is None or any(c in "?#$" for c in text):
        raise ValueError(expected)
    return text


def hide_password(text: str) -> str:
    """Return a text without the user names and passwords in its URLs."""
    return _USER.sub(r"\1(not shown)@", text)


def parse_workspace(text: str) -> str:
    """Read a workspace's name by MLflow's rule (mlflow 3.17.2). Raises ValueError, which says what is expected."""
    if not _WORKSPACE.fullmatch(text) or text in _RESERVED_WORKSPACES:
        raise ValueError(
            "2 to 63 lowercase letters, digits and hyphens, starting and ending with a letter or digit, "
            f"and none of {', '.join(sorted(_RESERVED_WORKSPACES))}"
        )
    return text


def parse_optional_workspace(text: str) -> str | None:
    """Read a workspace's name, or an empty text for no workspace. Raises ValueError, which says what is expected."""
    try:
        return parse_workspace(text) if text else None
    except ValueError as error:
        raise ValueError(f"{error}; or an empty value for no workspace") from None


def parse_experiment(text: str) -> str:
    """Read an experiment's name. Raises ValueError, which says what is expected."""
    if not text.strip() or len(text) > EXPERIMENT_LIMIT or not text.isprintable():
        raise ValueError(f"the name of an experiment: 1 to {EXPERIMENT_LIMIT} printable characters")
    return text


def parse_optional_experiment(text: str) -> str:
    """Read an experiment's name, or an empty text for no experiment. Raises ValueError, which says what is expected."""
    try:
        return parse_experiment(text) if text else ""
    except ValueError as error:
        raise ValueError(f"{error}; or an empty value for no experiment") from None


def parse_secret(text: str) -> SecretKey:
    """Read ``name`` or ``name/key``. Raises ValueError, which says what is expected."""
    name, slash, key = text.partition("/")
    secret = SecretKey(name, key) if slash else SecretKey(name)
    if len(name) > 253 or not _SECRET_NAME.fullmatch(name) or not _SECRET_KEY.fullmatch(secret.key):
        raise ValueError("the name of a Secret, or NAME/KEY")
    return secret


def parse_bool(text: str) -> bool:
    """Read ``true`` or ``false``. Raises ValueError, which says what is expected."""
    if text not in {"true", "false"}:
        raise ValueError('"true" or "false"')
    return text == "true"


def parse_containers(text: str) -> frozenset[str]:
    """Read comma-separated container names. Raises ValueError, which says what is expected."""
    names = [name.strip() for name in text.split(",")]
    if not all(re.fullmatch(DNS_LABEL, name) for name in names):
        raise ValueError("comma-separated container names")
    return frozenset(names)


@lru_cache(maxsize=1024)
def origin(uri: str) -> tuple[str, str, int] | None:
    """Return the server of a URL (scheme, host and port); None if clients could disagree about it.

    None is returned for a URL with a user name or password, with a ``$(VAR)`` whose value is not known, or with
    characters that clients treat differently (spaces, backslashes, characters outside ASCII). Two spellings of one
    server may count as two servers, but two servers never count as one. Hosts are compared as text, ignoring case and
    one dot at the end.
    """
    parts = _SERVER.fullmatch(uri)
    if parts is None or "$(" in uri:
        return None
    scheme, host = parts[1].lower(), parts[2].lower().removesuffix(".")
    port = int(parts[3] or (443 if scheme == "https" else 80))
    return (scheme, host, port) if port < 1 << 16 else None

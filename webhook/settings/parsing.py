"""Parses the text of one setting. Each parser raises ValueError, which says what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from math import nan

from webhook.core.links import parse_link
from webhook.core.values import DNS_LABEL, parse_bool, parse_experiment

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DNS_NAME = re.compile(rf"(\*\.)?{DNS_LABEL}(\.{DNS_LABEL})*")
_SIZES = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20}


def parse_port(text: str) -> int:
    """Read a port number."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ValueError("a port number from 0 to 65535 (0 means a free port)")
    return int(text)


def duration(least: str, most: str) -> Callable[[str], timedelta]:
    """Return a parser for a duration from `least` to `most`."""

    def parse(text: str) -> timedelta:
        duration = _seconds(text)
        if not (_seconds(least) <= duration <= _seconds(most)):  # also refuses nan
            raise ValueError(f"a duration from {least} to {most}, such as 500ms, 10s, 5m, 12h or 30d")
        return timedelta(seconds=duration)

    return parse


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text)
    return float(match[1]) * _UNITS[match[2]] if match else nan


def parse_size(text: str) -> int:
    """Read a size in bytes, such as ``512Ki``."""
    match = re.fullmatch(r"([1-9][0-9]{0,9})(Ki|Mi)?", text)
    size = int(match[1]) * _SIZES[match[2] or ""] if match else 0
    if not 1 << 16 <= size <= 1 << 30:
        raise ValueError("a size in bytes from 64Ki to 1024Mi, such as 524288, 512Ki or 7Mi")
    return size


def parse_address(text: str) -> str:
    """Read an address to listen on."""
    if not text or any(character.isspace() for character in text):
        raise ValueError("an address to listen on, such as 0.0.0.0, :: or 127.0.0.1")
    return text


def parse_name(text: str) -> str:
    """Read the name of a Kubernetes object."""
    if not _NAME.fullmatch(text):
        raise ValueError("a Kubernetes name: lowercase letters, digits, hyphens and dots")
    return text


def parse_label(text: str) -> str:
    """Read the name of a Service or a namespace (RFC 1123)."""
    if not re.fullmatch(DNS_LABEL, text):
        raise ValueError("the name of a Service or namespace: 1 to 63 lowercase letters, digits and hyphens")
    return text


def parse_optional_label(text: str) -> str:
    """Read the name of a namespace, or nothing."""
    return parse_label(text) if text else ""


def parse_folder(text: str) -> str:
    """Read the path of a folder."""
    if not text.strip():
        raise ValueError("the path of a folder, such as /certs")
    return text


def parse_texts(text: str) -> tuple[str, ...]:
    """Read comma-separated texts of any kind."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_names(text: str) -> tuple[str, ...]:
    """Read comma-separated DNS names and IP addresses."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not all(_DNS_NAME.fullmatch(name.lower()) or _is_address(name) for name in names):
        raise ValueError("comma-separated DNS names and IP addresses")
    return names


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def parse_optional_bool(text: str) -> bool | None:
    """Read ``true`` or ``false``, or ``auto``, which is None."""
    try:
        return None if text == "auto" else parse_bool(text)
    except ValueError:
        raise ValueError('"auto", "true" or "false"') from None


def parse_optional_experiment(text: str) -> str | None:
    """Read the name of an experiment, or an empty text, which is None."""
    return parse_experiment(text) if text else None


def parse_pipeline_run_url(text: str) -> str:
    """Read the template for the URL of a pipeline run's page, or nothing."""
    return parse_link(text, known=("namespace", "run_id"), required=("run_id",))


def parse_mlflow_url(text: str) -> str:
    """Read the template for MLflow's URL in a browser, or nothing."""
    return parse_link(text, known=("workspace",))


def one_of(*allowed: str) -> Callable[[str], str]:
    """Return a parser that accepts one of these words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(" or ".join(f'"{word}"' for word in allowed))
        return text

    return parse

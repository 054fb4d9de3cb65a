"""Templates for URLs that people open in a browser, with placeholders such as ``{namespace}``."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import quote, urlsplit

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def parse_link(text: str, *, known: Collection[str], required: Collection[str] = ()) -> str:
    """Check a template. Empty is allowed and means no link. Raises ValueError, which says what is expected."""
    if not text:
        return ""
    found = set(_PLACEHOLDER.findall(text))
    braces = _PLACEHOLDER.sub("", text)
    if not _is_web_address(text) or "{" in braces or "}" in braces or found - set(known) or set(required) - found:
        allowed = ",".join(f" {{{name}}}{'' if name in required else ' (optional)'}" for name in known)
        raise ValueError(
            f"an http:// or https:// URL without user name and password, with the placeholders{allowed}; or nothing"
        )
    return text


def fill_link(template: str, **values: str) -> str:
    """Put values into a template, percent-encoded. A placeholder without a value stays."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", quote(value, safe=""))
    return template


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(_PLACEHOLDER.sub("x", text))
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    return plain and has_port and parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc

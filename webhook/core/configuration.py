"""What applies to one pod, and where each value came from.

Precedence: built-in default < platform (file, environment) < namespace annotation < pod annotation. An annotation that
does not parse is left aside with a warning that names it and the value expected; it never stands in a pod's way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from webhook.core.names import ANNOTATION_GROUP, DECISION_ANNOTATION, LABEL

T = TypeVar("T")

_PREFIX = f"{ANNOTATION_GROUP}/"
_RESERVED_WORKSPACES = frozenset({"workspaces", "api", "ajax-api", "static-files"})
_WORKSPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])")
_SECRET_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_USER = re.compile(r"(://)[^/?#\s]*@")
"""A user name and a password in a URL."""
DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""What namespaces, Services and containers are called (RFC 1123)."""


class Source(StrEnum):
    """Where a value came from, as `explain` shows it."""

    DEFAULT = "built-in default"
    PLATFORM = "platform"
    NAMESPACE = "namespace"
    NAMESPACE_ANNOTATION = "namespace annotation"
    POD_ANNOTATION = "pod annotation"
    WORKLOAD = "workload"
    POD = "already in the pod"


class Sourced(NamedTuple, Generic[T]):
    """A value and where it came from."""

    value: T
    source: Source = Source.DEFAULT


_UNSET: Sourced[Any] = Sourced(None)


class SecretKey(NamedTuple):
    """A key of a Secret in the pod's own namespace."""

    name: str
    key: str = "token"


class Namespace(msgspec.Struct, frozen=True, eq=False):
    """What is known of a namespace. One object says the same as long as it lives; a change is another object."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def enabled(self) -> bool:
        """Whether its label asks for wiring; it is then a workspace as well."""
        return self.labels.get(LABEL) == "true"


class Platform(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the platform configures for every pod. `experiment` None: the workload's own name."""

    tracking_uri: Sourced[str] = Sourced("http://mlflow-tracking-server.kubeflow:5000")
    token_secret: Sourced[SecretKey] = Sourced(SecretKey("mlflow-token"))
    token_optional: Sourced[bool | None] = Sourced(None)
    workspaces: Sourced[bool] = Sourced(True)
    experiment: Sourced[str | None] = Sourced(None)
    lineage: Sourced[bool] = Sourced(True)
    env: Mapping[str, str] = msgspec.field(default_factory=dict)


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What applies to one pod.

    `workspace` None: no workspace. `experiment` None: the workload's own name; empty: none. `token_secret` None: no
    token, because the pod names another server than the one the namespace's token is for. `token_optional` None: as
    the pod asked (required for an explicit request, optional for an implied one). `containers` None: those the
    workload has.
    """

    tracking_uri: Sourced[str]
    workspace: Sourced[str | None]
    token_secret: Sourced[SecretKey] | None
    token_optional: Sourced[bool | None]
    experiment: Sourced[str | None]
    lineage: Sourced[bool]
    containers: Sourced[frozenset[str] | None]
    env: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def configure(platform: Platform, namespace: Namespace, pod_annotations: Mapping[str, str]) -> Configuration:
    """Apply the annotations of the namespace, then those of the pod, to the platform's configuration."""
    configuration = _of_namespace(platform, namespace)
    if not _concerned(pod_annotations):
        return configuration
    values, warnings = _parse(pod_annotations, of="pod", source=Source.POD_ANNOTATION)
    merged = replace(configuration, **values, warnings=(*configuration.warnings, *warnings))
    if "token_secret" not in values and origin(merged.tracking_uri.value) != origin(configuration.tracking_uri.value):
        return replace(
            merged,
            token_secret=None,
            warnings=(
                *merged.warnings,
                f"annotation {_PREFIX}tracking-uri of the pod names another server than its namespace has; "
                f"the namespace's token is not sent there. Name the token for it with {_PREFIX}token-secret",
            ),
        )
    return merged


@lru_cache(maxsize=1024)
def _of_namespace(platform: Platform, namespace: Namespace) -> Configuration:
    workspace, warnings = _workspace(platform, namespace)
    configuration = Configuration(
        tracking_uri=platform.tracking_uri,
        workspace=workspace,
        token_secret=platform.token_secret,
        token_optional=platform.token_optional,
        experiment=platform.experiment,
        lineage=platform.lineage,
        containers=_UNSET,
        env=platform.env,
        warnings=warnings,
    )
    if not _concerned(namespace.annotations):
        return configuration
    values, more = _parse(namespace.annotations, of="namespace", source=Source.NAMESPACE_ANNOTATION)
    return replace(configuration, **values, warnings=(*warnings, *more))


def _workspace(platform: Platform, namespace: Namespace) -> tuple[Sourced[str | None], tuple[str, ...]]:
    if not platform.workspaces.value:
        return Sourced(None, platform.workspaces.source), ()
    if not namespace.enabled:
        return _UNSET, ()
    try:
        return Sourced(parse_workspace(namespace.name), Source.NAMESPACE), ()
    except ValueError as error:
        return _UNSET, (f"namespace {namespace.name} is labelled but cannot be a workspace: expected {error}",)


def _concerned(annotations: Mapping[str, str]) -> bool:
    return _PREFIX in "\n".join(annotations)  # a look at all keys at once; what is found is looked at one by one


def _parse(annotations: Mapping[str, str], *, of: str, source: Source) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    warnings: list[str] = []
    for name in sorted(annotations):
        if not name.startswith(_PREFIX) or name == DECISION_ANNOTATION:
            continue
        key = ANNOTATION_KEYS.get(name.removeprefix(_PREFIX))
        if key is None:
            known = ", ".join(ANNOTATION_KEYS)
            warnings.append(f"annotation {name} of the {of} is not known; there are: {known}")
        elif key.pod_only and of != "pod":
            warnings.append(f"annotation {name} is read from pods only, not from a {of}")
        else:
            try:
                values[key.field] = Sourced(key.parse(annotations[name]), source)
            except ValueError as error:
                warnings.append(f"annotation {name} of the {of} is ignored: expected {error}")
    return values, warnings


def parse_tracking_uri(text: str) -> str:
    """Take an http(s) URL without credentials, query or fragment; ValueError says what is expected."""
    expected = "an http:// or https:// URL with a host, and no user name, password, query or fragment"
    if origin(text) is None or not text.isascii() or any(c.isspace() or c in "?#$" for c in text):
        raise ValueError(expected)
    return text


def hide_password(text: str) -> str:
    """Take user names and passwords out of the URLs in a text."""
    return _USER.sub(r"\1(not shown)@", text)


def parse_workspace(text: str) -> str:
    """Take a workspace's name by MLflow's rule (observed with mlflow 3.17.2); ValueError says what is expected."""
    if not _WORKSPACE.fullmatch(text) or text in _RESERVED_WORKSPACES:
        raise ValueError(
            "2 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit, "
            f"and none of {', '.join(sorted(_RESERVED_WORKSPACES))}"
        )
    return text


def parse_optional_workspace(text: str) -> str | None:
    """Take a workspace's name, or the empty string for no workspace; ValueError says what is expected."""
    try:
        return parse_workspace(text) if text else None
    except ValueError as error:
        raise ValueError(f"{error}; or nothing, for no workspace") from None


def parse_experiment(text: str) -> str:
    """Take an experiment's name; ValueError says what is expected."""
    if not text.strip() or len(text) > 500 or not text.isprintable():
        raise ValueError("the name of an experiment: 1 to 500 printable characters")
    return text


def parse_optional_experiment(text: str) -> str:
    """Take an experiment's name, or the empty string for none; ValueError says what is expected."""
    try:
        return parse_experiment(text) if text else ""
    except ValueError as error:
        raise ValueError(f"{error}; or nothing, for none") from None


def parse_secret(text: str) -> SecretKey:
    """Take ``name`` or ``name/key``; ValueError says what is expected."""
    name, slash, key = text.partition("/")
    secret = SecretKey(name, key) if slash else SecretKey(name)
    if len(name) > 253 or not _SECRET_NAME.fullmatch(name) or not _SECRET_KEY.fullmatch(secret.key):
        raise ValueError("the name of a Secret, or NAME/KEY")
    return secret


def parse_bool(text: str) -> bool:
    """Take ``true`` or ``false``; ValueError says what is expected."""
    if text not in {"true", "false"}:
        raise ValueError('"true" or "false"')
    return text == "true"


def parse_containers(text: str) -> frozenset[str]:
    """Take names of containers, parted by commas; ValueError says what is expected."""
    names = [name.strip() for name in text.split(",")]
    if not all(re.fullmatch(DNS_LABEL, name) for name in names):
        raise ValueError("names of containers, parted by commas")
    return frozenset(names)


class AnnotationKey(NamedTuple):
    """One annotation: the field it sets, how its value is read, and whether namespaces may carry it."""

    field: str
    parse: Callable[[str], Any]
    pod_only: bool = False


ANNOTATION_KEYS: Mapping[str, AnnotationKey] = {
    "tracking-uri": AnnotationKey("tracking_uri", parse_tracking_uri),
    "workspace": AnnotationKey("workspace", parse_optional_workspace),
    "experiment": AnnotationKey("experiment", parse_optional_experiment),
    "token-secret": AnnotationKey("token_secret", parse_secret),
    "token-optional": AnnotationKey("token_optional", parse_bool),
    "lineage": AnnotationKey("lineage", parse_bool),
    "containers": AnnotationKey("containers", parse_containers, pod_only=True),
}


@lru_cache(maxsize=1024)
def origin(uri: str) -> tuple[str, str, int] | None:
    """Name the server of a URL: scheme, host, port; None when it is not plainly an http(s) server.

    Not plainly is also: credentials in the URL, or a ``$(VAR)`` whose value is not known here.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or "$(" in uri:
        return None
    return parts.scheme, parts.hostname.rstrip("."), port or (443 if parts.scheme == "https" else 80)

"""The configuration of one pod, and where each value came from.

Precedence: built-in default < platform (file, environment) < namespace annotation < pod annotation. An invalid
annotation is ignored, with a warning that says its name and the expected value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from webhook.core.client_plugin import ClientPlugin
from webhook.core.links import fill_link
from webhook.core.names import ANNOTATION_GROUP, DECISION_ANNOTATION, LABEL

T = TypeVar("T")

_PREFIX = f"{ANNOTATION_GROUP}/"
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


class Source(StrEnum):
    """Where a value came from, as shown by `explain`."""

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
    """A namespace's labels and annotations. Immutable: a change of the namespace makes a new object."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def enabled(self) -> bool:
        """Return whether the namespace's label asks for wiring. Its name is then also the workspace."""
        return self.labels.get(LABEL) == "true"


class Platform(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the platform configures for every pod.

    `experiment`: None means the workload's name. `pipeline_run_url`: the URL of a pipeline run's page, with the
    placeholders ``{namespace}`` and ``{run_id}``, or empty.
    """

    tracking_uri: Sourced[str] = Sourced("http://mlflow-tracking-server.kubeflow:5000")
    token_secret: Sourced[SecretKey] = Sourced(SecretKey("mlflow-token"))
    token_optional: Sourced[bool | None] = Sourced(None)
    workspaces: Sourced[bool] = Sourced(True)
    experiment: Sourced[str | None] = Sourced(None)
    lineage: Sourced[bool] = Sourced(True)
    pipeline_run_url: str = ""
    client_plugin: Sourced[bool] = Sourced(False)
    plugin: ClientPlugin | None = None
    """The plugin's files. None: no container gets the plugin, even if a pod asks for it."""
    env: Mapping[str, str] = msgspec.field(default_factory=dict)


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration of one pod.

    `workspace`: None means no workspace. `experiment`: None means the workload's name, empty means no experiment.
    `token_secret`: None means no token, because the pod names another server than the one that the namespace's token is
    for. `token_optional`: None means required for a pod with its own label, and optional for others. `containers`: None
    means those that run the user's code. `pipeline_run_url`: the URL of a pipeline run's page, with the placeholder
    ``{run_id}``, or empty.
    """

    tracking_uri: Sourced[str]
    workspace: Sourced[str | None]
    token_secret: Sourced[SecretKey] | None
    token_optional: Sourced[bool | None]
    experiment: Sourced[str | None]
    lineage: Sourced[bool]
    client_plugin: Sourced[bool]
    containers: Sourced[frozenset[str] | None]
    pipeline_run_url: str
    env: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def configure(platform: Platform, namespace: Namespace, pod_annotations: Mapping[str, str]) -> Configuration:
    """Apply the annotations of the namespace, then those of the pod, to the platform's configuration."""
    configuration = _of_namespace(platform, namespace)
    if not _has_annotations(pod_annotations):
        return configuration
    values, warnings = _parse(pod_annotations, of="pod", source=Source.POD_ANNOTATION)
    merged = replace(configuration, **values, warnings=(*configuration.warnings, *warnings))
    if "token_secret" not in values and origin(merged.tracking_uri.value) != origin(configuration.tracking_uri.value):
        return replace(
            merged,
            token_secret=None,
            warnings=(
                *merged.warnings,
                f"annotation {_PREFIX}tracking-uri of the pod names another server than the namespace uses, so the pod "
                "does not get the namespace's token. "
                f"Name a Secret with a token for that server in {_PREFIX}token-secret",
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
        client_plugin=platform.client_plugin,
        containers=_UNSET,
        pipeline_run_url=fill_link(platform.pipeline_run_url, namespace=namespace.name),
        env=platform.env,
        warnings=warnings,
    )
    if not _has_annotations(namespace.annotations):
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
        return _UNSET, (f"the name of the namespace {namespace.name} is not a valid workspace: expected {error}",)


def _has_annotations(annotations: Mapping[str, str]) -> bool:
    return _PREFIX in "\n".join(annotations)  # one search is faster than one for each key


def _parse(annotations: Mapping[str, str], *, of: str, source: Source) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    warnings: list[str] = []
    for name in sorted(annotations):
        if not name.startswith(_PREFIX) or name == DECISION_ANNOTATION:
            continue
        key = ANNOTATION_KEYS.get(name.removeprefix(_PREFIX))
        if key is None:
            known = ", ".join(ANNOTATION_KEYS)
            warnings.append(f"unknown annotation {name} of the {of}; known keys are: {known}")
        elif key.pod_only and of != "pod":
            warnings.append(f"annotation {name} of the {of} is ignored: it is read from pods only")
        else:
            try:
                values[key.field] = Sourced(key.parse(annotations[name]), source)
            except ValueError as error:
                warnings.append(f"annotation {name} of the {of} is ignored: expected {error}")
    return values, warnings


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


class AnnotationKey(NamedTuple):
    """An annotation: the field it sets, how its value is parsed, and whether it is read from pods only."""

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
    "client-plugin": AnnotationKey("client_plugin", parse_bool),
    "containers": AnnotationKey("containers", parse_containers, pod_only=True),
}


@lru_cache(maxsize=1024)
def origin(uri: str) -> tuple[str, str, int] | None:
    """Return the server of a URL (scheme, host and port), or None if clients could disagree about it.

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

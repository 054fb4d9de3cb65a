"""The variables that one container gets. They come in groups: all variables of a group are added, or none.

A container that names another server, or has credentials for one, gets nothing (webhook.core.conflicts).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from webhook.core import names
from webhook.core.client_plugin import VARIABLES as PLUGIN_VARIABLES
from webhook.core.client_plugin import PluginObstacle, find_obstacle, has_mount
from webhook.core.configuration import Configuration, Source, Sourced
from webhook.core.conflicts import (
    Skip,
    find_conflict,
    is_configured_token,
    own_credentials,
    server_and_credential_values,
)
from webhook.core.lineage import PIPELINE_RUN_ID, PIPELINE_RUN_URL, Lineage
from webhook.core.links import fill_link
from webhook.core.pod import Container, EnvVar
from webhook.core.reasons import Reason
from webhook.core.values import SecretKey


class Group(StrEnum):
    """Variables of which all are added, or none."""

    SERVER = "server"
    WORKSPACE = "workspace"
    IDENTITY = "identity"
    EXPERIMENT = "experiment"
    LINEAGE = "lineage"
    PLUGIN = "plugin"
    EXTRAS = "extras"


class SecretRef(msgspec.Struct, frozen=True, gc=False):
    """A value that the kubelet reads from a Secret. If it is required, the container starts only when it exists."""

    secret: SecretKey
    optional: bool

    def source(self) -> dict[str, Any]:
        """Return the entry's ``valueFrom``."""
        name, key = self.secret
        return {"secretKeyRef": {"name": name, "key": key, "optional": self.optional}}


class FieldRef(msgspec.Struct, frozen=True, gc=False):
    """A value that the kubelet reads from the pod itself (the downward API)."""

    path: str

    def source(self) -> dict[str, Any]:
        """Return the entry's ``valueFrom``."""
        return {"fieldRef": {"apiVersion": "v1", "fieldPath": self.path}}


class Variable(msgspec.Struct, frozen=True, gc=False):
    """A variable that a container gets."""

    name: str
    value: str | SecretRef | FieldRef
    group: Group
    source: Source

    def entry(self) -> dict[str, Any]:
        """Return the entry of the container's ``env``."""
        value = self.value
        if isinstance(value, str):
            return {"name": self.name, "value": value}
        return {"name": self.name, "valueFrom": value.source()}


Variables = tuple[Variable, ...]


class Wiring(NamedTuple):
    """What a container gets, or why it gets nothing."""

    variables: Variables = ()
    skip: Skip | None = None
    plugin: bool = False
    """Whether the container has the client plugin, added now or by an earlier call."""
    obstacle: PluginObstacle | None = None
    """Why the container does not have the plugin, if somebody asked for it."""


def wire(
    container: Container,
    *,
    configuration: Configuration,
    lineage: Lineage,
    explicit: bool,
    given: Collection[str],
    plugin: bool,
) -> Wiring:
    """Return what a container gets, in the order in which the variables are prepended to its ``env``.

    A variable that the container has is never added again: Kubernetes uses the last of two entries with the same name.
    `given`: names of the container's variables that an earlier call added. `plugin`: whether somebody asks for the
    client plugin and the pod can have it.
    """
    present = {variable.name: variable for variable in container.env or ()}
    values = server_and_credential_values(container, present, configuration.tracking_uri.value)
    conflict = find_conflict(present, values, configuration, given=given)
    if conflict is not None:
        return Wiring(skip=conflict)
    brought = own_credentials(present, values)
    foreign = [name for name in brought if not is_configured_token(present[name], configuration)]
    obstacle = find_obstacle(container, foreign, configuration.env) if plugin else None
    wanted = [
        *_server(configuration),
        *_workspace(configuration),
        *_identity(brought, configuration, explicit=explicit),
        *_experiment(present, configuration, lineage),
        *_lineage(present, configuration, lineage),
        *(_plugin(configuration) if plugin and obstacle is None else ()),
        *_extras(configuration),
    ]
    variables = tuple([variable for variable in wanted if variable.name not in present])
    has_plugin = (
        plugin
        and obstacle is None
        and (has_mount(container) or any(variable.group is Group.PLUGIN for variable in variables))
    )
    return Wiring(variables, None if variables else Skip(Reason.NOTHING_TO_ADD), has_plugin, obstacle)


def _server(configuration: Configuration) -> Variables:
    uri = configuration.tracking_uri
    return (Variable(names.TRACKING_URI, uri.value, Group.SERVER, uri.source),)


def _workspace(configuration: Configuration) -> Variables:
    workspace = configuration.workspace
    if workspace.value is None:
        return ()
    return (Variable(names.WORKSPACE, workspace.value, Group.WORKSPACE, workspace.source),)


def _identity(brought: Collection[str], configuration: Configuration, *, explicit: bool) -> Variables:
    secret = configuration.token_secret
    if secret is None or brought:
        return ()
    reference = SecretRef(secret.value, optional=token_is_optional(configuration, explicit=explicit))
    return (Variable(names.TRACKING_TOKEN, reference, Group.IDENTITY, secret.source),)


def token_is_optional(configuration: Configuration, *, explicit: bool) -> bool:
    """Return whether a pod may start without the token's Secret."""
    optional = configuration.token_optional.value
    return not explicit if optional is None else optional


def experiment_name(configuration: Configuration, lineage: Lineage) -> Sourced[str | None]:
    """Return the experiment for a pod's runs, unless the container names one. None or empty means no experiment."""
    if configuration.experiment.value is not None:
        return configuration.experiment
    return Sourced(lineage.experiment, Source.WORKLOAD)


def _experiment(present: Mapping[str, EnvVar], configuration: Configuration, lineage: Lineage) -> Variables:
    if not names.EXPERIMENT_CHOICES.isdisjoint(present) and _chooses_experiment(present):
        return ()
    name, source = experiment_name(configuration, lineage)
    if not name:
        return ()
    return (Variable(names.EXPERIMENT_NAME, _literal(name), Group.EXPERIMENT, source),)


def _chooses_experiment(present: Mapping[str, EnvVar]) -> bool:
    """Return whether a container's own variables choose the experiment of its runs.

    An empty run id or experiment id chooses none, but an empty name is a name (mlflow 3.17.2, ``tracking/fluent.py``).
    """
    ids = [present[name] for name in (names.EXPERIMENT_ID, names.RUN_ID) if name in present]
    return names.EXPERIMENT_NAME in present or any(one.value or one.value_from for one in ids)


def _lineage(present: Mapping[str, EnvVar], configuration: Configuration, lineage: Lineage) -> Variables:
    # Add both or neither: $(VAR) refers only to earlier entries, so an added entry cannot refer to the container's own.
    if not configuration.lineage.value or names.RUN_CONTEXT in present or names.POD_NAME in present:
        return ()
    tags = {name: _literal(value) for name, value in lineage.tags.items()}
    if configuration.pipeline_run_url and PIPELINE_RUN_ID in lineage.tags:
        link = fill_link(configuration.pipeline_run_url, run_id=lineage.tags[PIPELINE_RUN_ID])
        tags[PIPELINE_RUN_URL] = _literal(link)
    if lineage.run_name:
        tags["mlflow.runName"] = _literal(lineage.run_name)
    tags["k8s.pod.name"] = f"$({names.POD_NAME})"
    return (
        Variable(names.POD_NAME, FieldRef("metadata.name"), Group.LINEAGE, Source.WORKLOAD),
        Variable(names.RUN_CONTEXT, _encode(tags), Group.LINEAGE, Source.WORKLOAD),
    )


def _plugin(configuration: Configuration) -> Variables:
    source = configuration.client_plugin.source
    return tuple([Variable(name, value, Group.PLUGIN, source) for name, value in PLUGIN_VARIABLES.items()])


def _extras(configuration: Configuration) -> Variables:
    if not configuration.env:
        return ()
    return tuple([Variable(name, value, Group.EXTRAS, Source.PLATFORM) for name, value in configuration.env.items()])


def _literal(text: str) -> str:
    # the kubelet expands $(VAR) in values, and reads $$ as a dollar sign
    return text.replace("$", "$$")


def _encode(tags: Mapping[str, str]) -> str:
    return msgspec.json.encode(tags).decode()

"""The environment one container gets, in groups that stand or fall together.

A container that names another server or brings credentials for one gets nothing (webhook.core.conflicts).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from webhook.core import names
from webhook.core.configuration import Configuration, SecretKey, Source
from webhook.core.conflicts import Skip, brought_credentials, find_conflict, values_that_matter
from webhook.core.lineage import PIPELINE_RUN_ID, PIPELINE_RUN_URL, Lineage
from webhook.core.links import fill_link
from webhook.core.reasons import Reason
from webhook.core.review import Container, EnvVar


class Group(StrEnum):
    """Variables that are given together, or not at all."""

    SERVER = "server"
    WORKSPACE = "workspace"
    IDENTITY = "identity"
    EXPERIMENT = "experiment"
    LINEAGE = "lineage"
    EXTRAS = "extras"


class SecretRef(msgspec.Struct, frozen=True, gc=False):
    """A value that the kubelet takes from a Secret. With `optional` False it holds the pod until the Secret exists."""

    secret: SecretKey
    optional: bool

    def source(self) -> dict[str, Any]:
        """Return the entry's ``valueFrom``."""
        name, key = self.secret
        return {"secretKeyRef": {"name": name, "key": key, "optional": self.optional}}


class FieldRef(msgspec.Struct, frozen=True, gc=False):
    """A value that the kubelet takes from the pod itself (the downward API)."""

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


def wire(
    container: Container,
    *,
    configuration: Configuration,
    lineage: Lineage,
    explicit: bool,
    given: Collection[str] = (),
) -> Wiring:
    """Return what a container gets, in the order in which it is prepended to its ``env``.

    A variable that the container has is never given again: in Kubernetes the later of two entries with the same name
    counts. `given` names the container's variables that an earlier call gave.
    """
    present = {variable.name: variable for variable in container.env or ()}
    values = values_that_matter(container, present, configuration.tracking_uri.value)
    conflict = find_conflict(present, values, configuration, given=given)
    if conflict is not None:
        return Wiring(skip=conflict)
    wanted = [
        *_server(configuration),
        *_workspace(configuration),
        *_identity(brought_credentials(present, values), configuration, explicit=explicit),
        *_experiment(present, configuration, lineage),
        *_lineage(present, configuration, lineage),
        *_extras(configuration),
    ]
    variables = tuple([variable for variable in wanted if variable.name not in present])
    return Wiring(variables) if variables else Wiring(skip=Skip(Reason.NOTHING_TO_ADD))


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
    optional = configuration.token_optional.value
    reference = SecretRef(secret.value, optional=not explicit if optional is None else optional)
    return (Variable(names.TRACKING_TOKEN, reference, Group.IDENTITY, secret.source),)


def _experiment(present: Mapping[str, EnvVar], configuration: Configuration, lineage: Lineage) -> Variables:
    if not names.EXPERIMENT_CHOICES.isdisjoint(present):
        return ()
    if configuration.experiment.value is not None:
        name, source = configuration.experiment
    else:
        name, source = lineage.experiment, Source.WORKLOAD
    if not name:
        return ()
    return (Variable(names.EXPERIMENT_NAME, _literal(name), Group.EXPERIMENT, source),)


def _lineage(present: Mapping[str, EnvVar], configuration: Configuration, lineage: Lineage) -> Variables:
    # Both or none: $(VAR) refers only to earlier entries, so what is prepended cannot refer to the container's own.
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


def _extras(configuration: Configuration) -> Variables:
    if not configuration.env:
        return ()
    return tuple([Variable(name, value, Group.EXTRAS, Source.PLATFORM) for name, value in configuration.env.items()])


def _literal(text: str) -> str:
    # the kubelet expands $(VAR) in values, and takes $$ for a dollar sign
    return text.replace("$", "$$")


def _encode(tags: Mapping[str, str]) -> str:
    return msgspec.json.encode(tags).decode()

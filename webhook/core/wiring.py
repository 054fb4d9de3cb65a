"""The environment one container gets, in groups that stand or fall together.

A server and its credentials belong together: our token never goes to a container that names another server, and our
server is never given to a container that brings credentials which are not ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from webhook.core import names
from webhook.core.configuration import Configuration, SecretKey, Source, origin
from webhook.core.reasons import Reason
from webhook.core.review import Container, EnvVar
from webhook.core.workload import Lineage, wired_by_kfp_plugin


class Group(StrEnum):
    """Variables that are given together, or not at all."""

    SERVER = "server"
    WORKSPACE = "workspace"
    IDENTITY = "identity"
    EXPERIMENT = "experiment"
    LINEAGE = "lineage"
    EXTRAS = "extras"


class SecretRef(msgspec.Struct, frozen=True, gc=False):
    """A value that the kubelet takes from a Secret. `optional` False holds the pod until the Secret is there."""

    secret: SecretKey
    optional: bool

    def source(self) -> dict[str, Any]:
        """Give the entry's ``valueFrom``."""
        name, key = self.secret
        return {"secretKeyRef": {"name": name, "key": key, "optional": self.optional}}


class FieldRef(msgspec.Struct, frozen=True, gc=False):
    """A value that the kubelet takes from the pod itself (the downward API)."""

    path: str

    def source(self) -> dict[str, Any]:
        """Give the entry's ``valueFrom``."""
        return {"fieldRef": {"apiVersion": "v1", "fieldPath": self.path}}


class Variable(msgspec.Struct, frozen=True, gc=False):
    """A variable that a container gets."""

    name: str
    value: str | SecretRef | FieldRef
    group: Group
    source: Source

    def entry(self) -> dict[str, Any]:
        """Give the entry of the container's ``env``."""
        value = self.value
        if isinstance(value, str):
            return {"name": self.name, "value": value}
        return {"name": self.name, "valueFrom": value.source()}


Variables = tuple[Variable, ...]


class Wiring(NamedTuple):
    """What a container gets, or the reason for which it gets nothing."""

    variables: Variables = ()
    skipped: Reason | None = None


def wire(container: Container, *, configuration: Configuration, lineage: Lineage, explicit: bool) -> Wiring:
    """Say what a container gets, in the order in which it is prepended to its ``env``.

    A variable that the container has is never given again: in Kubernetes the later of two entries wins, and it would
    be the user's own that is shadowed or shadows.
    """
    present = {variable.name: variable for variable in container.env or ()}
    if wired_by_kfp_plugin(present):
        return Wiring(skipped=Reason.KFP_PLUGIN)
    conflict = _conflict(present, configuration)
    if conflict is not None:
        return Wiring(skipped=conflict)
    wanted = [
        *_server(configuration),
        *_workspace(configuration),
        *_identity(present, configuration, explicit=explicit),
        *_experiment(present, configuration, lineage),
        *_lineage(present, configuration, lineage),
        *_extras(configuration),
    ]
    variables = tuple([variable for variable in wanted if variable.name not in present])
    return Wiring(variables) if variables else Wiring(skipped=Reason.NOTHING_TO_ADD)


def _conflict(present: Mapping[str, EnvVar], configuration: Configuration) -> Reason | None:
    ours = origin(configuration.tracking_uri.value)
    for name in (names.TRACKING_URI, names.REGISTRY_URI):
        # the client sends its token to the model registry's server as well
        if name in present and (uri := present[name].value or "") and origin(uri) == ours:
            continue
        if name in present:
            return Reason.OTHER_SERVER
    if names.TRACKING_URI in present:
        return None
    brought = names.CREDENTIALS & present.keys()
    foreign = brought and any(not _is_our_token(present[name], configuration) for name in brought)
    return Reason.FOREIGN_CREDENTIALS if foreign else None


def _is_our_token(variable: EnvVar, configuration: Configuration) -> bool:
    reference = variable.value_from.secret_key_ref if variable.value_from else None
    return (
        variable.name == names.TRACKING_TOKEN
        and reference is not None
        and configuration.token_secret is not None
        and configuration.token_secret.value == (reference.name, reference.key)
    )


def _server(configuration: Configuration) -> Variables:
    uri = configuration.tracking_uri
    return (Variable(names.TRACKING_URI, uri.value, Group.SERVER, uri.source),)


def _workspace(configuration: Configuration) -> Variables:
    workspace = configuration.workspace
    if workspace.value is None:
        return ()
    return (Variable(names.WORKSPACE, workspace.value, Group.WORKSPACE, workspace.source),)


def _identity(present: Mapping[str, EnvVar], configuration: Configuration, *, explicit: bool) -> Variables:
    secret = configuration.token_secret
    if secret is None or not names.CREDENTIALS.isdisjoint(present):
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
    # both or none: $(VAR) resolves only to what stands before it, so ours cannot refer to a later one of the user's
    if not configuration.lineage.value or names.RUN_CONTEXT in present or names.POD_NAME in present:
        return ()
    tags = {name: _literal(value) for name, value in lineage.tags.items()}
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

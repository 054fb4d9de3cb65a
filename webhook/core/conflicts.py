"""Finds what prevents the wiring of a container: its own server or its own credentials.

A server and its credentials belong together. A container that names another server never gets the configured token, and
a container with credentials for another server never gets the configured server.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from webhook.core import names
from webhook.core.configuration import Configuration
from webhook.core.environment import known_values
from webhook.core.pod import Container, EnvVar
from webhook.core.reasons import Reason
from webhook.core.values import origin
from webhook.core.workload import wired_by_kfp_plugin

_EMPTY = frozenset({""})
_UNSET = {names.AWS_SIGV4: frozenset({"false", "0"}), names.TRACKING_AUTH: frozenset({"", names.PLUGIN_AUTH})}
"""The values, in lowercase, that switch a credential variable off. For other variables: _EMPTY."""
_SERVERS_AND_CREDENTIALS = names.CREDENTIALS.union(names.TOKEN_SERVERS)


class Skip(NamedTuple):
    """Why a container gets nothing, and the variable that causes this, if any."""

    reason: Reason
    variable: str = ""


def server_and_credential_values(container: Container, present: Collection[str], uri: str) -> dict[str, str | None]:
    """Return the values of a container's variables if some of them name servers or credentials, else an empty dict.

    `uri`: the server that a container without a server gets. It is placed before the container's own variables.
    """
    if _SERVERS_AND_CREDENTIALS.isdisjoint(present):
        return {}
    return known_values(container.env or (), {} if names.TRACKING_URI in present else {names.TRACKING_URI: uri})


def find_conflict(
    present: Mapping[str, EnvVar],
    values: Mapping[str, str | None],
    configuration: Configuration,
    *,
    given: Collection[str],
) -> Skip | None:
    """Return why a container cannot be wired, or None.

    `present`: the container's variables by name. `values`: their values (server_and_credential_values). `given`: the
    names of variables that an earlier call added, as recorded on the pod; these variables do not mean that another tool
    wired the container. The pod's author can forge that record, so a server or credential counts as the configured one
    only by its value.
    """
    if not values:
        return None
    uri = configuration.tracking_uri.value
    brings_server = names.TRACKING_URI in present and names.TRACKING_URI not in given
    if brings_server and wired_by_kfp_plugin(present):
        return Skip(Reason.KFP_PLUGIN)
    return _server(present, values, uri) or (None if brings_server else _credentials(present, values, configuration))


def own_credentials(present: Collection[str], values: Mapping[str, str | None]) -> list[str]:
    """Return the names of the variables with which a container's client authenticates.

    MLflow's client treats an empty user name, password, token and MLFLOW_TRACKING_AUTH as unset. It does not sign
    requests if MLFLOW_TRACKING_AWS_SIGV4 is "false" or "0", and raises an error if it is empty or anything else but
    "true" and "1", so those count (mlflow 3.17.2, ``mlflow/utils/rest_utils.py`` and
    ``mlflow/environment_variables.py``). MLFLOW_TRACKING_AUTH does not count when it names the client plugin, which
    sends the configured token.
    """
    if not values:
        return []
    return [
        name
        for name in sorted(names.CREDENTIALS.intersection(present))
        if (value := values[name]) is None or value.lower() not in _UNSET.get(name, _EMPTY)
    ]


def _is_same(value: str | None, uri: str) -> bool:
    return value is not None and (server := origin(value)) is not None and server == origin(uri)


def _server(present: Mapping[str, EnvVar], values: Mapping[str, str | None], uri: str) -> Skip | None:
    conflict = None
    for name in names.TOKEN_SERVERS:
        if name not in present:
            continue
        value = values[name]
        if value is None:
            conflict = conflict or Skip(Reason.SERVER_NOT_READABLE, name)
        elif value == "":
            if name == names.TRACKING_URI:
                conflict = conflict or Skip(Reason.SERVER_EMPTY, name)
        elif not _is_same(value, uri):
            return Skip(Reason.OTHER_SERVER, name)
    return conflict


def _credentials(
    present: Mapping[str, EnvVar], values: Mapping[str, str | None], configuration: Configuration
) -> Skip | None:
    for name in own_credentials(present, values):
        if not is_configured_token(present[name], configuration):
            return Skip(Reason.FOREIGN_CREDENTIALS, name)
    if configuration.token_secret is not None and values.get(names.TRACKING_TOKEN) == "":
        return Skip(Reason.TOKEN_EMPTY, names.TRACKING_TOKEN)
    return None


def is_configured_token(variable: EnvVar, configuration: Configuration) -> bool:
    """Return whether a variable is the token from the configured Secret."""
    reference = variable.value_from.secret_key_ref if variable.value_from else None
    return (
        variable.name == names.TRACKING_TOKEN
        and reference is not None
        and configuration.token_secret is not None
        and configuration.token_secret.value == (reference.name, reference.key)
    )

"""Finds where the webhook is installed, also in another namespace or with a namePrefix, from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from webhook.cluster.kube import KubeClient, KubeForbiddenError, KubeNotFoundError, group_path
from webhook.cluster.storage import CONFIGURATIONS

SHIPPED = "mlflow-webhook"
"""The name of the configuration, the Service, the Deployment and the namespace in the manifests."""
_ENTRY = ".mlflow.kubeflow.org"
_RESOURCE = "mutatingwebhookconfigurations"


class Place(NamedTuple):
    """The namespace of the webhook, and the name that its Service and its Deployment share."""

    namespace: str = SHIPPED
    name: str = SHIPPED

    @property
    def logs(self) -> str:
        """Return the command that shows the webhook's log."""
        return f"kubectl logs --namespace {self.namespace} deployment/{self.name}"


def find_configuration(client: KubeClient) -> dict[str, Any]:
    """Return the webhook's MutatingWebhookConfiguration: by its shipped name, else the one with the webhook's entries.

    Raises KubeError: KubeNotFoundError where no such configuration exists, or this user may not find it.
    """
    try:
        return client.get(group_path(CONFIGURATIONS, _RESOURCE, SHIPPED))
    except KubeNotFoundError:
        try:
            found = client.list(group_path(CONFIGURATIONS, _RESOURCE))["items"]
        except KubeForbiddenError:
            found = []
        for configuration in found:
            if any(entry["name"].endswith(_ENTRY) for entry in configuration.get("webhooks") or []):
                return dict(configuration)
        raise


def place_of(configuration: Mapping[str, Any]) -> Place:
    """Return where the Service is that a configuration calls; the shipped place where it calls a URL."""
    for entry in configuration.get("webhooks") or []:
        if service := entry["clientConfig"].get("service"):
            return Place(service["namespace"], service["name"])
    return Place()


def find_place(client: KubeClient) -> Place:
    """Return where the webhook is installed; the shipped place where its configuration cannot be read.

    Raises KubeError where the API server cannot be asked.
    """
    try:
        return place_of(find_configuration(client))
    except (KubeNotFoundError, KubeForbiddenError):
        return Place()

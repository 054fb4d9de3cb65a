"""Finds where the webhook is installed, from its configuration: also in another namespace or with a namePrefix."""

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
    """Return the webhook's MutatingWebhookConfiguration: by its shipped name, or else by its entries.

    Raises KubeError: KubeNotFoundError if it does not exist, or if this user may not list configurations.
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
    """Return the place of the Service that a configuration calls; the shipped place if it calls a URL."""
    for entry in configuration.get("webhooks") or []:
        if service := entry["clientConfig"].get("service"):
            return Place(service["namespace"], service["name"])
    return Place()


def find_place(client: KubeClient) -> Place:
    """Return where the webhook is installed; the shipped place if its configuration cannot be read.

    Raises KubeError if the API server does not answer.
    """
    try:
        return place_of(find_configuration(client))
    except (KubeNotFoundError, KubeForbiddenError):
        return Place()

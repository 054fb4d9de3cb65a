"""The client plugin for a pod that should have it: what the plugin needs to know, and what the pod gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from webhook.core.client_plugin import (
    ClientPlugin,
    PluginObstacle,
    PluginVolume,
    encode_wiring,
    find_pod_obstacle,
    plugin_volume,
)
from webhook.core.configuration import Configuration, Platform
from webhook.core.lineage import Lineage
from webhook.core.pod import Pod
from webhook.core.wiring import experiment_name, token_is_optional


class RequestedPlugin(NamedTuple):
    """The plugin for one pod. `obstacle`: why no container of the pod can have it."""

    pod: Pod
    configuration: Configuration
    files: ClientPlugin
    wiring: str
    obstacle: PluginObstacle | None

    def volume(self, containers: Sequence[int], *, explicit: bool) -> PluginVolume | None:
        """Return what the pod gets to have the plugin in the containers with these indices; None without any."""
        if not containers:
            return None
        secret = self.configuration.token_secret
        optional = token_is_optional(self.configuration, explicit=explicit)
        return plugin_volume(
            self.pod,
            self.files,
            wiring=self.wiring,
            secret=(*secret.value, optional) if secret else None,
            containers=containers,
        )


def request_plugin(
    pod: Pod, platform: Platform, configuration: Configuration, lineage: Lineage
) -> RequestedPlugin | None:
    """Return the plugin; None if nobody asks for it."""
    if platform.plugin is None or not configuration.client_plugin.value:
        return None
    wiring = encode_wiring(
        tracking_uri=configuration.tracking_uri.value,
        workspace=configuration.workspace.value,
        experiment=experiment_name(configuration, lineage).value or None,
        run_name=lineage.run_name if configuration.lineage.value else None,
    )
    obstacle = find_pod_obstacle(pod, platform.plugin, wiring)
    return RequestedPlugin(pod, configuration, platform.plugin, wiring, obstacle)

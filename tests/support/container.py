"""Lays out in a folder what a container with the client plugin has, for a process that runs in its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.kubelet import container_environment, projected_files
from webhook.core.client_plugin import MOUNT_PATH, VOLUME


def lay_out(
    pod: Mapping[str, Any], container: str, *, secrets: Mapping[str, Mapping[str, str]], mount: Path
) -> dict[str, str]:
    """Write the files of the plugin's volume, if the pod has it, to `mount`, and return the container's environment.

    The environment names `mount` in place of the path in the container. Raises ContainerConfigError.
    """
    if any(volume["name"] == VOLUME for volume in pod["spec"].get("volumes", ())):
        for path, text in projected_files(pod, VOLUME, secrets=secrets).items():
            file = mount / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    environment = container_environment(pod, container, secrets=secrets)
    return {name: value.replace(MOUNT_PATH, str(mount)) for name, value in environment.items()}

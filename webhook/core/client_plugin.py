"""The MLflow client plugin in a pod: annotations with its files, one projected volume, a mount and two variables.

This module decides when a container gets the plugin, and makes the objects that carry it. The plugin itself is in
webhook.plugin. A projected volume turns annotations into files, so no image, init container or ConfigMap is needed
(observed with kubelet 1.36.3).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any, Final

import msgspec

from webhook.core.names import ANNOTATION_GROUP, PLUGIN_AUTH, PYTHON_PATH, TRACKING_AUTH
from webhook.core.pod import Container, Pod, Volume, decode_mounts, decode_volumes

VOLUME: Final = "mlflow-webhook-client-plugin"
MOUNT_PATH: Final = "/var/run/mlflow-webhook"
TOKEN_FILE: Final = "token"  # noqa: S105 - the name of a file, not a secret
WIRING_FILE: Final = "wiring.json"
PACKAGES: Final = "python"
"""The folder below MOUNT_PATH that PYTHONPATH names."""
VARIABLES: Final[Mapping[str, str]] = {PYTHON_PATH: f"{MOUNT_PATH}/{PACKAGES}", TRACKING_AUTH: PLUGIN_AUTH}
"""A container gets both of them or neither."""

_ANNOTATIONS = f"client-plugin.{ANNOTATION_GROUP}"
_WIRING_ANNOTATION = f"{_ANNOTATIONS}/wiring"
ANNOTATIONS_LIMIT: Final = 256 << 10
"""The most bytes that the keys and values of annotations may have (Kubernetes, ``apimachinery/pkg/api/validation``)."""
_RECORD_RESERVE = 8 << 10
"""Bytes reserved for the decision annotation, which is written later."""


class PluginObstacle(StrEnum):
    """Why a container is wired without the plugin although somebody asked for it. Users see the codes: stable names."""

    PYTHON_PATH_SET = "python_path_set"
    OWN_CREDENTIALS = "own_credentials"
    MOUNT_PATH_TAKEN = "mount_path_taken"
    VOLUME_NAME_TAKEN = "volume_name_taken"
    ANNOTATIONS_TOO_LARGE = "annotations_too_large"

    @property
    def sentence(self) -> str:
        """Return the obstacle as a sentence."""
        return _SENTENCES[self]


_SENTENCES = {
    PluginObstacle.PYTHON_PATH_SET: "PYTHONPATH is already set, and the plugin would override it.",
    PluginObstacle.OWN_CREDENTIALS: "The container has its own credentials or MLFLOW_TRACKING_AUTH.",
    PluginObstacle.MOUNT_PATH_TAKEN: f"Another volume is mounted at, above or below {MOUNT_PATH}.",
    PluginObstacle.VOLUME_NAME_TAKEN: f"The pod has another volume with the name {VOLUME}.",
    PluginObstacle.ANNOTATIONS_TOO_LARGE: (
        "The pod's annotations have no room for the plugin's files: Kubernetes allows 256 KiB in total."
    ),
}


class ClientPlugin(msgspec.Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """The plugin's version and its files: their text by path, relative to the folder in PYTHONPATH."""

    version: str
    files: Mapping[str, str]

    @cached_property
    def annotations(self) -> Mapping[str, str]:
        """Return the annotations that carry the files."""
        return {_annotation(path): text for path, text in self.files.items()}

    @cached_property
    def size(self) -> int:
        """Return the size of these annotations in bytes."""
        return _size(self.annotations)


class PluginVolume(msgspec.Struct, frozen=True, kw_only=True):
    """What to add to a pod so that its containers have the plugin.

    `annotations`: those that are missing or have another value. `volume`: None if the pod already has it. `mounted`:
    the indices of the containers that need the mount.
    """

    annotations: Mapping[str, str]
    volume: Mapping[str, Any] | None
    mounted: tuple[int, ...]


MOUNT: Final[Mapping[str, Any]] = {"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}


def _annotation(path: str) -> str:
    """Return the annotation that carries a file, such as ``…/entry-points`` for ``entry_points.txt``."""
    name = path.rpartition("/")[2].partition(".")[0].replace("_", "-").lower()
    return f"{_ANNOTATIONS}/{name}"


def find_pod_obstacle(pod: Pod, plugin: ClientPlugin, wiring: str) -> PluginObstacle | None:
    """Return why no container of a pod can have the plugin; None if one can."""
    if any(volume.name == VOLUME and not is_plugin_volume(volume) for volume in decode_volumes(pod) or ()):
        return PluginObstacle.VOLUME_NAME_TAKEN
    others = {name: text for name, text in pod.annotations.items() if name not in plugin.annotations}
    size = _size({**others, _WIRING_ANNOTATION: wiring}) + plugin.size
    return PluginObstacle.ANNOTATIONS_TOO_LARGE if size + _RECORD_RESERVE > ANNOTATIONS_LIMIT else None


def _size(annotations: Mapping[str, str]) -> int:
    return sum([len(name.encode()) + len(text.encode("utf-8", "surrogatepass")) for name, text in annotations.items()])


def find_obstacle(container: Container, brought: Collection[str], extras: Collection[str]) -> PluginObstacle | None:
    """Return why a container cannot have the plugin, or None.

    `brought`: the names of the container's own credentials. `extras`: names of the platform's additional variables.
    """
    values = {variable.name: variable.value for variable in container.env or ()}
    if PYTHON_PATH in extras or values.get(PYTHON_PATH, VARIABLES[PYTHON_PATH]) != VARIABLES[PYTHON_PATH]:
        return PluginObstacle.PYTHON_PATH_SET
    if brought or values.get(TRACKING_AUTH, PLUGIN_AUTH) != PLUGIN_AUTH:
        return PluginObstacle.OWN_CREDENTIALS
    for mount in decode_mounts(container) or ():
        if mount.name != VOLUME and _overlaps(mount.mount_path):
            return PluginObstacle.MOUNT_PATH_TAKEN
        if mount.name == VOLUME and mount.mount_path != MOUNT_PATH:
            return PluginObstacle.VOLUME_NAME_TAKEN
    return None


def has_mount(container: Container) -> bool:
    """Return whether a container already has the plugin's mount."""
    return any(mount.name == VOLUME for mount in decode_mounts(container) or ())


def is_plugin_volume(volume: Volume) -> bool:
    """Return whether a volume is the plugin's: it has the name and contains the annotation with the wiring."""
    sources = (volume.projected and volume.projected.sources) or ()
    items = [item for source in sources if source.downward_api for item in source.downward_api.items or ()]
    return volume.name == VOLUME and any(
        item.path == WIRING_FILE and item.field_ref and item.field_ref.field_path == _field_path(_WIRING_ANNOTATION)
        for item in items
    )


def _field_path(annotation: str) -> str:
    return f"metadata.annotations['{annotation}']"


def plugin_volume(
    pod: Pod,
    plugin: ClientPlugin,
    *,
    wiring: str,
    secret: tuple[str, str, bool] | None,
    containers: Collection[int],
) -> PluginVolume:
    """Return what to add to a pod for the containers with these indices.

    `wiring`: the content of WIRING_FILE. `secret`: the name and the key of the token's Secret, and whether it is
    optional.
    """
    annotations = {**plugin.annotations, _WIRING_ANNOTATION: wiring}
    paths = {_annotation(path): f"{PACKAGES}/{path}" for path in plugin.files} | {_WIRING_ANNOTATION: WIRING_FILE}
    items = [
        {"path": path, "fieldRef": {"apiVersion": "v1", "fieldPath": _field_path(name)}} for name, path in paths.items()
    ]
    sources: list[dict[str, Any]] = [{"downwardAPI": {"items": items}}]
    if secret is not None:
        name, key, optional = secret
        sources.append({"secret": {"name": name, "items": [{"key": key, "path": TOKEN_FILE}], "optional": optional}})
    exists = any(volume.name == VOLUME for volume in decode_volumes(pod) or ())
    return PluginVolume(
        annotations={name: text for name, text in annotations.items() if pod.annotations.get(name) != text},
        volume=None if exists else {"name": VOLUME, "projected": {"sources": sources, "defaultMode": 0o444}},
        mounted=tuple(index for index in containers if not has_mount(pod.containers[index])),
    )


def is_file_annotation(name: str) -> bool:
    """Return whether an annotation carries one of the plugin's files."""
    return name.startswith(f"{_ANNOTATIONS}/") and name != _WIRING_ANNOTATION


def encode_wiring(*, tracking_uri: str, workspace: str | None, experiment: str | None, run_name: str | None) -> str:
    """Return the content of WIRING_FILE: the values that the webhook set, which the plugin compares with."""
    return msgspec.json.encode(
        {"tracking_uri": tracking_uri, "workspace": workspace, "experiment": experiment, "run_name": run_name}
    ).decode()


@lru_cache(maxsize=1024)
def _overlaps(path: str) -> bool:
    """Return whether a mount at `path` is at, above or below the plugin's mount.

    A mount above it counts too: the container runtime would create the mount point in that volume, which may be
    read-only or permanent.
    """
    taken, own = _parts(path), _parts(MOUNT_PATH)
    shorter = min(len(taken), len(own))
    return taken[:shorter] == own[:shorter]


def _parts(path: str) -> list[str]:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in {"", "."}:
            parts.append(part)
    # /var/run is a link to /run in most images
    return ["var", *parts] if parts[:1] == ["run"] else parts

"""The view of a pod that the decision needs: typed, and without the fields that no decision depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

T = TypeVar("T")


class Wire(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """A read-only view of a JSON object. Fields that are not declared here are skipped."""


class SecretKeySelector(Wire, frozen=True):
    """``valueFrom.secretKeyRef``."""

    name: str | None = None
    key: str | None = None


class EnvVarSource(Wire, frozen=True):
    """``valueFrom``. Only a reference to a Secret is needed, to recognise the configured token."""

    secret_key_ref: SecretKeySelector | None = None


class EnvVar(Wire, frozen=True):
    """An entry of ``env``."""

    name: str = ""
    value: str | None = None
    value_from: EnvVarSource | None = None


class NamedReference(Wire, frozen=True):
    """The name in a ``configMapRef`` or ``secretRef``."""

    name: str | None = None


class EnvFromSource(Wire, frozen=True):
    """An entry of ``envFrom``."""

    prefix: str | None = None
    config_map_ref: NamedReference | None = None
    secret_ref: NamedReference | None = None


class VolumeMount(Wire, frozen=True):
    """An entry of ``volumeMounts``."""

    name: str = ""
    mount_path: str = ""


class ObjectFieldSelector(Wire, frozen=True):
    """``fieldRef``."""

    field_path: str = ""


class DownwardAPIItem(Wire, frozen=True):
    """An entry of a ``downwardAPI`` source's ``items``."""

    path: str = ""
    field_ref: ObjectFieldSelector | None = None


class DownwardAPISource(Wire, frozen=True):
    """``downwardAPI`` in a projected volume's source."""

    items: list[DownwardAPIItem] | None = None


class VolumeProjection(Wire, frozen=True):
    """A source of a projected volume."""

    downward_api: DownwardAPISource | None = msgspec.field(default=None, name="downwardAPI")


class ProjectedVolume(Wire, frozen=True):
    """``projected``."""

    sources: list[VolumeProjection] | None = None


class Volume(Wire, frozen=True):
    """An entry of ``volumes``. Only the content of projected volumes is read, because the plugin's volume is one."""

    name: str = ""
    projected: ProjectedVolume | None = None


class Container(Wire, frozen=True):
    """An app container.

    ``args`` and ``volumeMounts`` are not decoded with the pod (see decode_args and decode_mounts): few decisions need
    them, and in a KFP pod ``args`` contain the component's source.
    """

    name: str = ""
    env: list[EnvVar] | None = None
    env_from: list[EnvFromSource] | None = None
    volume_mounts: msgspec.Raw = msgspec.Raw()
    command: list[str] | None = None
    args: msgspec.Raw = msgspec.Raw()


class InitContainer(Wire, frozen=True):
    """An init container. Only its name is needed."""

    name: str = ""


class OwnerReference(Wire, frozen=True):
    """An entry of ``ownerReferences``. At most one is the controller."""

    kind: str = ""
    name: str = ""
    controller: bool | None = None


class Metadata(Wire, frozen=True):
    """The pod's metadata. At admission the name is empty if the pod is made from ``generateName``."""

    name: str | None = None
    generate_name: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None


class PodSpec(Wire, frozen=True):
    """The pod's containers and volumes. ``volumes`` are not decoded with the pod (see decode_volumes)."""

    containers: list[Container] | None = None
    init_containers: list[InitContainer] | None = None
    volumes: msgspec.Raw = msgspec.Raw()


class Pod(Wire, frozen=True):
    """The part of a pod that the decision needs.

    Admission is before validation, so even required fields may be missing. The API server refuses such pods later.
    """

    spec: PodSpec = PodSpec()
    metadata: Metadata = Metadata()

    @property
    def containers(self) -> Sequence[Container]:
        """Return the app containers, or an empty list."""
        return self.spec.containers or ()

    @property
    def labels(self) -> Mapping[str, str]:
        """Return the labels, or an empty dict."""
        return self.metadata.labels or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        """Return the annotations, or an empty dict."""
        return self.metadata.annotations or {}

    @property
    def name(self) -> str:
        """Return the name, or the beginning of the name (``generateName``)."""
        return self.metadata.name or self.metadata.generate_name or ""


class _ContainerParts(Wire, frozen=True):
    volume_mounts: list[VolumeMount] | None = None


class _SpecParts(Wire, frozen=True):
    containers: list[_ContainerParts] | None = None
    volumes: list[Volume] | None = None


class PodParts(Wire, frozen=True):
    """The parts of a pod that are not decoded with it. In documents they are checked: no API server has done so."""

    spec: _SpecParts = _SpecParts()


_args_decoder = msgspec.json.Decoder(list[str] | None)
_mounts_decoder = msgspec.json.Decoder(list[VolumeMount] | None)
_volumes_decoder = msgspec.json.Decoder(list[Volume] | None)


def decode_args(container: Container) -> Sequence[str]:
    """Read a container's args. The result is empty without the field, or if they cannot be read."""
    return _decode_list(_args_decoder, container.args) or ()


def decode_mounts(container: Container) -> Sequence[VolumeMount] | None:
    """Read a container's mounts. The result is None without the field, and empty if they cannot be read."""
    return _decode_list(_mounts_decoder, container.volume_mounts)


def decode_volumes(pod: Pod) -> Sequence[Volume] | None:
    """Read a pod's volumes. The result is None without the field, and empty if they cannot be read."""
    return _decode_list(_volumes_decoder, pod.spec.volumes)


def _decode_list(decoder: msgspec.json.Decoder[list[T] | None], part: msgspec.Raw) -> list[T] | None:
    try:
        return decoder.decode(part) if part else None
    except (msgspec.DecodeError, RecursionError):
        return []

"""A fake API server in memory, with KubeClient's methods: versions, conflicts, field selectors, watches, errors."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from typing import Any, cast

from webhook.cluster.kube import (
    KubeClient,
    KubeConflictError,
    KubeForbiddenError,
    KubeNotFoundError,
    KubeUnavailableError,
    Params,
    WatchEvent,
)

Object = dict[str, Any]


class FakeKube:
    """Objects by path. `requests` has each request so far, as ``GET /api/…``."""

    namespace = "mlflow-webhook"
    server = "https://fake"

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.requests: list[str] = []
        self.sent: list[Object] = []
        """The bodies of all requests that had one."""
        self.field_managers: list[str] = []
        self.selectors: set[str] = set()
        """The field selectors of all lists and watches."""
        self.followed = 0
        """Watches that were opened and are being read."""
        self.away = False
        self.forbidden: set[str] = set()
        """Verbs that are refused: get, list, watch, create, update, patch."""
        self._version = 100
        self._applied: dict[str, set[str]] = {}
        self._events: list[tuple[int, str, str, Object]] = []
        self._changed = threading.Condition()

    @property
    def client(self) -> KubeClient:
        """Return itself, for functions that take a KubeClient."""
        return cast("KubeClient", self)

    def get(self, path: str, **_: object) -> Object:
        self._request("get", "GET", path)
        return copy.deepcopy(self._found(path))

    def list(self, path: str, *, params: Params | None = None, **_: object) -> Object:
        self._request("list", "GET", path)
        self.selectors.add(str((params or {}).get("fieldSelector", "")))
        with self._changed:
            items = [found for place, found in self.objects.items() if _selected(place, path, params)]
            return {"items": copy.deepcopy(items), "metadata": {"resourceVersion": str(self._version)}}

    def create(self, path: str, body: Mapping[str, Any], **_: object) -> Object:
        self._request("create", "POST", path, body)
        place = f"{path}/{body['metadata']['name']}"
        if place in self.objects:
            raise KubeConflictError("it exists already", status=409)
        return self.put(place, body)

    def replace(self, path: str, body: Mapping[str, Any], **_: object) -> Object:
        self._request("update", "PUT", path, body)
        present = self._found(path)["metadata"]["resourceVersion"]
        if body["metadata"].get("resourceVersion", present) != present:
            raise KubeConflictError("it has changed", status=409)
        return self.put(path, body)

    def apply(self, path: str, body: Mapping[str, Any], *, field_manager: str, force: bool = False) -> Object:
        """Take the caBundle of each entry, as server-side apply does with a list whose key is the name.

        A bundle that somebody else has put there is a conflict unless it is forced.
        """
        self._request("patch", "PATCH", path, body)
        self.field_managers.append(field_manager)
        found = copy.deepcopy(self._found(path))
        present = {entry["clientConfig"].get("caBundle") for entry in found["webhooks"]} - {None}
        if not force and not present <= self._applied.get(field_manager, set()):
            raise KubeConflictError("conflict with another field manager", status=409)
        self._applied[field_manager] = {entry["clientConfig"]["caBundle"] for entry in body["webhooks"]}
        given = {entry["name"]: entry["clientConfig"] for entry in body["webhooks"]}
        for entry in found["webhooks"]:
            entry["clientConfig"] |= given.get(entry["name"], {})
        return self.put(path, found)

    def watch(self, path: str, *, resource_version: str, params: Params | None = None, **_: object) -> FakeWatch:
        self._request("watch", "WATCH", path)
        self.selectors.add(str((params or {}).get("fieldSelector", "")))
        return FakeWatch(self, path, int(resource_version), params)

    def put(self, path: str, body: Mapping[str, Any]) -> Object:
        """Create or replace an object, as somebody else would."""
        with self._changed:
            self._version += 1
            found = copy.deepcopy(dict(body))
            found["metadata"] = {**found["metadata"], "resourceVersion": str(self._version)}
            kind = "MODIFIED" if path in self.objects else "ADDED"
            self.objects[path] = found
            self._tell(kind, path, found)
            return copy.deepcopy(found)

    def remove(self, path: str) -> None:
        """Delete an object, as somebody else would."""
        with self._changed:
            self._version += 1
            found = copy.deepcopy(self.objects.pop(path))
            found["metadata"]["resourceVersion"] = str(self._version)
            self._tell("DELETED", path, found)

    def bookmark(self) -> None:
        """Send a bookmark on every watch, as the API server does each minute."""
        with self._changed:
            self._tell("BOOKMARK", "", {"metadata": {"resourceVersion": str(self._version)}})

    def events_after(self, version: int, position: int, watch: FakeWatch) -> tuple[tuple[WatchEvent, ...], int]:
        """Wait for events that a watch has not seen yet."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._events) > position or watch.closed)
            new = tuple(
                WatchEvent(kind, copy.deepcopy(found))
                for at, kind, place, found in self._events[position:]
                if (kind == "BOOKMARK" and at >= version)
                or (at > version and _selected(place, watch.path, watch.params))
            )
            return new, len(self._events)

    def wake(self) -> None:
        """Make watches check whether they are closed."""
        with self._changed:
            self._changed.notify_all()

    def _tell(self, kind: str, path: str, found: Object) -> None:
        self._events.append((self._version, kind, path, found))
        self._changed.notify_all()

    def _found(self, path: str) -> Object:
        if path not in self.objects:
            raise KubeNotFoundError(f"{path} not found", status=404)
        return self.objects[path]

    def _request(self, verb: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        self.requests.append(f"{method} {path}")
        if body is not None:
            self.sent.append(copy.deepcopy(dict(body)))
        if self.away:
            raise KubeUnavailableError("the API server is away")
        if verb in self.forbidden:
            raise KubeForbiddenError(f"cannot {verb} {path}", status=403)


class FakeWatch:
    """An open watch; its iteration waits for events until it is closed."""

    def __init__(self, server: FakeKube, path: str, version: int, params: Params | None) -> None:
        self._server, self._version = server, version
        self.path, self.params, self.closed = path, params, False

    def __iter__(self) -> Iterator[WatchEvent]:
        position = 0
        self._server.followed += 1
        while not self.closed:
            events, position = self._server.events_after(self._version, position, self)
            yield from events

    def close(self) -> None:
        self.closed = True
        self._server.wake()


def _selected(place: str, path: str, params: Params | None) -> bool:
    folder, _, name = place.rpartition("/")
    selector = str((params or {}).get("fieldSelector", ""))
    return folder == path and selector in {"", f"metadata.name={name}"}

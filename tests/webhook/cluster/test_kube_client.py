"""The client's requests and how it reads answers, with a real HTTP server on the loopback address."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration

from tests.support.waiting import DEADLINE, wait_until
from webhook.cluster.kube import (
    APPLY,
    KubeClient,
    KubeConflictError,
    KubeError,
    KubeForbiddenError,
    KubeGoneError,
    KubeInvalidError,
    KubeNotFoundError,
    KubeUnavailableError,
    Watch,
    WatchEvent,
)

PATH = "/api/v1/namespaces"


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class Server:
    """Answers each request with `status`, `headers` and `chunks`; notes the requests."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=lambda: [b'{"kind": "Namespace"}'])
    seen: list[Seen] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    hang: bool = False
    written: int = 0
    """The requests whose chunks have all been written."""
    client: KubeClient = field(init=False)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        self.seen.append(Seen(handler.command, handler.path, dict(handler.headers), body))
        handler.send_response(self.status)
        for name, value in self.headers:
            handler.send_header(name, value)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for chunk in filter(None, self.chunks):
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            handler.wfile.flush()
        self.written += 1
        if self.hang:
            self.go_on.wait()
        with suppress(OSError):  # the client may have closed a watch
            handler.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", lambda self: server.answer(self))
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    configuration = Configuration()
    configuration.host, configuration.retries = f"http://127.0.0.1:{http.server_port}", False
    server.client = KubeClient(ApiClient(configuration), namespace="own")
    yield server
    server.go_on.set()
    http.shutdown()
    http.server_close()
    thread.join(5)


def line(kind: str, version: int) -> bytes:
    found = {"metadata": {"name": "a", "resourceVersion": str(version)}}
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


Call = Callable[[KubeClient], object]


@pytest.mark.parametrize(
    ("call", "method", "path", "content_type", "body"),
    [
        (lambda client: client.get(f"{PATH}/a"), "GET", f"{PATH}/a", None, None),
        (lambda client: client.list(PATH, params={"limit": 5}), "GET", f"{PATH}?limit=5", None, None),
        (lambda client: client.create(PATH, {"a": 1}), "POST", PATH, "application/json", {"a": 1}),
        (lambda client: client.replace(f"{PATH}/a", {"a": 1}), "PUT", f"{PATH}/a", "application/json", {"a": 1}),
        (
            lambda client: client.patch(f"{PATH}/a", {"a": 1}),
            "PATCH",
            f"{PATH}/a",
            "application/merge-patch+json",
            {"a": 1},
        ),
        (
            lambda client: client.apply(f"{PATH}/a", {"a": 1}, field_manager="me", force=True),
            "PATCH",
            f"{PATH}/a?fieldManager=me&force=true",
            APPLY,
            {"a": 1},
        ),
        (lambda client: client.delete(f"{PATH}/a"), "DELETE", f"{PATH}/a", None, None),
    ],
    ids=["get", "list", "create", "replace", "patch", "apply", "delete"],
)
def test_each_call_is_one_request(
    server: Server, call: Call, method: str, path: str, content_type: str | None, body: object
) -> None:
    assert call(server.client) == {"kind": "Namespace"}
    (seen,) = server.seen
    assert (seen.method, seen.path, seen.headers.get("Content-Type"), seen.body) == (method, path, content_type, body)
    assert seen.headers["User-Agent"] == "mlflow-webhook"


def test_only_metadata_is_requested_if_that_is_enough(server: Server) -> None:
    server.client.get(PATH, metadata_only=True)
    server.client.list(PATH, metadata_only=True)
    accepted = [seen.headers["Accept"].partition(",")[0] for seen in server.seen]
    assert accepted == [
        f"application/json;as={kind};g=meta.k8s.io;v=v1"
        for kind in ("PartialObjectMetadata", "PartialObjectMetadataList")
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, KubeInvalidError),
        (401, KubeForbiddenError),
        (403, KubeForbiddenError),
        (404, KubeNotFoundError),
        (409, KubeConflictError),
        (410, KubeGoneError),
        (422, KubeInvalidError),
        (429, KubeUnavailableError),
        (500, KubeUnavailableError),
        (503, KubeUnavailableError),
    ],
)
def test_an_error_has_its_kind_its_status_and_the_servers_message(
    server: Server, status: int, kind: type[KubeError]
) -> None:
    server.status, server.chunks = status, [b'{"message": "because"}']
    for call in (lambda: server.client.get(PATH), lambda: server.client.watch(PATH, resource_version="1")):
        with pytest.raises(KubeError) as caught:
            call()
        assert type(caught.value) is kind
        assert (caught.value.status, caught.value.message) == (status, "because")


@pytest.mark.parametrize("answer", [b"<html>", b"[1]", b""], ids=["html", "list", "empty"])
def test_an_error_without_a_message_says_its_status(server: Server, answer: bytes) -> None:
    server.status, server.chunks = 502, [answer]
    with pytest.raises(KubeUnavailableError, match="the API server answered with status 502"):
        server.client.get(PATH)


def test_an_answer_that_is_not_json_is_named(server: Server) -> None:
    server.chunks = [b"<html>"]
    with pytest.raises(KubeInvalidError, match="does not answer like a Kubernetes API server"):
        server.client.get(PATH)


def test_a_redirect_is_not_followed(server: Server) -> None:
    """The token must not be sent to the target of a redirect."""
    server.status, server.headers, server.chunks = 302, [("Location", f"{server.client.server}/elsewhere")], []
    with pytest.raises(KubeInvalidError, match="does not answer like a Kubernetes API server"):
        server.client.get(PATH)
    assert [seen.path for seen in server.seen] == [PATH]


def test_warnings_are_passed_on_without_their_code(server: Server) -> None:
    server.headers = [("Warning", '299 - "a \\"quoted\\" warning"'), ("Warning", '299 - "another"')]
    warnings: list[str] = []
    server.client.create(PATH, {}, on_warning=warnings.append)
    assert warnings == ['a "quoted" warning', "another"]


def test_a_watch_yields_events_however_the_bytes_are_cut(server: Server) -> None:
    stream = line("ADDED", 1) + line("BOOKMARK", 2) + b"\n" + line("DELETED", 3)
    server.chunks = [stream[:10], stream[10:90], stream[90:]]
    events = list(server.client.watch(PATH, resource_version="0", params={"fieldSelector": "metadata.name=a"}))
    assert [(event.type, event.object["metadata"]["resourceVersion"]) for event in events] == [
        ("ADDED", "1"),
        ("BOOKMARK", "2"),
        ("DELETED", "3"),
    ]
    assert server.seen[0].path == (
        f"{PATH}?fieldSelector=metadata.name%3Da&watch=true&allowWatchBookmarks=true&resourceVersion=0&timeoutSeconds=300"
    )


def test_an_error_in_a_watch_is_raised(server: Server) -> None:
    gone = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}
    server.chunks = [line("ADDED", 1), json.dumps(gone).encode() + b"\n"]
    watch = iter(server.client.watch(PATH, resource_version="0"))
    assert isinstance(next(watch), WatchEvent)
    with pytest.raises(KubeGoneError, match="too old resource version"):
        next(watch)


def test_a_watch_on_which_nothing_comes_for_too_long_ends(server: Server) -> None:
    """It may be dead or only quiet. To find out, it is opened again."""
    server.chunks, server.hang = [line("ADDED", 1)], True

    def opened() -> Watch:
        while True:
            with suppress(KubeUnavailableError):  # the answer itself may take longer on a busy machine
                return server.client.watch(PATH, resource_version="0", silence=0.5)

    watch = opened()
    wait_until(lambda: server.written == len(server.seen), "the event to be sent")
    assert [event.type for event in watch] == ["ADDED"]


def test_a_watch_that_is_closed_ends_in_the_thread_that_waits(server: Server) -> None:
    server.chunks, server.hang = [line("ADDED", 1)], True
    watch = server.client.watch(PATH, resource_version="0")
    ended: list[bool] = []
    first = threading.Event()

    def follow() -> None:
        for _ in watch:
            first.set()
        ended.append(True)

    thread = threading.Thread(target=follow)
    thread.start()
    assert first.wait(DEADLINE)
    watch.close()
    thread.join(DEADLINE)
    assert ended == [True]
    watch.close()

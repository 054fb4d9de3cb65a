"""The real server as a process, over TLS, on a free port of the loopback address."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import httpx
import pytest

from tests.support.pods import FOLDER, KFP
from tests.support.waiting import wait_until

BODY = (FOLDER / KFP).read_bytes()
JSON = {"content-type": "application/json"}

NAMESPACES = """
kind: List
items:
- kind: Namespace
  metadata:
    name: kfp-team-b
    labels: {mlflow-enabled: "true"}
    annotations: {mlflow.kubeflow.org/experiment: of-the-file}
- kind: Namespace
  metadata: {name: other}
"""


class Serving:
    def __init__(self, process: subprocess.Popen[str], port: int, ca: Path, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.context = ssl.create_default_context(cafile=str(ca))
        self.url = f"https://127.0.0.1:{port}"

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        with httpx.Client(verify=self.context, timeout=20, trust_env=False) as client:
            return client.request(method, self.url + path, **arguments)

    def review(self, body: bytes = BODY) -> httpx.Response:
        return self.request("POST", "/mutate", content=body, headers=JSON)

    def connect(self, name: str = "127.0.0.1") -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return self.context.wrap_socket(raw, server_hostname=name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("serve")
    with (folder / "log").open("w") as stderr, started(folder, stderr=stderr) as serving:
        yield serving


@contextmanager
def started(folder: Path, *, stderr: TextIO, before: str = "pass") -> Iterator[Serving]:
    """Start `serve --standalone`, with its log in `stderr`, after some Python code; stop it at the end."""
    ca, log = folder / "ca.pem", folder / "log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = f"{before}; from webhook.cli import main; main()"
    command = ["-c", code, "serve", "--standalone", "--port", str(port), "--ca-file", str(ca)]
    namespaces = folder / "namespaces.yaml"
    namespaces.write_text(NAMESPACES)
    environment = {
        **os.environ,
        "MLFLOW_WEBHOOK_CERTIFICATE_NAMES": "webhook.example",
        "MLFLOW_WEBHOOK_SHUTDOWN_DELAY": "1s",
    }
    process = subprocess.Popen(
        [sys.executable, *command, "--namespaces", str(namespaces)], stderr=stderr, text=True, env=environment
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                probe.settimeout(0.1)
                if ca.exists() and probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(log.read_text() if log.exists() else "it has no log")
        yield Serving(process, port, ca, log)
    finally:
        process.kill()
        process.wait()


def test_an_unmodified_pod_goes_in_and_its_patch_comes_out(server: Serving) -> None:
    response = server.review().json()["response"]
    assert response["allowed"]
    assert response["patchType"] == "JSONPatch"
    names = [operation["value"].get("name") for operation in json.loads(b64decode(response["patch"]))[:-1]]
    assert names[0] == "MLFLOW_TRACKING_URI"
    assert response["auditAnnotations"] == {
        "decision": "wired",
        "reason": "wired_by_namespace_label",
        "workload": "kfp_component",
    }


def test_namespaces_are_those_of_the_file(server: Serving) -> None:
    assert b"of-the-file" in b64decode(server.review().json()["response"]["patch"])
    document = json.loads(BODY)
    document["request"]["namespace"] = "other"
    other = server.review(json.dumps(document).encode()).json()["response"]
    assert other["auditAnnotations"]["reason"] == "not_enabled"


def test_the_certificate_is_for_further_names_as_well(server: Serving) -> None:
    for name in ("localhost", "webhook.example"):
        server.connect(name).close()


def test_health_readiness_and_metrics_answer(server: Serving) -> None:
    assert server.request("GET", "/healthz").text == "ok\n"
    assert server.request("GET", "/readyz").json()["ready"] is True
    server.review()
    metrics = server.request("GET", "/metrics").text
    assert re.search(r'mlflow_webhook_decisions_total\{.*reason="wired_by_namespace_label".*\} [1-9]', metrics)


def changed(path: list[str | int], value: object) -> bytes:
    """Return the captured review with one place of its pod set to something else."""
    document = json.loads(BODY)
    place = document["request"]["object"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(document).encode()


def test_unusual_but_readable_reviews_are_answered(server: Serving) -> None:
    twice = [{"name": "MLFLOW_RUN_ID", "value": "1"}, {"name": "MLFLOW_RUN_ID", "value": "2"}]
    for body in (
        changed(["spec", "containers"], []),
        changed(["spec", "containers"], None),
        changed(["spec", "containers", 0, "env"], twice),
        changed(["spec", "containers", 0, "env"], [{"name": f"V{number}", "value": "x"} for number in range(10_000)]),
        changed(["metadata", "annotations"], {"mlflow.kubeflow.org/tracking-uri": "no address"}),
    ):
        response = server.request("POST", "/mutate", content=body, headers=JSON)
        assert response.json()["response"]["allowed"] is True


@pytest.mark.parametrize(
    ("method", "body", "headers", "status"),
    [
        ("GET", b"", {}, 405),
        ("POST", BODY, {"content-type": "text/plain"}, 415),
        ("POST", b"", JSON, 400),
        ("POST", b"{", JSON, 400),
        ("POST", BODY[:-20], JSON, 400),
        ("POST", BODY.replace(b"kfp-launcher", b"\xff" * 12, 1), JSON, 400),
        ("POST", b"[" * 100_000, JSON, 400),
        ("POST", b"{}", JSON, 400),
        ("POST", BODY.replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1", 1), JSON, 400),
        ("POST", b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}', JSON, 400),
        ("POST", changed(["spec", "containers"], {"name": "main"}), JSON, 400),
        ("POST", changed(["metadata", "labels"], ["a"]), JSON, 400),
        ("POST", changed(["spec", "containers", 0, "env"], "MLFLOW_RUN_ID"), JSON, 400),
        ("POST", b" " * (7 * 2**20 + 1), JSON, 413),
        ("POST", iter([b" " * 2**20] * 8), JSON, 413),
    ],
    ids=[
        "get",
        "no-json-type",
        "empty",
        "truncated",
        "truncated-late",
        "not-utf-8",
        "nested-deeply",
        "not-a-review",
        "v1beta1",
        "no-request",
        "containers-of-a-wrong-type",
        "labels-of-a-wrong-type",
        "env-of-a-wrong-type",
        "too-large",
        "too-large-chunked",
    ],
)
def test_a_bad_request_gets_a_sentence_and_the_server_lives_on(
    server: Serving, method: str, body: Any, headers: dict[str, str], status: int
) -> None:
    response = server.request(method, "/mutate", content=body, headers=headers)
    assert response.status_code == status
    assert "Traceback" not in response.text
    assert response.text.endswith("\n")
    assert server.review().status_code == 200


HEAD = b"POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
TOO_SLOW: dict[str, tuple[bytes, list[bytes]]] = {
    "nothing is sent": (b"", []),
    "half a header": (b"POST /mutate HT", []),
    "a header without its body": (HEAD % 9, [b"408"]),
    "half a body": (HEAD % 9 + b"{", [b"408"]),
    "a body that is shorter than it says": (HEAD % (len(BODY) + 100) + BODY, [b"408"]),
    "half a header after a review": (HEAD % len(BODY) + BODY + b"POST /mutate HT", [b"200"]),
    "half a body after a review": (HEAD % len(BODY) + BODY + HEAD % 9 + b"{", [b"200", b"408"]),
}


def everything(connection: ssl.SSLSocket) -> bytes:
    """Read until the server closes the connection."""
    said = b""
    while more := connection.recv(65536):
        said += more
    return said


def test_a_request_is_waited_for_no_longer_than_the_limit(tmp_path: Path) -> None:
    shorter = "from webhook.serving import protocol; protocol.REQUEST_TIMEOUT = 0.8"
    with ExitStack() as stack:
        stderr = stack.enter_context((tmp_path / "log").open("w"))
        server = stack.enter_context(started(tmp_path, stderr=stderr, before=shorter))
        waiting = {}
        for name, (sent, _) in TOO_SLOW.items():
            waiting[name] = stack.enter_context(server.connect())
            waiting[name].sendall(sent)
        reused = stack.enter_context(server.connect())
        reused.sendall(HEAD % len(BODY) + BODY)
        while not reused.recv(65536).endswith(b"}"):
            pass
        reused.sendall(b"\r\n")  # no request begins with an empty line
        assert everything(reused) == b""
        said = {name: re.findall(rb"HTTP/1.1 (\d+)", everything(connection)) for name, connection in waiting.items()}
        assert said == {name: statuses for name, (_, statuses) in TOO_SLOW.items()}
        assert refused(server, b"408") == 4
        assert server.review().status_code == 200


LINE = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
TOO_LARGE = {
    "fields": (LINE + b"a: b\r\n" * 1_000_000, b"400"),
    "a value": (LINE + b"a: " + b"b" * 6_000_000, b"431"),
    "a path": (b"GET /" + b"b" * 6_000_000, b"431"),
    "trailers": (
        HEAD.replace(b"content-length: %d", b"transfer-encoding: chunked")
        + b"1\r\n{\r\n0\r\n"
        + b"a: b\r\n" * 1_000_000,
        b"400",
    ),
}


def refused(server: Serving, status: bytes) -> float:
    counted = f'mlflow_webhook_bad_requests_total{{status="{status.decode()}"}}'
    lines = server.request("GET", "/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(counted))


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_header_without_end_is_refused_before_it_fills_the_memory(server: Serving, name: str) -> None:
    sent, status = TOO_LARGE[name]
    before, counted = memory(server), refused(server, status)
    with server.connect() as connection:
        try:
            connection.sendall(sent)
            answered = connection.recv(4096)
        except OSError:  # the server has ended the connection before it had read all
            answered = b""
    assert answered[9:12] in {status, b""}
    assert refused(server, status) == counted + 1
    assert memory(server) - before < 10 << 10
    assert server.review().status_code == 200


def test_bodies_that_do_not_end_have_a_limit_together(server: Serving) -> None:
    before = memory(server)
    with ExitStack() as stack:
        waiting = [stack.enter_context(server.connect()) for _ in range(14)]
        for connection in waiting:
            with suppress(OSError):  # a refused one is closed while more is sent
                connection.sendall(HEAD % (7 << 20) + b" " * (6 << 20))
        assert memory(server) - before < 150 << 10
        assert server.review().status_code == 200
        select.select(waiting, [], [], 1)
        said = b"".join(filter(None, (answer(connection) for connection in waiting)))
    assert b"HTTP/1.1 503" in said
    assert b"HTTP/1.1 200" not in said


def answer(connection: ssl.SSLSocket) -> bytes:
    connection.settimeout(0)
    try:
        return connection.recv(4096)
    except OSError:
        return b""


def memory(server: Serving) -> int:
    """Return the server's resident memory in KiB, where the system tells it."""
    try:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
    except OSError:
        pytest.skip("needs /proc")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def test_a_body_that_is_longer_than_its_declared_length_harms_nothing(server: Serving) -> None:
    with server.connect() as connection:
        connection.sendall(HEAD % (len(BODY) - 100) + BODY)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")
    assert server.review().status_code == 200


def test_a_half_closed_connection_harms_nothing(server: Serving) -> None:
    with server.connect() as connection:
        connection.sendall(HEAD % 9 + b"{")
        connection.unwrap()
    assert server.review().status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "DELETE", "object": None},
        {"resource": {"group": "apps", "version": "v1", "resource": "deployments"}},
        {"subResource": "ephemeralcontainers"},
    ],
    ids=["delete", "another-kind", "subresource"],
)
def test_a_review_that_creates_no_pod_is_allowed(server: Serving, change: dict[str, Any]) -> None:
    document = json.loads(BODY)
    document["request"].update(change)
    response = server.review(json.dumps(document).encode()).json()["response"]
    assert (response["allowed"], response["auditAnnotations"]["reason"]) == (True, "not_a_pod_creation")
    assert "patch" not in response


def test_a_pod_may_have_ten_thousand_variables(server: Serving) -> None:
    document = json.loads(BODY)
    main = document["request"]["object"]["spec"]["containers"][-1]
    main["env"] = [{"name": f"V{number}", "value": "x"} for number in range(10_000)]
    response = server.review(json.dumps(document).encode()).json()["response"]
    assert json.loads(b64decode(response["patch"]))[0]["value"]["name"] == "MLFLOW_TRACKING_URI"


def test_the_log_has_a_line_for_each_decision_and_never_the_pod(server: Serving) -> None:
    server.review()
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    decisions = [line for line in lines if line["event"] == "decision"]
    assert decisions[-1]["reason"] == "wired_by_namespace_label"
    assert "epochs" not in server.log.read_text()


def test_the_log_begins_with_where_it_listens(server: Serving) -> None:
    first = json.loads(server.log.read_text().splitlines()[0])
    assert (first["event"], first["address"], first["port"]) == ("listening", "127.0.0.1", server.port)


def test_a_port_that_is_in_use_is_named(server: Serving) -> None:
    command = ["-m", "webhook.cli", "serve", "--standalone", "--port", str(server.port)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(f"Error: cannot listen on 127.0.0.1 port {server.port}; the line above says why\n")
    assert "address already in use" in done.stderr


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--port=0", "cannot write a temporary file for the certificate (TMPDIR): No such file or directory"),
        ("--ca-file=/nowhere/ca.pem", "cannot write /nowhere/ca.pem: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_named(option: str, problem: str) -> None:
    code = "import tempfile; tempfile.tempdir = '/nowhere'; from webhook.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--standalone", option]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, f"Error: {problem}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_log_costs_no_review(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full, started(tmp_path, stderr=full) as server:
        assert server.review().json()["response"]["patch"]
        assert server.request("POST", "/mutate", content=b"{", headers=JSON).status_code == 400
        # the line that says where it listens, the decision, and the bad request
        wait_until(lambda: lost_lines(server) == 3, "three lost lines")
        assert server.review().status_code == 200


def test_a_closed_pipe_under_the_log_costs_no_review(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        os.close(reading)
        with started(tmp_path, stderr=pipe) as server:
            assert server.review().json()["response"]["patch"]
            wait_until(lambda: lost_lines(server) == 2, "two lost lines")


def lost_lines(server: Serving) -> float:
    text = server.request("GET", "/metrics").text
    return float(re.findall(r"^mlflow_webhook_log_lines_lost_total (\S+)$", text, re.MULTILINE)[0])


def test_sigterm_drains_and_ends_well(server: Serving, tmp_path: Path) -> None:
    """The last of this module's tests: the server is gone afterwards."""
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: server.request("GET", "/readyz").status_code == 503, "the replica not to be ready", every=0.05)
    answer = server.review()
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert server.process.wait(20) == 0

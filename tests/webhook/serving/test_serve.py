"""The real server as a process, over TLS, on a free port of the loopback address."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from tests.support.logs import whole_lines
from tests.support.pipes import full_pipe
from tests.support.serving import BODY, JSON, Serving, started
from tests.support.waiting import DEADLINE, wait_until


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
def test_a_bad_request_gets_a_sentence_and_the_server_continues(
    server: Serving, method: str, body: Any, headers: dict[str, str], status: int
) -> None:
    response = server.request(method, "/mutate", content=body, headers=headers)
    assert response.status_code == status
    assert "Traceback" not in response.text
    assert response.text.endswith("\n")
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
    document = json.loads(BODY)
    document["request"]["uid"] = "this-one"
    server.review(json.dumps(document).encode())
    # the answer comes before its line
    wait_until(lambda: any('"uid":"this-one"' in line for line in whole_lines(server.log)), "the line", every=0.01)
    lines = [json.loads(line) for line in whole_lines(server.log)]
    (decision,) = [line for line in lines if line.get("uid") == "this-one"]
    assert (decision["event"], decision["reason"]) == ("decision", "wired_by_namespace_label")
    assert "epochs" not in server.log.read_text()


def test_the_log_begins_with_where_it_listens(server: Serving) -> None:
    first = json.loads(whole_lines(server.log)[0])
    assert (first["event"], first["address"], first["port"]) == ("listening", "127.0.0.1", server.port)


def test_a_port_that_is_in_use_is_named(server: Serving) -> None:
    command = ["-m", "webhook.cli", "serve", "--standalone", "--port", str(server.port)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=DEADLINE, check=False)
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
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
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


def test_a_full_pipe_that_nobody_reads_costs_no_review(tmp_path: Path) -> None:
    with full_pipe() as pipe, started(tmp_path, stderr=pipe) as server:
        assert server.review().json()["response"]["patch"]
        wait_until(lambda: lost_lines(server) == 2, "two lost lines")


def lost_lines(server: Serving) -> float:
    text = server.request("GET", "/metrics").text
    return float(re.findall(r"^mlflow_webhook_log_lines_lost_total (\S+)$", text, re.MULTILINE)[0])


def test_after_sigterm_it_finishes_the_requests_and_exits_with_0(server: Serving, tmp_path: Path) -> None:
    """The last of this module's tests: the server is gone afterwards."""
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: server.request("GET", "/readyz").status_code == 503, "the replica not to be ready", every=0.05)
    answer = server.review()
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    server.process.send_signal(signal.SIGTERM)  # the rest of the delay is not waited for
    assert server.process.wait(DEADLINE) == 0

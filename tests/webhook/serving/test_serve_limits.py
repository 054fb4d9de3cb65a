"""Requests that are slow, large or do not end, sent to the real server over TLS."""

from __future__ import annotations

import re
import ssl
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.serving import BODY, Serving, started
from tests.support.turned_clock import TURN
from tests.support.waiting import wait_until

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


def review_answer(connection: ssl.SSLSocket) -> bytes:
    """Read the answer to a review."""
    said = b""
    while not said.endswith(b"}"):
        more = connection.recv(65536)
        assert more
        said += more
    return said


def test_a_request_is_waited_for_no_longer_than_the_limit(tmp_path: Path) -> None:
    expected = tmp_path / "expected"
    turned = f"from tests.support.turned_clock import turn_on_signal; turn_on_signal({str(expected)!r})"
    with ExitStack() as stack:
        stderr = stack.enter_context((tmp_path / "log").open("w"))
        server = stack.enter_context(started(tmp_path, stderr=stderr, before=turned))
        waiting, said = {}, {}
        for name, (sent, statuses) in TOO_SLOW.items():
            waiting[name] = stack.enter_context(server.connect())
            waiting[name].sendall(sent)
            said[name] = review_answer(waiting[name]) if b"200" in statuses else b""
        reused = stack.enter_context(server.connect())
        review = HEAD % len(BODY) + BODY
        reused.sendall(review)
        review_answer(reused)
        reused.sendall(b"\r\n")  # no request begins with an empty line
        received = sum(len(sent) for sent, _ in TOO_SLOW.values()) + len(review + b"\r\n")
        expected.write_text(f"{len(TOO_SLOW) + 1} {received}")
        server.process.send_signal(TURN)
        assert everything(reused) == b""
        for name, (_, statuses) in TOO_SLOW.items():
            assert re.findall(rb"HTTP/1.1 (\d+)", said[name] + everything(waiting[name])) == statuses, name
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
        said: list[bytes] = []

        def refused_one() -> bool:
            said.extend(map(answer, waiting))
            return any(b"HTTP/1.1 503" in part for part in said)

        wait_until(refused_one, "a refusal")
    assert not any(b"HTTP/1.1 200" in part for part in said)


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

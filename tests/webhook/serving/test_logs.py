from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest

from tests.support.pipes import full_pipe, full_socket
from webhook.serving.logs import configure_logging, count_lost_lines, decision_writer

LINE = {"namespace": "team-a", "pod": 'a "b"=c\nd', "decision": "wired"}


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO())


def written(to: io.TextIOWrapper) -> str:
    assert isinstance(to.buffer, io.BytesIO)
    return to.buffer.getvalue().decode()


def full_disk() -> TextIO:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    return open("/dev/full", "w")  # noqa: PTH123 - the test closes it


def closed_pipe() -> TextIO:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


def closed_stream() -> TextIO:
    closed = stream()
    closed.buffer.close()
    return closed


def no_stream() -> None:
    """Python has no standard error when it is closed at the start."""


def test_a_decision_is_one_json_object_a_line() -> None:
    to = stream()
    decision_writer(form="json", stream=to)(LINE)
    (line,) = written(to).splitlines()
    assert json.loads(line).items() >= {"event": "decision", "level": "info", **LINE}.items()


def test_a_decision_as_text_is_one_line_whose_fields_cannot_be_confused() -> None:
    to = stream()
    decision_writer(form="text", stream=to)(LINE)
    assert written(to).partition(" ")[2] == ('INFO decision namespace=team-a pod="a \\"b\\"=c\\nd" decision=wired\n')


@pytest.mark.parametrize("form", ["json", "text"])
def test_events_have_their_fields_and_an_error_no_message(form: str) -> None:
    to = stream()
    configure_logging(form=form, level="info", stream=to)
    log = logging.getLogger("webhook.test")
    log.debug("too fine")
    log.warning("bad request", extra={"status": 400})
    try:
        int("planted-secret")
    except ValueError:
        log.exception("failed")
    first, second = written(to).splitlines()
    assert "bad request" in first
    assert "status=400" in first or json.loads(first)["status"] == 400
    assert "ValueError at test_logs.py" in second
    assert "planted-secret" not in written(to)


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("broken", [full_disk, closed_pipe, full_pipe, full_socket, closed_stream, no_stream])
def test_a_line_that_cannot_be_written_is_counted_and_harms_nothing(
    form: str, broken: Callable[[], TextIO | None], capsys: pytest.CaptureFixture[str]
) -> None:
    lost: list[bool] = []
    to = broken()
    configure_logging(form=form, level="info", stream=to)
    count_lost_lines(lambda: lost.append(True))
    logging.getLogger("webhook.test").warning("bad request")
    assert lost == [True]
    with pytest.raises((OSError, ValueError)):
        decision_writer(form=form, stream=to)(LINE)
    if to and not to.buffer.closed:
        to.close()
    assert capsys.readouterr().err == ""


def test_a_line_that_was_lost_does_not_come_back() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "w") as to:
        write = decision_writer(form="json", stream=to)
        with pytest.raises(OSError):  # noqa: PT012 - the pipe is filled until it takes no more
            while True:
                write({"pod": "x" * 4000})
        os.read(pipe.fileno(), 1 << 20)
        write({"pod": "next"})
        assert json.loads(os.read(pipe.fileno(), 1 << 20))["pod"] == "next"


def test_a_pipe_that_is_not_read_for_a_while_loses_nothing_and_other_processes_still_wait_for_it() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "w") as to:
        of_another_process = os.dup(writing)
        write = decision_writer(form="json", stream=to)
        for number in range(1000):
            write({"pod": "x" * 500, "number": number})
        assert os.get_blocking(of_another_process)
        os.close(of_another_process)
        lines = os.read(pipe.fileno(), 1 << 20).splitlines()
        assert [json.loads(line)["number"] for line in lines] == list(range(1000))

"""The fields of a run: its place, its duration, its values."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.webhook.runs.runs import STARTED, document, run
from webhook.runs.run import read_run

NOW = datetime.fromtimestamp(STARTED / 1000, UTC) + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("tags", "place"),
    [
        ({"kfp.task_path": "for-loop-1/train", "kfp.task_name": "train"}, "for-loop-1/train"),
        ({"kfp.task_path": "train", "kfp.loop_iteration": "2.0", "k8s.pod.name": "p"}, "train[2.0]"),
        ({"trainjob.name": "t", "trainjob.replicated_job": "node", "trainjob.node_index": "1"}, "node-1"),
        ({"trainjob.name": "t", "trainjob.replicated_job": "launcher"}, "launcher"),
        ({"k8s.pod.name": "notebook-0"}, "notebook-0"),
        ({}, None),
    ],
)
def test_the_place_is_the_task_or_the_node_and_else_the_pod(tags: dict[str, str], place: str | None) -> None:
    assert run(tags=tags).place == place


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_run_that_has_ended_took_from_its_start_to_its_end(status: str) -> None:
    assert run(status=status).duration(NOW) == timedelta(minutes=1)


def test_a_running_one_has_taken_until_now_and_one_by_a_fast_clock_no_time() -> None:
    assert run(status="RUNNING", end_time=None).duration(NOW) == timedelta(minutes=5)
    assert run(status="RUNNING", start_time=STARTED + 10**9).duration(NOW) == timedelta()
    assert run(status="FINISHED", end_time=None).duration(NOW) is None
    assert run(start_time=None).duration(NOW) is None


@pytest.mark.parametrize("moment", [10**18, -(10**18), 0])
def test_an_invalid_time_is_unknown(moment: int) -> None:
    assert run(start_time=moment).started is None


@pytest.mark.parametrize(
    ("value", "number"),
    [(0.5, 0.5), ("Infinity", math.inf), (1.7976931348623157e308, math.inf), (-1.7976931348623157e308, -math.inf)],
)
def test_a_value_is_the_number_that_was_logged(value: float | str, number: float) -> None:
    assert run(metrics={"loss": value}).metrics["loss"].number == number


@pytest.mark.parametrize("value", ["NaN", "what"])
def test_a_value_without_a_number_is_nan(value: str) -> None:
    assert math.isnan(run(metrics={"loss": value}).metrics["loss"].number)


def test_the_user_is_the_tags_and_the_name_is_there_for_servers_that_have_it_in_a_tag_only() -> None:
    read = run(tags={"mlflow.user": "alice", "mlflow.runName": "named"}, run_name="", user_id="root")
    assert (read.user, read.name, read.experiment) == ("alice", "named", "pipeline")


@pytest.mark.parametrize("broken", [None, [], {}, {"info": {}}, {"info": {"run_id": [], "experiment_id": "1"}}])
def test_an_invalid_run_is_an_error_of_the_server(broken: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        read_run(broken, experiments={})


def test_a_run_without_data_is_one() -> None:
    assert read_run({"info": document()["info"]}, experiments={}).metrics == {}

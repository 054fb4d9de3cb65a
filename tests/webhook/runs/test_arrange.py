"""The order of a table: by start, nested runs under their parents, each run once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.webhook.runs.runs import STARTED, run
from webhook.runs.arrange import arrange, shared_metrics
from webhook.runs.run import Run


def shown(*runs: Run) -> list[str]:
    return ["-" * row.depth + row.run.id for row in arrange(runs)]


def test_runs_are_in_the_order_of_their_start_and_nested_ones_under_their_parents() -> None:
    late, early = run("late", start_time=STARTED + 9), run("early")
    inner = run("inner", parent="outer", start_time=STARTED + 2)
    outer = run("outer", parent="early", start_time=STARTED + 1)
    other = run("other", parent="early", start_time=STARTED + 3)
    assert shown(late, other, inner, early, outer) == ["early", "-outer", "--inner", "-other", "late"]


def test_a_run_whose_parent_is_missing_is_a_top_level_run() -> None:
    assert shown(run("a", parent="gone"), run("b", parent="")) == ["a", "b"]


def test_runs_that_name_each_other_as_parents_are_there_once_each() -> None:
    assert shown(run("a", parent="b"), run("b", parent="a"), run("c", parent="c")) == ["a", "-b", "c"]


def test_runs_may_be_nested_deeply() -> None:
    deep = [run(str(number), parent=str(number - 1)) for number in range(5000)]
    assert shown(*deep)[-1] == "-" * 4999 + "4999"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)), max_size=12))
def test_no_run_is_lost_or_doubled(given_: list[tuple[int, int, int]]) -> None:
    runs = {str(id_): run(str(id_), parent=str(parent), start_time=STARTED + at) for id_, parent, at in given_}
    assert sorted(row.run.id for row in arrange(runs.values())) == sorted(runs)


def test_the_metrics_shown_are_those_that_most_runs_have() -> None:
    runs = [
        run("a", metrics={"loss": 1, "accuracy": 1, "system/cpu_utilization_percentage": 1}),
        run("b", metrics={"loss": 1, "f1": 1, "accuracy": 1, "system/cpu_utilization_percentage": 1}),
        run("c", metrics={"loss": 1, "auc": 1, "system/cpu_utilization_percentage": 1}),
    ]
    assert shared_metrics(runs) == ["loss", "accuracy", "auc"]
    assert shared_metrics([]) == []

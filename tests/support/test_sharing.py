from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sharing import ONE_SERVER, RESTARTED, WAITING, group

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("tests/cluster/test_wiring.py::test_x[a/b::c]", "control plane"),
        ("tests/cluster/test_outages.py::test_x", "restarted control plane"),
        ("tests/cluster/test_upkeep.py::test_x", "waiting control plane"),
        ("tests/mlflow/test_plugin.py::test_x[2.9]", "MLflow server"),
        ("tests/webhook/cluster/test_kube.py::test_x", "tests/webhook/cluster/test_kube.py::test_x"),
        ("tests/webhook/doctor/test_plugin.py::test_x", "tests/webhook/doctor/test_plugin.py::test_x"),
    ],
)
def test_tests_that_share_a_server_are_one_group_and_others_are_on_their_own(test: str, expected: str) -> None:
    assert group(test) == expected


def test_the_files_that_are_named_exist_and_use_the_server() -> None:
    for folder, names, fixture in (
        ("cluster", RESTARTED | WAITING, "control_plane"),
        ("mlflow", ONE_SERVER, "mlflow_url"),
    ):
        for name in names:
            assert fixture in (TESTS / folder / f"{name}.py").read_text()


def test_every_file_that_uses_the_mlflow_server_is_named() -> None:
    users = {file.stem for file in (TESTS / "mlflow").glob("test_*.py") if "mlflow_url" in file.read_text()}
    assert users == ONE_SERVER

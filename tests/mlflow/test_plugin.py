"""The client plugin, in processes with the environment and the files of a wired pod, against a real MLflow server."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.recorder import Recorder
from tests.mlflow.wired_process import ANOTHER, FIRST, OLD_CLIENTS, PYTHON, SECOND, WORKSPACE, Container, runs
from tests.support.training import create_workspace

NAME = "train-model-d308ca25"
pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(not PYTHON.exists(), reason="the training environment is missing: run `make install`"),
]


@pytest.fixture(scope="module")
def server(mlflow_url: str) -> str:
    for name in (WORKSPACE, ANOTHER):
        create_workspace(mlflow_url, name)
    return mlflow_url


TOGETHER = """
    import os, sys, time, mlflow

    def greet():
        # mlflow 3.17.2 waits for the server's capabilities for 3 seconds only, which a busy machine can exceed
        for _ in range(20):
            try:
                return mlflow.search_experiments(max_results=1)
            except mlflow.MlflowException:
                time.sleep(0.5)

    def start(ready, released):
        greet()
        os.write(ready, b"x")
        os.read(released, 1)
        with mlflow.start_run():
            mlflow.log_metric("loss", 1.0)

    for number in range(5):
        os.environ["MLFLOW_EXPERIMENT_NAME"] = f"{sys.argv[1]}-{number}"
        (are_ready, ready), (released, release) = os.pipe(), os.pipe()
        children = []
        for _ in range(6):
            children.append(os.fork())
            if children[-1] == 0:
                try:
                    start(ready, released)
                except BaseException as error:
                    print(f"round {number}: {error!r}"[:400].replace("\\n", " "), flush=True)
                    os._exit(1)
                os._exit(0)
        for _ in children:
            os.read(are_ready, 1)
        os.write(release, b"123456")
        for child in children:
            os.waitpid(child, 0)
"""


def test_processes_that_start_together_on_a_new_experiment_all_get_their_run(server: str, tmp_path: Path) -> None:
    assert Container(tmp_path, server, experiment="together").run(TOGETHER, "together") == ""
    assert [len(runs(server, f"together-{number}")) for number in range(5)] == [6] * 5


def test_without_the_plugin_some_of_them_fail(server: str, tmp_path: Path) -> None:
    container = Container(tmp_path, server, experiment="apart", plugin=False)
    assert "RESOURCE_ALREADY_EXISTS" in container.run(TOGETHER, "apart")


def test_a_second_run_of_a_process_has_another_name_and_nested_ones_have_mlflows(server: str, tmp_path: Path) -> None:
    container = Container(tmp_path, server, experiment="names")
    container.run(
        """
        import mlflow
        for _ in range(3):
            with mlflow.start_run():
                pass
        with mlflow.start_run(run_name="mine"):
            with mlflow.start_run(nested=True):
                pass
            with mlflow.start_run(nested=True, run_name="child"):
                pass
        """
    )
    found = runs(server, "names")
    assert [run["name"] for run in found[:4]] == [NAME, f"{NAME}-2", f"{NAME}-3", "mine"]
    assert not found[4]["name"].startswith(NAME)
    assert found[5]["name"] == "child"
    assert {run["tags"].get("mlflow.parentRunId") for run in found[4:]} == {found[3]["id"]}
    assert all(run["tags"]["kfp.pipeline_run_id"].startswith("d308ca25") for run in found)


def test_runs_of_a_thread_pool_have_distinct_names(server: str, tmp_path: Path) -> None:
    container = Container(tmp_path, server, experiment="threads")
    container.run(
        """
        import mlflow
        from concurrent.futures import ThreadPoolExecutor
        def train(number):
            with mlflow.start_run():
                mlflow.log_metric("number", number)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(train, range(4)))
        """
    )
    assert sorted(run["name"] for run in runs(server, "threads")) == [NAME, *(f"{NAME}-{n}" for n in (2, 3, 4))]


def test_a_search_with_autologging_names_its_children(server: str, tmp_path: Path) -> None:
    container = Container(tmp_path, server, experiment="search")
    container.run(
        """
        import mlflow
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
        GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1.0]}, cv=2).fit(*load_iris(return_X_y=True))
        """
    )
    found = runs(server, "search")
    children = [run for run in found if "mlflow.parentRunId" in run["tags"]]
    (parent,) = [run for run in found if run not in children]
    assert parent["name"] == NAME
    assert len(children) == 2
    assert {child["tags"]["mlflow.parentRunId"] for child in children} == {parent["id"]}
    assert all(not child["name"].startswith(NAME) for child in children)


def test_a_child_process_uses_the_experiment_of_its_parent(server: str, tmp_path: Path) -> None:
    container = Container(tmp_path, server, experiment="parent")
    child = "import mlflow; mlflow.start_run(); mlflow.end_run()"
    container.run(
        f"""
        import mlflow, subprocess, sys
        subprocess.run([sys.executable, "-c", {child!r}], check=True)
        mlflow.set_experiment("set-by-the-parent")
        subprocess.run([sys.executable, "-c", {child!r}], check=True)
        """
    )
    assert len(runs(server, "parent")) == 1
    assert len(runs(server, "set-by-the-parent")) == 1


def test_a_process_without_the_plugin_uses_the_same_experiment(server: str, tmp_path: Path) -> None:
    container = Container(tmp_path, server, experiment="isolated")
    child = "import mlflow; mlflow.start_run(); mlflow.end_run()"
    container.run(
        f"""
        import mlflow, subprocess, sys
        with mlflow.start_run():
            subprocess.run([sys.executable, "-I", "-W", "ignore", "-c", {child!r}], check=True)
        """
    )
    assert len(runs(server, "isolated")) == 2


def test_a_run_belongs_to_the_tokens_user(server: str, tmp_path: Path) -> None:
    container = Container(tmp_path, server, experiment="users")
    container.run(
        """
        import mlflow
        with mlflow.start_run():
            pass
        with mlflow.start_run(tags={"mlflow.user": "bob"}):
            pass
        """
    )
    assert [(run["user"], run["tags"]["mlflow.user"]) for run in runs(server, "users")] == [
        ("ann@example.com", "ann@example.com"),
        ("bob", "bob"),
    ]


def test_a_token_that_changes_during_the_run_is_used_from_the_next_request_on(server: str, tmp_path: Path) -> None:
    with Recorder(server) as proxy:
        container = Container(tmp_path, proxy.url, experiment="fresh")
        (container.mount / "token").write_text("")
        container.run(
            """
            import sys, mlflow
            file, second = sys.argv[1:]
            with mlflow.start_run():
                mlflow.log_metric("loss", 1.0)
                open(file, "w").write(second + "\\n")
                mlflow.log_metric("loss", 0.5)
            """,
            str(container.mount / "token"),
            SECOND,
        )
    sent = proxy.authorizations()
    assert set(sent) == {f"Bearer {FIRST}", f"Bearer {SECOND}"}
    assert sent == sorted(sent, key=lambda value: value == f"Bearer {SECOND}")


def test_another_server_never_gets_the_token(server: str, tmp_path: Path) -> None:
    container = Container(tmp_path, server, experiment="elsewhere", token=SECOND)
    code = """
        import os, sys, mlflow
        from mlflow.deployments import get_deploy_client

        def client(server):
            mlflow.MlflowClient(tracking_uri=server).search_experiments()

        def tracking(server):
            mlflow.set_tracking_uri(server)
            mlflow.set_experiment("x")

        def registry(server):
            mlflow.set_registry_uri(server)
            mlflow.MlflowClient().search_registered_models()

        def deployments(server):
            get_deploy_client(server).list_endpoints()

        def target(server):
            os.environ["MLFLOW_DEPLOYMENTS_TARGET"] = server
            get_deploy_client(server).get_endpoint("x")

        for use, server in zip((client, tracking, registry, deployments, target), sys.argv[1:]):
            try:
                use(server)
            except Exception:
                pass
    """
    with ExitStack() as stack:
        others = [stack.enter_context(Recorder()) for _ in range(5)]
        urls = [other.url for other in others]
        container.run(code, *urls, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", MLFLOW_TRACKING_TOKEN=FIRST)
    assert [bool(other.seen) for other in others] == [True] * 5
    assert {sent for other in others for sent in other.authorizations()} == {""}


def test_a_redirect_to_another_server_does_not_carry_the_token(server: str, tmp_path: Path) -> None:
    with Recorder() as other, Recorder(redirect=other.url) as proxy:
        container = Container(tmp_path, proxy.url, experiment="redirected")
        code = "import mlflow\ntry:\n    mlflow.search_experiments()\nexcept Exception:\n    pass"
        container.run(code, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert set(proxy.authorizations()) == {f"Bearer {FIRST}"}
    assert other.seen
    assert set(other.authorizations()) == {""}


def test_credentials_that_the_code_sets_are_not_changed(server: str, tmp_path: Path) -> None:
    container = Container(tmp_path, server, experiment="own-credentials")
    with Recorder() as other:
        code = """
            import mlflow, os, sys
            os.environ["MLFLOW_TRACKING_TOKEN"] = "the-code's"
            mlflow.set_tracking_uri(sys.argv[1])
            try:
                mlflow.search_experiments()
            except Exception:
                pass
        """
        container.run(code, other.url, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert set(other.authorizations()) == {"Bearer the-code's"}


def test_without_a_search_before_it_the_creation_of_an_existing_experiment_fails(server: str, tmp_path: Path) -> None:
    container = Container(tmp_path, server, experiment="explicit")
    output = container.run(
        """
        import mlflow
        mlflow.create_experiment("once")
        try:
            mlflow.create_experiment("once")
        except mlflow.MlflowException as error:
            print(error.error_code)
        """
    )
    assert output == "RESOURCE_ALREADY_EXISTS\n"


def test_a_workspace_that_the_code_sets_is_not_changed(server: str, tmp_path: Path) -> None:
    container = Container(tmp_path, server, experiment="moved")
    container.run(f"import mlflow; mlflow.set_workspace('{ANOTHER}'); mlflow.start_run(); mlflow.end_run()")
    assert len(runs(server, "moved", ANOTHER)) == 1


def test_the_plugin_prints_nothing(server: str, tmp_path: Path) -> None:
    code = "import mlflow\nwith mlflow.start_run():\n    pass"
    printed = []
    for plugin in (True, False):
        container = Container(tmp_path, server, experiment="quiet", plugin=plugin)
        with container.start(code) as process:
            output, errors = process.communicate(timeout=120)
        printed.append((len(output.splitlines()), len(errors.splitlines())))
    assert printed[0] == printed[1]


@pytest.fixture(params=OLD_CLIENTS)
def old_client(request: pytest.FixtureRequest) -> Path:
    python = OLD_CLIENTS[request.param]
    if not python.exists():
        pytest.skip(f"MLflow {request.param} is missing: run `make test`")
    return python


LOGS = """
    import mlflow
    with mlflow.start_run():
        mlflow.log_metric("loss", 1.0)
        with mlflow.start_run(nested=True):
            pass
    with mlflow.start_run():
        pass
"""


def test_a_client_without_workspaces_writes_to_the_right_workspace(
    server: str, tmp_path: Path, old_client: Path
) -> None:
    experiment = f"old-{old_client.parts[-3]}"
    container = Container(tmp_path, server, experiment=experiment, python=old_client)
    container.run(LOGS)
    first, nested, second = runs(server, experiment)
    assert [first["name"], second["name"]] == [NAME, f"{NAME}-2"]
    assert not nested["name"].startswith(NAME)
    assert {run["tags"]["mlflow.user"] for run in (first, nested, second)} == {"ann@example.com"}
    assert first["tags"]["kfp.pipeline_run_id"].startswith("d308ca25")


def test_without_the_plugin_such_a_client_writes_to_the_default_workspace(
    server: str, tmp_path: Path, old_client: Path
) -> None:
    experiment = f"lost-{old_client.parts[-3]}"
    Container(tmp_path, server, experiment=experiment, python=old_client, plugin=False).run(LOGS)
    assert len(runs(server, experiment, "default")) == 3

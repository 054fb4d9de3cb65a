"""The client plugin, in processes with the environment and the files of a wired pod, against a real MLflow server."""

from __future__ import annotations

import copy
import json
import subprocess
import textwrap
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.processes import mlflow_server
from tests.support.kubelet import container_environment, projected_files
from tests.support.pods import KFP, pod
from webhook.core.client_plugin import MOUNT_PATH, VOLUME
from webhook.core.configuration import Namespace, Platform, Sourced
from webhook.core.decision import decide
from webhook.core.patch import patch
from webhook.core.review import decode_pod
from webhook.plugin import load_plugin

jsonpatch = pytest.importorskip("jsonpatch")
PYTHON = Path(__file__).parents[2] / ".venv-training" / "bin" / "python"
NAME = "train-model-d308ca25"
pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(not PYTHON.exists(), reason="the training environment is missing: run `make install`"),
]


def jwt(**claims: Any) -> str:
    parts = [{"alg": "RS256"}, {"iss": "https://dex", "sub": "opaque", **claims}]
    encoded = [urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


FIRST, SECOND = jwt(email="ann@example.com", exp=1), jwt(email="ann@example.com", exp=2)


class Recorder:
    """A server that keeps what reaches it: every request's path and headers. It forwards to another, if it has one."""

    def __init__(self, target: str | None = None, redirect: str | None = None) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                recorder.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                if redirect:
                    self.send_response(302)
                    self.send_header("Location", redirect + self.path)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                status, answer = 404, b"{}"
                if target:
                    kept = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "content-length"}}
                    found = httpx.request(
                        self.command, target + self.path, headers=kept, content=body, trust_env=False, timeout=30
                    )
                    status, answer = found.status_code, found.content
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def authorizations(self) -> list[str]:
        return [headers.get("authorization", "") for _, headers in self.seen]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(PYTHON, tmp_path_factory.mktemp("mlflow")) as url:
        for name in ("team-a", "team-b"):
            answer = httpx.post(f"{url}/api/3.0/mlflow/workspaces", json={"name": name}, trust_env=False, timeout=30)
            answer.raise_for_status()
        yield url


class Container:
    """The environment and the files of a wired pod's container, laid out in a folder."""

    def __init__(self, folder: Path, server: str, *, experiment: str, token: str = FIRST, plugin: bool = True) -> None:
        document = copy.deepcopy(pod(KFP))
        document["metadata"]["annotations"].update(
            {
                "mlflow.kubeflow.org/experiment": experiment,
                "mlflow.kubeflow.org/client-plugin": "true" if plugin else "false",
            }
        )
        seen = decode_pod(json.dumps(document).encode())
        platform = Platform(tracking_uri=Sourced(server), plugin=load_plugin())
        decision = decide(seen, namespace=Namespace("team-a", {"mlflow-enabled": "true"}, {}), platform=platform)
        wired = jsonpatch.apply_patch(document, patch(seen, decision))
        secrets = {"mlflow-token": {"token": token}}
        self.folder, self.mount = folder, folder / "mount"
        environment = container_environment(wired, "main", secrets=secrets)
        if plugin:
            for path, text in projected_files(wired, VOLUME, secrets=secrets).items():
                file = self.mount / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        self.environment = {
            "PATH": f"{PYTHON.parent}:/usr/bin:/bin",
            "HOME": str(folder),
            **{
                name: value.replace(MOUNT_PATH, str(self.mount))
                for name, value in environment.items()
                if name.startswith(("MLFLOW_", "PYTHONPATH"))
            },
        }

    def start(self, code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PYTHON, "-W", "ignore", "-c", textwrap.dedent(code), *arguments],
            env={**self.environment, **environment},
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, *arguments: str, **environment: str) -> str:
        with self.start(code, *arguments, **environment) as process:
            output, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors[-3000:]
        return output


def runs(server: str, experiment: str, workspace: str = "team-a") -> list[dict[str, Any]]:
    """Return the runs of an experiment, the oldest first, each with its name, its user and its tags."""
    headers = {"X-MLFLOW-WORKSPACE": workspace}
    with httpx.Client(base_url=f"{server}/api/2.0/mlflow/", headers=headers, trust_env=False, timeout=30) as client:
        found = client.get("experiments/get-by-name", params={"experiment_name": experiment}).raise_for_status().json()
        query = {"experiment_ids": [found["experiment"]["experiment_id"]], "order_by": ["attributes.start_time ASC"]}
        listed = client.post("runs/search", json=query).raise_for_status().json().get("runs", [])
    return [
        {
            "name": run["info"]["run_name"],
            "user": run["info"].get("user_id"),
            "id": run["info"]["run_id"],
            "status": run["info"]["status"],
            "tags": {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])},
        }
        for run in listed
    ]


START = """
    import sys, mlflow
    print("ready", flush=True)
    sys.stdin.readline()
    with mlflow.start_run():
        mlflow.log_metric("loss", 1.0)
"""


def test_processes_that_start_together_on_a_new_experiment_all_get_their_run(server: str, tmp_path: Path) -> None:
    for round_ in range(5):
        container = Container(tmp_path, server, experiment=f"together-{round_}")
        processes = [container.start(START) for _ in range(6)]
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        ended = []
        for process in processes:  # all have MLflow imported by now
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            _, errors = process.communicate(timeout=120)
            ended.append((process.returncode, errors[-500:]))
        assert [code for code, _ in ended] == [0] * 6, ended
        assert len(runs(server, f"together-{round_}")) == 6


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


def test_runs_of_a_thread_pool_are_told_apart(server: str, tmp_path: Path) -> None:
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


def test_a_child_process_follows_what_its_parent_has_set(server: str, tmp_path: Path) -> None:
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


def test_a_process_without_the_plugin_lands_in_its_experiment(server: str, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    "code",
    [
        "mlflow.set_tracking_uri(other); mlflow.set_experiment('x')",
        "mlflow.set_registry_uri(other); mlflow.MlflowClient().search_registered_models()",
        "from mlflow.deployments import get_deploy_client; get_deploy_client(other).list_endpoints()",
        "import os; os.environ['MLFLOW_DEPLOYMENTS_TARGET'] = other\n"
        "from mlflow.deployments import get_deploy_client; get_deploy_client(other).get_endpoint('x')",
    ],
    ids=["tracking", "registry", "deployments", "deployments-target"],
)
def test_another_server_never_gets_the_token(server: str, tmp_path: Path, code: str) -> None:
    container = Container(tmp_path, server, experiment="elsewhere", token=SECOND)
    with Recorder() as other:
        lines = textwrap.indent(code, "    ")
        program = f"import mlflow, sys\nother = sys.argv[1]\ntry:\n{lines}\nexcept Exception:\n    pass"
        container.run(program, other.url, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0", MLFLOW_TRACKING_TOKEN=FIRST)
    assert other.seen
    assert set(other.authorizations()) == {""}


def test_a_redirect_to_another_server_takes_no_token_along(server: str, tmp_path: Path) -> None:
    with Recorder() as other, Recorder(redirect=other.url) as proxy:
        container = Container(tmp_path, proxy.url, experiment="redirected")
        code = "import mlflow\ntry:\n    mlflow.search_experiments()\nexcept Exception:\n    pass"
        container.run(code, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert set(proxy.authorizations()) == {f"Bearer {FIRST}"}
    assert other.seen
    assert set(other.authorizations()) == {""}


def test_credentials_that_the_code_sets_are_its_own(server: str, tmp_path: Path) -> None:
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


def test_an_experiment_that_is_created_without_a_look_still_fails_when_it_exists(server: str, tmp_path: Path) -> None:
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


def test_code_that_chooses_a_workspace_wins(server: str, tmp_path: Path) -> None:
    container = Container(tmp_path, server, experiment="moved")
    container.run("import mlflow; mlflow.set_workspace('team-b'); mlflow.start_run(); mlflow.end_run()")
    assert len(runs(server, "moved", "team-b")) == 1


def test_the_plugin_prints_nothing(server: str, tmp_path: Path) -> None:
    code = "import mlflow\nwith mlflow.start_run():\n    pass"
    printed = []
    for plugin in (True, False):
        container = Container(tmp_path, server, experiment="quiet", plugin=plugin)
        with container.start(code) as process:
            output, errors = process.communicate(timeout=120)
        printed.append((len(output.splitlines()), len(errors.splitlines())))
    assert printed[0] == printed[1]

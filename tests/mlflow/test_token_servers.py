"""Compares webhook.core.names with the servers to which the installed MLflow's client sends the token."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from webhook.core import names

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-training" / "bin" / "python"
SOURCE = next((ROOT / ".venv-training" / "lib").glob("python3*/site-packages/mlflow"), Path("missing"))
pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(not SOURCE.is_dir(), reason="the training environment is missing: run `make install`"),
]

NO_TOKEN = {
    "ANTHROPIC_BASE_URL": "a model provider with its own key",
    "AZURE_API_BASE": "a model provider with its own key",
    "DATABRICKS_HOST": "Databricks' own credentials",
    "DATABRICKS_MODEL_ENDPOINT": "a name in a trace",
    "DATABRICKS_MODEL_SERVING_HOST_URL": "Databricks' own credentials",
    "DB_MODEL_SERVING_HOST_URL": "Databricks' own credentials",
    "JENKINS_URL": "tells where code runs",
    "KUBE_MLFLOW_TRACKING_URI": "what `mlflow run` gives to the pods that it starts, without a token",
    "MLFLOW_BACKEND_STORE_URI": "the MLflow server's database; with it a pod counts as a server",
    "MLFLOW_ENABLE_AI_GATEWAY": "a switch",
    "MLFLOW_GATEWAY_BUDGET_REDIS_URL": "the MLflow server's",
    "MLFLOW_GATEWAY_RATE_LIMITS_STORAGE_URI": "the MLflow server's",
    "MLFLOW_GENAI_JUDGE_BASE_URL": "SAP AI Core, with its own credentials",
    "MLFLOW_HOST": "where the MLflow server listens",
    "MLFLOW_MODEL_CATALOG_URI": "read without credentials",
    "MLFLOW_NOTEBOOK_TRACE_RENDERER_BASE_URL": "for a browser",
    "MLFLOW_READ_REPLICA_BACKEND_STORE_URI": "the MLflow server's database",
    "MLFLOW_REGISTRY_STORE_URI": "the MLflow server's",
    "MLFLOW_S3_ENDPOINT_URL": "S3, with its own credentials",
    "MLFLOW_SAGEMAKER_DEPLOY_IMG_URL": "the name of an image",
    "MLFLOW_SERVER_JOB_HUEY_REDIS_URL": "the MLflow server's",
    "OPENAI_API_BASE": "a model provider with its own key",
    "OPENAI_BASE_URL": "a model provider with its own key",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "OpenTelemetry's exporter, with its own headers",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "OpenTelemetry's exporter, with its own headers",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "OpenTelemetry's exporter, with its own headers",
    "REPO_URL": "MLflow's own tests",
    "RUNBOT_HOST_URL": "tells where code runs",
    "VAR_TO_COPY_FROM_HOST": "an example in a text",
    "_DATABRICKS_WORKSPACE_HOST": "Databricks' own credentials",
}
"""Every other variable in MLflow's source that may name a server, and why it gets no token."""

READS_THE_TOKEN = {
    "deployments/mlflow/__init__.py",  # MLFLOW_DEPLOYMENTS_TARGET
    "genai/judges/typesafe.py",  # MLFLOW_GATEWAY_URI
    "server/auth/client.py",  # the tracking URI
    "store/artifact/azure_blob_artifact_repo.py",  # only whether to verify certificates
    "store/artifact/http_artifact_repo.py",  # what the tracking server names
    "store/artifact/mlflow_artifacts_repo.py",  # the tracking URI
    "telemetry/client.py",  # the tracking URI
    "tracing/utils/otlp.py",  # headers for the tracking URI
    "tracking/_model_registry/utils.py",  # MLFLOW_REGISTRY_URI
    "tracking/_tracking_service/utils.py",  # MLFLOW_TRACKING_URI
    "tracking/_workspace/registry.py",  # MLFLOW_WORKSPACE_STORE_URI
    "utils/credentials.py",
}
"""The modules that read the token, and whose address they send it to."""

CALLS = {
    "MLFLOW_TRACKING_URI": "mlflow.MlflowClient().search_experiments()",
    "MLFLOW_REGISTRY_URI": "mlflow.MlflowClient().search_registered_models()",
    "MLFLOW_WORKSPACE_STORE_URI": "mlflow.list_workspaces()",
    "MLFLOW_DEPLOYMENTS_TARGET": (
        "from mlflow.deployments import get_deploy_client; get_deploy_client().list_endpoints()"
    ),
    "MLFLOW_GATEWAY_URI": "from mlflow.genai.judges.typesafe import _send_gateway_request as send; send({}, 0)",
}


def sources() -> dict[str, str]:
    files = (file for file in SOURCE.rglob("*.py"))
    return {file.relative_to(SOURCE).as_posix(): file.read_text(encoding="utf-8") for file in files}


def test_every_variable_that_may_name_a_server_is_known() -> None:
    name = re.compile(r'"(_?[A-Z][A-Z0-9_]*(?:URI|URL|TARGET|HOST|ENDPOINTS?|ADDRESS|GATEWAY|API_BASE))"')
    found = {match for text in sources().values() for match in name.findall(text)}
    assert found - NO_TOKEN.keys() == set(names.TOKEN_SERVERS)


def test_no_further_module_reads_the_token() -> None:
    reads = re.compile(r"get_default_host_creds[(,]|TRACKING_TOKEN\.get")
    assert {name for name, text in sources().items() if reads.search(text)} == READS_THE_TOKEN


@pytest.fixture
def recorder() -> Iterator[tuple[str, list[str]]]:
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.append(self.headers.get("Authorization", ""))
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


@pytest.mark.parametrize("name", names.TOKEN_SERVERS)
def test_a_server_that_is_named_in_one_of_them_receives_the_token(
    name: str, recorder: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, received = recorder
    environment = {
        "HOME": str(tmp_path),
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
        "MLFLOW_TRACKING_TOKEN": "secret",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        name: url,
    }
    subprocess.run(
        [PYTHON, "-c", f"import mlflow; {CALLS[name]}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,  # the recorder answers 404 to everything
    )
    assert "Bearer secret" in received

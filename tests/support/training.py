"""Runs code in wired environments: the training environment's Python, with what a container of a pod would get."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import textwrap
from pathlib import Path

import httpx
import jsonpatch
import pytest

from tests.support.kubelet import container_environment
from tests.support.pods import KFP, pod
from webhook.core.configuration import Namespace, Platform, Sourced
from webhook.core.decision import decide
from webhook.core.patch import patch
from webhook.core.review import decode_pod

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-training" / "bin" / "python"
NEEDS_MLFLOW = [
    pytest.mark.mlflow,
    pytest.mark.skipif(not PYTHON.exists(), reason="the training environment is missing: run `make install`"),
]


def create_workspace(server: str, name: str) -> None:
    body = {"name": name}
    httpx.post(f"{server}/api/3.0/mlflow/workspaces", json=body, trust_env=False, timeout=120).raise_for_status()


def environment(
    server: str,
    *,
    sample: str = KFP,
    container: str = "main",
    wired: bool = True,
    annotations: dict[str, str] | None = None,
    namespace: str = "team-a",
) -> dict[str, str]:
    """Return MLflow's variables of a container of a pod in a labelled namespace."""
    document = copy.deepcopy(pod(sample))
    metadata = document["metadata"]
    metadata.setdefault("annotations", {}).update(annotations or {})
    seen = decode_pod(json.dumps(document).encode())
    labelled = Namespace(namespace, {"mlflow-enabled": "true"}, {})
    decision = decide(seen, namespace=labelled, platform=Platform(tracking_uri=Sourced(server)))
    if wired:
        document = jsonpatch.apply_patch(document, patch(seen, decision))
    if not metadata.get("name"):  # the API server makes it after admission
        document["metadata"]["name"] = metadata["generateName"] + "x7k2p"
    given = container_environment(document, container, secrets={"mlflow-token": {"token": "x"}})
    return {name: value for name, value in given.items() if name.startswith("MLFLOW_")}


def run(code: str, env: dict[str, str], folder: Path) -> str:
    """Run code to its end. Returns the last `RUN …` that it printed."""
    minimal = {"PATH": f"{PYTHON.parent}:/usr/bin:/bin", "HOME": str(folder)}
    result = subprocess.run(
        [PYTHON, "-W", "ignore", "-c", textwrap.dedent(code)],
        env={**minimal, **env},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return str(re.findall(r"^RUN (\w+)$", result.stdout, re.MULTILINE)[-1])

"""Processes with the environment and the files of a wired container, and servers that record their requests."""

from __future__ import annotations

import copy
import json
import subprocess
import textwrap
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import httpx
import jsonpatch

from tests.support.container import lay_out
from tests.support.pods import KFP, pod
from webhook.core.configuration import Namespace, Platform, Sourced
from webhook.core.decision import decide
from webhook.core.patch import patch
from webhook.core.review import decode_pod
from webhook.plugin import load_plugin

WORKSPACE, ANOTHER = "plugin", "plugin-2"
PYTHON = Path(__file__).parents[2] / ".venv-training" / "bin" / "python"
OLD_CLIENTS = {
    version: Path(__file__).parents[2] / ".cache" / f"mlflow-{version.replace('.', '-')}" / "bin" / "python"
    for version in ("2.9", "2.22")
}


def jwt(**claims: Any) -> str:
    parts = [{"alg": "RS256"}, {"iss": "https://dex", "sub": "opaque", **claims}]
    encoded = [urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


FIRST, SECOND = jwt(email="ann@example.com", exp=1), jwt(email="ann@example.com", exp=2)


class Container:
    """The environment and the files of a wired pod's container, laid out in a folder."""

    def __init__(
        self,
        folder: Path,
        server: str,
        *,
        experiment: str,
        token: str = FIRST,
        plugin: bool = True,
        python: Path = PYTHON,
    ) -> None:
        document = copy.deepcopy(pod(KFP))
        document["metadata"]["annotations"].update(
            {
                "mlflow.kubeflow.org/experiment": experiment,
                "mlflow.kubeflow.org/client-plugin": "true" if plugin else "false",
            }
        )
        seen = decode_pod(json.dumps(document).encode())
        platform = Platform(tracking_uri=Sourced(server), plugin=load_plugin())
        decision = decide(seen, namespace=Namespace(WORKSPACE, {"mlflow-enabled": "true"}, {}), platform=platform)
        wired = jsonpatch.apply_patch(document, patch(seen, decision))
        secrets = {"mlflow-token": {"token": token}}
        self.python, self.folder, self.mount = python, folder, folder / "mount"
        environment = lay_out(wired, "main", secrets=secrets, mount=self.mount)
        self.environment = {
            "PATH": f"{python.parent}:/usr/bin:/bin",
            "HOME": str(folder),
            **{name: value for name, value in environment.items() if name.startswith(("MLFLOW_", "PYTHONPATH"))},
        }

    def start(self, code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, "-W", "ignore", "-c", textwrap.dedent(code), *arguments],
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


def runs(server: str, experiment: str, workspace: str = WORKSPACE) -> list[dict[str, Any]]:
    """Return the runs of an experiment, the oldest first, each with its name, its user and its tags."""
    headers = {"X-MLFLOW-WORKSPACE": workspace}
    with httpx.Client(base_url=f"{server}/api/2.0/mlflow/", headers=headers, trust_env=False, timeout=120) as client:
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

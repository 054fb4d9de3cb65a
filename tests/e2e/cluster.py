"""The cluster that KUBECONFIG names: kubectl, image builds, and what the tests need in it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
BUILD = "docker build --tag {image} {folder} && kind load docker-image {image}"
"""How an image gets into the cluster, unless E2E_BUILD says otherwise."""
TRAINING_IMAGE = "mlflow-webhook-e2e-training:1"


def run(*command: str | Path, stdin: str | None = None, check: bool = True, timeout: float = 300) -> str:
    """Run a command and return its output. Raises AssertionError with the output if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, timeout=timeout)
    if check and done.returncode:
        raise AssertionError(f"{shlex.join(words)}\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


def kubectl(*arguments: str | Path, stdin: str | None = None, check: bool = True, timeout: float = 300) -> str:
    """Run kubectl in the cluster that KUBECONFIG names."""
    return run("kubectl", *arguments, stdin=stdin, check=check, timeout=timeout)


def apply(*documents: dict[str, Any]) -> None:
    """Apply objects."""
    kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(documents))


def get(kind: str, namespace: str, *arguments: str) -> list[dict[str, Any]]:
    """Return the objects of a kind in a namespace."""
    found = kubectl("get", kind, f"--namespace={namespace}", "--output=json", *arguments)
    items: list[dict[str, Any]] = json.loads(found)["items"]
    return items


def build(image: str, *paths: str, dockerfile: str) -> float:
    """Build an image from a Dockerfile and the paths that it needs, and load it. Return the seconds that this took."""
    command = os.environ.get("E2E_BUILD", BUILD)
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy: Callable[..., Any] = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
            copy(ROOT / path, target)
        shutil.copy(ROOT / dockerfile, Path(folder, "Dockerfile"))
        started = time.monotonic()
        run("sh", "-c", command.format(image=image, folder=shlex.quote(folder)), timeout=900)
        return time.monotonic() - started

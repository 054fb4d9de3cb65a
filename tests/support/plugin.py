"""The plugin's module as a process in a container loads it, and requests for it. Also runs on Python 3.8."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any, Callable  # noqa: UP035 - that of collections.abc takes no parameters before Python 3.9

import requests

MODULE = "mlflow_webhook_plugin"
SOURCE = Path(__file__).parents[2] / "webhook" / "plugin" / f"{MODULE}.py"
SERVER = "http://mlflow.example:5000"
WIRED = json.dumps({"tracking_uri": SERVER})
Load = Callable[..., ModuleType]


def prepared(
    module: ModuleType, url: str, *, token: str | None = None, authorization: str = "", body: Any = None
) -> requests.PreparedRequest:
    """Return a request as MLflow's client makes it: with a header from its environment, and with the plugin."""
    sent = f"Bearer {token}" if token else authorization
    headers = {"Authorization": sent} if sent else {}
    method, auth = "GET" if body is None else "POST", module.AuthProvider().get_auth()
    return requests.Request(method, url, headers=headers, json=body, auth=auth).prepare()


def sent(module: ModuleType, url: str, *, token: str | None = None, authorization: str = "") -> dict[str, str]:
    """Return the headers that leave the process."""
    return {k: str(v) for k, v in prepared(module, url, token=token, authorization=authorization).headers.items()}

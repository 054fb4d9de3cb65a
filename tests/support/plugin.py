"""The plugin's module as a process in a container loads it, and requests for it. Also runs on Python 3.8."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, Callable  # noqa: UP035 - that of collections.abc takes no parameters before Python 3.9

import requests

MODULE = "mlflow_webhook_plugin"
SOURCE = Path(__file__).parents[2] / "webhook" / "plugin" / f"{MODULE}.py"
SERVER = "http://mlflow.example:5000"
Load = Callable[..., ModuleType]


def prepared(url: str, *, token: str | None = None, body: Any = None) -> requests.PreparedRequest:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.Request("POST" if body is not None else "GET", url, headers=headers, json=body).prepare()


def sent(module: ModuleType, request: requests.PreparedRequest) -> dict[str, str]:
    return dict(module.AuthProvider().get_auth()(request).headers)

"""MLflow client plugin of mlflow-webhook: a fresh token, the workspace, safe experiments and distinct run names.

MLflow loads it by its entry points. The webhook puts it into wired pods that ask for it, beside `wiring.json` (what the
webhook gave) and `token` (from the Secret; the kubelet keeps it fresh). It runs in the user's process: it imports only
the standard library, prints nothing, and when anything is unexpected the client works as it does without the plugin.
Python 3.8 and later, MLflow 2.9 and later.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
from typing import Any, Callable
from urllib.parse import parse_qs, urljoin, urlsplit

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The mount. Links in it are not resolved: the kubelet replaces what they lead to whenever a file changes."""
REMEMBERED = 60.0
"""Seconds in which an experiment that was looked for and not found may be created."""


def origin(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a URL; None when it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        host = parts.hostname or ""
    except (KeyError, ValueError):
        return None
    return (parts.scheme, host[:-1] if host.endswith(".") else host, port) if host else None


def read_text(name: str) -> str:
    """Return the text of a file in the mount, without white space around it; empty when it cannot be read."""
    try:
        with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, UnicodeError):
        return ""


def read_claims(token: str) -> dict[str, Any]:
    """Return what a JWT says, not verified; empty when it is not one."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return claims if isinstance(claims, dict) else {}
    except (IndexError, ValueError):
        return {}


class Wiring:
    """What the webhook gave this pod, as `wiring.json` says, and what the process was started with."""

    def __init__(self) -> None:
        try:
            given = json.loads(read_text("wiring.json"))
        except ValueError:
            given = {}
        if not isinstance(given, dict):
            given = {}
        self.server = origin(str(given.get("tracking_uri")))
        self.workspace = given.get("workspace")
        self.experiment = given.get("experiment")
        self.run_name = given.get("run_name")
        self.first_token = os.environ.get("MLFLOW_TRACKING_TOKEN", "").strip()
        self._tokens = {self.first_token}

    def token(self) -> str:
        """Return the token in the file, which the kubelet keeps fresh; empty when it is not there."""
        current = read_text("token")
        if current:
            self._tokens.add(current)
        return current

    def is_server(self, url: str) -> bool:
        """Return whether a URL is on the server that the webhook gave."""
        return self.server is not None and origin(url) == self.server

    def is_token(self, authorization: str) -> bool:
        """Return whether a header carries a token that the webhook gave: now's, or one that this process had before."""
        sent = authorization[7:].strip() if authorization[:7].lower() == "bearer " else ""
        return bool(sent) and (sent in self._tokens or sent == self.token())


WIRING = Wiring()
if os.environ.get("MLFLOW_EXPERIMENT_ID") and os.environ.get("MLFLOW_EXPERIMENT_NAME") == WIRING.experiment:
    # A parent process called set_experiment, which leaves the id. MLflow refuses an id and a name that disagree.
    os.environ.pop("MLFLOW_EXPERIMENT_NAME", None)


class Authentication:
    """What MLflow calls with each request before it is sent (requests' protocol for `auth`)."""

    def __call__(self, request: Any) -> Any:
        """Return the request: with the token and the workspace to the wired server, without the token elsewhere."""
        try:
            authorization = request.headers.get("Authorization", "")
            if not WIRING.is_server(request.url):
                _take_token_away(request, authorization)
                return request
            token = WIRING.token()
            if token and (not authorization or WIRING.is_token(authorization)):
                request.headers["Authorization"] = "Bearer " + token
            _add_workspace(request)
            if request.method == "POST" and _path(request.url).endswith("/mlflow/runs/create"):
                NAMES.give(request)
            request.register_hook("response", _after)
        except Exception:  # noqa: BLE001, S110 - the user's request goes on as it would without the plugin
            pass
        return request


def _take_token_away(request: Any, authorization: str) -> None:
    if WIRING.is_token(authorization):
        del request.headers["Authorization"]
    if "Authorization" not in request.headers:
        from requests.utils import get_netrc_auth  # what requests would use if MLflow passed no `auth`

        netrc = get_netrc_auth(request.url)
        if netrc:
            request.prepare_auth(netrc, request.url)


def _add_workspace(request: Any) -> None:
    """Add the workspace for clients before MLflow 3.10, which do not know of workspaces."""
    if not WIRING.workspace or "X-MLFLOW-WORKSPACE" in request.headers or "/mlflow/workspaces" in _path(request.url):
        return
    if not hasattr(sys.modules.get("mlflow"), "set_workspace"):
        request.headers["X-MLFLOW-WORKSPACE"] = os.environ.get("MLFLOW_WORKSPACE") or WIRING.workspace


class RunNames:
    """Gives the default run name to the first run only.

    MLFLOW_RUN_CONTEXT gives it to every run of a process. Here later ones get a number, and nested ones no name, so
    that the server makes one up. Names that the code gives are left alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def give(self, request: Any) -> None:
        """Change the name in a request that creates a run."""
        run = json.loads(request.body)
        names = [tag for tag in run.get("tags") or [] if tag.get("key") == "mlflow.runName"]
        if not WIRING.run_name or run.get("run_name") or [tag.get("value") for tag in names] != [WIRING.run_name]:
            return
        if any(tag.get("key") == "mlflow.parentRunId" for tag in run["tags"]):
            run["tags"].remove(names[0])
        else:
            with self._lock:
                self._count += 1
                count = self._count
            if count > 1:
                names[0]["value"] = f"{WIRING.run_name}-{count}"
        request.body = json.dumps(run).encode()


NAMES = RunNames()


class Absent(threading.local):
    """Names of experiments that this thread has just looked for and not found."""

    def __init__(self) -> None:
        self.names = {}  # type: dict[str, float]


ABSENT = Absent()


def _after(response: Any, **sending: Any) -> Any:
    """Look at a response before MLflow does: a redirect elsewhere, or an experiment that another process made."""
    try:
        path = _path(response.request.url)
        if response.is_redirect:
            target = urljoin(response.request.url, response.headers["Location"])
            if not WIRING.is_server(target) and WIRING.is_token(response.request.headers.get("Authorization", "")):
                del response.request.headers["Authorization"]
        elif response.status_code == 404 and path.endswith("/mlflow/experiments/get-by-name"):
            query = parse_qs(urlsplit(response.request.url).query)
            ABSENT.names[query["experiment_name"][0]] = time.monotonic()
        elif response.status_code == 400 and path.endswith("/mlflow/experiments/create"):
            _answer_with_existing(response, sending)
    except Exception:  # noqa: BLE001, S110 - MLflow gets the server's answer
        pass
    return response


def _answer_with_existing(response: Any, sending: dict[str, Any]) -> None:
    """Answer a lost race to create an experiment with the one that the other process created.

    MLflow looks for an experiment, creates it when it is not there, and does not look again (observed with mlflow
    3.17.2). A creation without a look before fails as it does without the plugin.
    """
    name = json.loads(response.request.body)["name"]
    looked = ABSENT.names.pop(name, None)
    if looked is None or time.monotonic() - looked > REMEMBERED:
        return
    if response.json().get("error_code") != "RESOURCE_ALREADY_EXISTS":
        return
    lookup = response.request.copy()
    lookup.prepare_method("GET")
    lookup.prepare_url(response.request.url.split("?")[0][: -len("create")] + "get-by-name", {"experiment_name": name})
    lookup.body = None
    for header in ("Content-Length", "Content-Type", "Transfer-Encoding"):
        lookup.headers.pop(header, None)
    lookup.hooks = {"response": []}
    found = response.connection.send(lookup, **sending)
    experiment = found.json()["experiment"] if found.status_code == 200 else {}
    if experiment.get("lifecycle_stage") == "active":
        response.status_code, response.reason = 200, "OK"
        response._content = json.dumps({"experiment_id": experiment["experiment_id"]}).encode()


def _path(url: str) -> str:
    return urlsplit(url).path


class AuthProvider:
    """MLflow's entry point `mlflow.request_auth_provider`, chosen by MLFLOW_TRACKING_AUTH."""

    def get_name(self) -> str:
        """Return the name that MLFLOW_TRACKING_AUTH has."""
        return "mlflow-webhook"

    def get_auth(self) -> Callable[[Any], Any]:
        """Return what is called with each request."""
        return Authentication()


class UserProvider:
    """MLflow's entry point `mlflow.run_context_provider`: a run's user is the token's, not the container's."""

    def in_context(self) -> bool:
        """Return whether the user is known."""
        return bool(self.tags())

    def tags(self) -> dict[str, str]:
        """Return the tag with the token's e-mail address, or its subject."""
        claims = read_claims(WIRING.token() or WIRING.first_token)
        user = claims.get("email") or claims.get("sub")
        return {"mlflow.user": user} if isinstance(user, str) else {}

"""MLflow client plugin of mlflow-webhook: a fresh token, the workspace, safe experiments and distinct run names.

MLflow loads it by its entry points. The webhook adds it to wired pods that ask for it, together with `wiring.json` (the
values that the webhook set) and `token` (from the Secret; the kubelet updates it). It runs in the user's process, so it
imports only the standard library and prints nothing. If anything is unexpected, the client works as without the plugin.
Requires Python 3.8 or later, MLflow 2.9 or later.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import sys
import threading
import time
from typing import Any, Callable
from urllib.parse import parse_qs, urljoin, urlsplit

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The mount. Links in it are not resolved, because the kubelet replaces their target when a file changes."""
REMEMBERED = 60.0
"""The most seconds between a search that does not find an experiment and its creation."""
AUTHORIZATION = "Authorization"
WORKSPACE = "X-MLFLOW-WORKSPACE"
OF_BODY = ("Content-Length", "Content-Type")
"""Headers that a request without a body does not have."""


def origin(url: str) -> tuple[str, str, int] | None:
    """Return the scheme, host and port of a URL, or None if it has no host or has credentials."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (KeyError, ValueError):
        return None
    host = parts.hostname
    if not host or "@" in parts.netloc:
        return None
    return parts.scheme, host[:-1] if host.endswith(".") else host, port


def read_text(name: str) -> str:
    """Return the text of a file in the mount, without surrounding white space, or an empty text."""
    try:
        with open(os.path.join(FOLDER, name), "rb") as file:
            return file.read().decode().strip()
    except (OSError, UnicodeError):
        return ""


def read_object(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object, or an empty dict."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def read_claims(token: str) -> dict[str, Any]:
    """Return the claims of a JWT without verifying it, or an empty dict."""
    try:
        payload = token.split(".")[1]
        return read_object(base64.urlsafe_b64decode(payload + "=="))  # padding that is too long is ignored
    except (IndexError, ValueError):
        return {}


class Wiring:
    """The values that the webhook set, from `wiring.json`, and the token that the process started with."""

    def __init__(self) -> None:
        given = read_object(read_text("wiring.json"))
        self.server = origin(str(given.get("tracking_uri")))
        self.workspace = given.get("workspace")
        self.experiment = given.get("experiment")
        self.run_name = given.get("run_name")
        self.first_token = os.environ.get("MLFLOW_TRACKING_TOKEN", "").strip()
        self._tokens = {self.first_token}

    def token(self) -> str:
        """Return the token in the file, which the kubelet updates, or an empty text."""
        current = read_text("token")
        if current:
            self._tokens.add(current)
        return current

    def is_server(self, url: str) -> bool:
        """Return whether a URL is on the server that the webhook set."""
        return self.server is not None and origin(url) == self.server

    def is_token(self, authorization: str) -> bool:
        """Return whether a header contains the current token of the webhook, or an earlier one of this process."""
        scheme, _, credentials = authorization.partition(" ")
        sent = credentials.strip()
        return scheme.lower() == "bearer" and bool(sent) and (sent in self._tokens or sent == self.token())


WIRING = Wiring()
if os.environ.get("MLFLOW_EXPERIMENT_ID") and os.environ.get("MLFLOW_EXPERIMENT_NAME") == WIRING.experiment:
    # A parent process called set_experiment, which sets the id. MLflow refuses an id and a name that disagree.
    os.environ.pop("MLFLOW_EXPERIMENT_NAME", None)


class Authentication:
    """The object that is called with each request before it is sent (the `auth` protocol of requests)."""

    def __call__(self, request: Any) -> Any:
        """Return the request: with token and workspace if it is for the wired server, else without the token."""
        try:
            if not WIRING.is_server(request.url):
                _remove_token(request)
                _add_own_credentials(request)
                return request
            request.register_hook("response", _after)
            _add_token(request)
            _add_workspace(request)
            if _path(request.url).endswith("/mlflow/runs/create"):
                NAMES.give(request)
        except Exception:  # noqa: BLE001, S110 - the user's request continues as without the plugin
            pass
        return request


def _add_token(request: Any) -> None:
    token, authorization = WIRING.token(), request.headers.get(AUTHORIZATION)
    if token and (not authorization or WIRING.is_token(authorization)):
        request.headers[AUTHORIZATION] = "Bearer " + token
    elif not authorization:
        _add_own_credentials(request)


def _remove_token(request: Any) -> None:
    if AUTHORIZATION in request.headers and WIRING.is_token(request.headers[AUTHORIZATION]):
        del request.headers[AUTHORIZATION]


def _add_own_credentials(request: Any) -> None:
    """Add the credentials in the URL or in the user's netrc file, as requests does if MLflow passes no `auth`."""
    from requests.utils import get_netrc_auth

    request.prepare_auth(get_netrc_auth(request.url))


def _add_workspace(request: Any) -> None:
    """Add the workspace for clients before MLflow 3.10, which do not support workspaces."""
    supported = hasattr(sys.modules.get("mlflow"), "set_workspace")
    if WIRING.workspace and not supported and WORKSPACE not in request.headers:
        request.headers[WORKSPACE] = os.environ.get("MLFLOW_WORKSPACE") or WIRING.workspace


class RunNames:
    """Limits the default run name to the first run.

    MLFLOW_RUN_CONTEXT sets it for every run of a process. This class adds a number to it for later runs, and removes it
    from nested runs, so that the server generates a name. Names from the user's code are not changed.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)  # needs no lock: in a forked process, a lock could stay locked

    def give(self, request: Any) -> None:
        """Change the name in a request that creates a run."""
        run = json.loads(request.body)
        names = [tag for tag in run.get("tags") or [] if tag.get("key") == "mlflow.runName"]
        if run.get("run_name") or [tag.get("value") for tag in names] != [WIRING.run_name]:
            return
        if any(tag.get("key") == "mlflow.parentRunId" for tag in run["tags"]):
            run["tags"].remove(names[0])
        else:
            number = next(self._numbers)
            if number > 1:
                names[0]["value"] = f"{WIRING.run_name}-{number}"
        request.body = json.dumps(run).encode()


NAMES = RunNames()


class Absent(threading.local):
    """Names of experiments that this thread has just searched for and not found."""

    def __init__(self) -> None:
        self.names = {}  # type: dict[str, float]


ABSENT = Absent()


def _after(response: Any, **sending: Any) -> Any:
    """Handle a response before MLflow does: a redirect elsewhere, or an experiment that another process created."""
    try:
        path = _path(response.request.url)
        if response.is_redirect:
            target = urljoin(response.request.url, response.headers["Location"])
            if not WIRING.is_server(target):
                _remove_token(response.request)
        elif response.status_code == 404 and path.endswith("/mlflow/experiments/get-by-name"):
            query = parse_qs(urlsplit(response.request.url).query)
            ABSENT.names[query["experiment_name"][0]] = time.monotonic()
        elif response.status_code == 400 and path.endswith("/mlflow/experiments/create"):
            _answer_with_existing(response, sending)
    except Exception:  # noqa: BLE001, S110 - MLflow gets the server's answer
        pass
    return response


def _answer_with_existing(response: Any, sending: dict[str, Any]) -> None:
    """If another process created the experiment first, answer with that experiment.

    MLflow searches for an experiment, creates it if it is not found, and does not search again (observed with mlflow
    3.17.2). A creation without a search before it fails as without the plugin.
    """
    name = json.loads(response.request.body)["name"]
    if name not in ABSENT.names or time.monotonic() - ABSENT.names.pop(name) > REMEMBERED:
        return
    if response.json().get("error_code") != "RESOURCE_ALREADY_EXISTS":
        return
    lookup = response.request.copy()
    lookup.method, lookup.body = "GET", None
    lookup.prepare_url(urljoin(response.request.url, "get-by-name"), {"experiment_name": name})
    for header in OF_BODY:
        lookup.headers.pop(header, None)
    found = response.connection.send(lookup, **sending)
    if found.status_code == 200 and found.json()["experiment"]["lifecycle_stage"] == "active":
        response.status_code, response.reason = 200, "OK"
        response._content = json.dumps({"experiment_id": found.json()["experiment"]["experiment_id"]}).encode()


def _path(url: str) -> str:
    return urlsplit(url).path


class AuthProvider:
    """MLflow's entry point `mlflow.request_auth_provider`, chosen by MLFLOW_TRACKING_AUTH."""

    def get_name(self) -> str:
        """Return the value of MLFLOW_TRACKING_AUTH that selects the plugin."""
        return "mlflow-webhook"

    def get_auth(self) -> Callable[[Any], Any]:
        """Return the object that is called with each request."""
        return Authentication()


class UserProvider:
    """MLflow's entry point `mlflow.run_context_provider`: sets a run's user to that of the token."""

    def in_context(self) -> bool:
        """Return whether the user is known."""
        return bool(self.tags())

    def tags(self) -> dict[str, str]:
        """Return the user tag with the token's e-mail address, or else its subject."""
        claims = read_claims(WIRING.token() or WIRING.first_token)
        user = claims.get("email") or claims.get("sub")
        return {"mlflow.user": user} if isinstance(user, str) else {}

"""Sends requests to a tracking server, through its proxy, and finds the cause of a failure.

The order of the probes and what each answer means were observed with oauth2-proxy 7.15.3 and mlflow 3.17.2. A header
`GAP-Auth` distinguishes MLflow's answers from the proxy's. For an unknown answer, its beginning is shown, without a
guess.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from datetime import datetime
from json import dumps

import httpx

from webhook.doctor.findings import Finding, Status, failed, passed, skipped, warned
from webhook.doctor.probe import LIST, SEARCH, Answer, Prober, Target
from webhook.doctor.proxy import TOKEN, check_token, find_proxy
from webhook.doctor.refusals import find_refusal, is_bare, unexpected
from webhook.doctor.server_info import ServerInfo, read_info
from webhook.doctor.writing import WRITTEN, check_writing
from webhook.network import fault_of, split_url

REACHABLE, MLFLOW = "server-reachable", "mlflow-answers"
WORKSPACES, ACCESS = "server-workspaces", "workspace-access"


def check_server(client: httpx.Client, target: Target, *, now: datetime, write: bool = False) -> Iterator[Finding]:
    """Check step by step. Steps that depend on a failed one are skipped. `client` has the timeouts."""
    prober = Prober(client, target)
    try:
        proxy = find_proxy(prober, target)
    except httpx.RequestError as error:
        fault = fault_of(error)
        yield failed(
            REACHABLE,
            fault.value,
            fault.sentence(target.uri),
            "Compare the tracking URI with the server's Service.",
        )
        for check in (TOKEN, MLFLOW, WORKSPACES, ACCESS):
            yield skipped(check, "the server cannot be reached")
        return
    yield passed(REACHABLE, f"{target.uri} answers, {'as an oauth2-proxy' if proxy else 'without an oauth2-proxy'}")
    known: list[ServerInfo] = []
    steps: dict[str, Callable[[], Finding]] = {
        TOKEN: lambda: check_token(prober, target, now=now) if proxy else skipped(TOKEN, "there is no oauth2-proxy"),
        MLFLOW: lambda: _mlflow(prober, target, known),
        WORKSPACES: lambda: _workspaces(known[0], target),
        ACCESS: lambda: _access(prober, target),
        WRITTEN: lambda: check_writing(prober, target) if write else skipped(WRITTEN, "only with --write"),
    }
    blocked = ""
    if target.unread == "wiring" or (target.unread == "token" and proxy):
        blocked = f"you may not read what a pod has there (its {target.unread})"
    for check, step in steps.items():
        if blocked:
            yield skipped(check, blocked)
            continue
        try:
            finding = step()
        except httpx.RequestError as error:
            fault = fault_of(error)
            finding = failed(check, fault.value, fault.sentence(target.uri), "Try again, then read the server's log.")
        if finding.status is Status.FAILED:
            blocked = f"{check} failed"
        yield finding


def _mlflow(prober: Prober, target: Target, known: list[ServerInfo]) -> Finding:
    """Check that MLflow answers, and add its information about itself to `known`."""
    answer = read_info(prober)
    if isinstance(answer, ServerInfo):
        known.append(answer)
        return passed(MLFLOW, f"MLflow {answer.version} answers" if answer.version else "MLflow answers")
    match answer.status:
        case 502 | 503 | 504 if answer.identity:
            return failed(
                MLFLOW,
                "mlflow_down",
                f"The proxy lets {answer.identity} in, but MLflow behind it does not answer ({answer.status}). "
                "The token is not the cause.",
                "Check that the tracking server is running: kubectl get pods --namespace kubeflow",
            )
        case 502 | 503 | 504:
            return failed(
                MLFLOW,
                "gateway_error",
                f"A gateway or load balancer answers, and nothing behind it does: {answer.summary()}",
                "Check that the tracking server and its proxy are running: kubectl get pods --namespace kubeflow",
            )
        case 403 if "Invalid Host header" in answer.text:
            return failed(
                MLFLOW,
                "host_not_allowed",
                "MLflow refuses this host name, which is not among its allowed hosts (403).",
                "Add the name to the server's --allowed-hosts, or set --pass-host-header=false on the proxy.",
            )
        case status if 300 <= status < 400:
            place = split_url(answer.location)._replace(query="", fragment="").geturl()
            return failed(
                MLFLOW,
                "redirected",
                f"The server redirects MLflow's client to {place or 'an address that it does not name'} ({status}).",
                "Use the address that answers without a redirect. A sign-in other than oauth2-proxy's also redirects.",
            )
        case 200 if answer.kind == "text/html":
            return failed(
                MLFLOW,
                "web_page",
                f"A web page answers in place of MLflow's API (200): {answer.summary()}",
                f"Open {target.uri} in a browser. It may be a sign-in other than oauth2-proxy's, or another server.",
            )
        case 401 if not find_refusal(answer, target):
            said = "401" if is_bare(answer) else answer.summary()
            sent = "does not accept this one" if target.token else "none was sent"
            return failed(
                MLFLOW,
                "unauthorized",
                f"The server requires a token, and {sent} ({said}).",
                target.refresh(force=True),
            )
        case 404:
            return failed(
                MLFLOW,
                "wrong_path",
                "No MLflow found under this path (404).",
                "Check the path of the tracking URI.",
            )
    return unexpected(MLFLOW, answer, target)


def _workspaces(info: ServerInfo, target: Target) -> Finding:
    if target.workspace and not info.workspaces:
        first = "Upgrade the server to MLflow 3.10 or later, and start it" if info.version else "Start the server"
        return failed(
            WORKSPACES,
            "workspaces_disabled",
            f"{f'MLflow {info.version} has no' if info.version else 'This MLflow runs without'} workspaces; a client "
            "with MLFLOW_WORKSPACE fails.",
            f"{first} with --enable-workspaces, or set `workspaces: false` in the webhook's configuration.",
        )
    if not target.workspace and info.workspaces:
        return warned(
            WORKSPACES,
            "workspace_unset",
            'No workspace is set: runs go to the workspace "default".',
            f"kubectl label namespace {target.namespace} mlflow-enabled=true",
        )
    where = f"runs go to the workspace {target.workspace}" if target.workspace else "the server has no workspaces"
    return passed(WORKSPACES, where)


def _access(prober: Prober, target: Target) -> Finding:
    answer = prober.send("POST", SEARCH, workspace=True, json={"max_results": 1})
    if answer.status == 200 and answer.kind == "application/json":
        return passed(ACCESS, f"experiments in {target.workspace or 'the default workspace'} can be read")
    match answer.status, answer.error_code:
        case 404, "RESOURCE_DOES_NOT_EXIST":
            return failed(
                ACCESS,
                "workspace_unknown",
                f"Workspace {target.workspace} not found, or you may not see it{_others(prober)}.",
                create_workspace(target),
            )
        case 400, "INVALID_PARAMETER_VALUE":
            return failed(
                ACCESS,
                "workspace_name_invalid",
                f"{target.workspace} is not a valid name for an MLflow workspace.",
                "Use lower-case letters, digits and hyphens only.",
            )
        case 403, "PERMISSION_DENIED":
            return failed(
                ACCESS,
                "no_access_to_workspace",
                f"MLflow accepts the token, but you have no access to the workspace {target.workspace}.",
                f"Ask for access to the workspace {target.workspace}. The rules of the MLflow server say how it is "
                "granted.",
            )
        case 401, "UNAUTHENTICATED":
            return failed(
                ACCESS,
                "mlflow_does_not_know_you",
                f"MLflow's own authentication refused the token: {_message(answer)}",
                "With MLflow's Kubernetes plugin, check that its API server trusts this token's issuer.",
            )
        case _, "FEATURE_DISABLED":
            return failed(
                ACCESS,
                "workspace_apis_disabled",
                "Workspaces are not enabled on this MLflow server.",
                "Start the server with --enable-workspaces, or set `workspaces: false` in the webhook's configuration.",
            )
        case _:
            return unexpected(ACCESS, answer, target)


def create_workspace(target: Target) -> str:
    """Return how to create a workspace: by a namespace's label, or by MLflow's API (mlflow 3.17.2 has no command)."""
    code = f"import mlflow; mlflow.create_workspace({dumps(target.workspace)})"
    command = f"MLFLOW_TRACKING_URI={shlex.quote(target.uri)} python -c {shlex.quote(code)}"
    return (
        f"If the server has MLflow's Kubernetes plugin, the workspace is the namespace with the label that the plugin "
        f"selects: kubectl label namespace {target.workspace} mlflow-enabled=true. Otherwise create it, with the token "
        f"of an allowed user in MLFLOW_TRACKING_TOKEN: {command}"
    )


def _others(prober: Prober) -> str:
    """Return a clause with the workspaces that this token may see (MLflow's Kubernetes plugin leaves out others)."""
    answer = prober.send("GET", LIST)
    listed = answer.json.get("workspaces") if answer.status == 200 and isinstance(answer.json, dict) else None
    if not isinstance(listed, list):
        return ""
    names = sorted(str(found["name"]) for found in listed if isinstance(found, dict) and "name" in found)
    if not names:
        return "; you see no workspaces"
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"; you see {', '.join(names[:10])}{more}"


def _message(answer: Answer) -> str:
    error = answer.json.get("error") if isinstance(answer.json, dict) else None
    return str(error.get("message", ""))[:200] if isinstance(error, dict) else ""

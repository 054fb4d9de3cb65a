"""Asks a tracking server, through its proxy, and tells one cause of trouble from another.

The order of the probes and what each answer means were observed with oauth2-proxy 7.15.3 and mlflow 3.17.2. A header
`GAP-Auth` tells MLflow's own answers from the proxy's. An answer that is not known is shown as it is, not guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from json import loads
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from webhook.doctor.findings import Finding, failed, passed, skipped, warned
from webhook.network import fault_of
from webhook.token.claims import NotATokenError, TokenProblem, form_problem, problem_of, read_claims

REACHABLE, TOKEN, MLFLOW = "server-reachable", "proxy-accepts-token", "mlflow-answers"
WORKSPACES, ACCESS, WRITTEN = "server-workspaces", "workspace-access", "run-written"
INFO, SEARCH = "/api/3.0/mlflow/server-info", "/api/2.0/mlflow/experiments/search"
EXPERIMENT = "mlflow-webhook-check"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a wired pod has: the server, the workspace (None: none), and the token (None: none)."""

    uri: str
    workspace: str | None
    token: str | None
    namespace: str = "NAMESPACE"

    @property
    def refresh(self) -> str:
        """The command that gives a new token."""
        return f"mlflow-webhook token refresh --namespace {self.namespace}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer, cut down to what tells it from others."""

    status: int
    kind: str
    text: str
    location: str
    identity: str | None
    json: Any

    @property
    def error_code(self) -> str:
        """MLflow's error code, in its own shape or in that of its plugin for Kubernetes."""
        if not isinstance(self.json, dict):
            return ""
        error = self.json.get("error")
        return str(self.json.get("error_code") or (error.get("code") if isinstance(error, dict) else "") or "")

    def shown(self) -> str:
        """The answer as it is, for a person: status, type, and how it begins."""
        return f"{self.status} {self.kind or 'without a type'}: {' '.join(self.text[:160].split())!r}"


def check_server(client: httpx.Client, target: Target, *, now: datetime, write: bool = False) -> Iterator[Finding]:
    """Ask step by step; what depends on a step that failed is skipped. `client` has the time-outs."""
    asker = _Asker(client, target)
    try:
        proxy = asker.behind_a_proxy()
    except httpx.RequestError as error:
        fault = fault_of(error)
        yield failed(REACHABLE, fault.value, fault.sentence(target.uri), "Compare the tracking URI with the Service.")
        for check in (TOKEN, MLFLOW, WORKSPACES, ACCESS):
            yield skipped(check, "the server cannot be reached")
        return
    yield passed(REACHABLE, f"{target.uri} answers, {'as an oauth2-proxy' if proxy else 'with no proxy before it'}")
    steps: tuple[Callable[[], Finding], ...] = (
        lambda: _token(asker, target, now=now) if proxy else skipped(TOKEN, "there is no proxy"),
        lambda: _mlflow(asker, target),
        lambda: _workspaces(asker, target),
        lambda: _access(asker, target),
        lambda: _write(asker) if write else skipped(WRITTEN, "only with --write"),
    )
    for check, step in zip((TOKEN, MLFLOW, WORKSPACES, ACCESS, WRITTEN), steps, strict=True):
        if asker.blocked and check is not TOKEN:
            yield skipped(check, f"{asker.blocked} failed")
            continue
        try:
            finding = step()
        except httpx.RequestError as error:
            fault = fault_of(error)
            finding = failed(
                check, fault.value, fault.sentence(target.uri), "Try again; then look at the server's log."
            )
        if finding.status == "failed":
            asker.blocked = check
        yield finding


class _Asker:
    """Sends requests to one server as MLflow's client would, and never follows a redirect."""

    def __init__(self, client: httpx.Client, target: Target) -> None:
        self._client, self._target = client, target
        self.blocked = ""
        self.info: Mapping[str, Any] = {}

    def behind_a_proxy(self) -> bool:
        """Whether an oauth2-proxy stands before the server: it answers /ping itself, MLflow does not know that."""
        ping = self.ask("GET", "/ping", identified=False)
        return (ping.status == 200 and ping.text.strip() == "OK") or self.ask(
            "GET", "/oauth2/auth", identified=False
        ).status in {202, 401, 403}

    def ask(
        self, method: str, path: str, *, identified: bool = True, workspace: bool = False, **content: Any
    ) -> Answer:
        """Ask once. Raises httpx.TransportError."""
        headers = {"Accept": "application/json"}
        token = self._target.token
        if identified and token and token.isascii() and form_problem(token) is None:
            headers["Authorization"] = f"Bearer {token}"
        if workspace and self._target.workspace:
            headers["X-MLFLOW-WORKSPACE"] = self._target.workspace
        url = self._target.uri.rstrip("/") + path
        response = self._client.request(method, url, headers=headers, follow_redirects=False, **content)
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        text = self._hide(response.text)
        try:
            json = loads(text) if kind == "application/json" else None
        except (ValueError, RecursionError):
            json = None
        return Answer(
            status=response.status_code,
            kind=kind,
            text=text,
            location=self._hide(response.headers.get("location", "")),
            identity=response.headers.get("gap-auth"),
            json=json,
        )

    def _hide(self, text: str) -> str:
        """Take the token out of what a server said: it may repeat what it was sent."""
        token = (self._target.token or "").strip()
        return text.replace(token, "[hidden]") if token else text


def _token(asker: _Asker, target: Target, *, now: datetime) -> Finding:
    if target.token is None:
        return failed(TOKEN, "token_missing", "There is no token to send.", target.refresh)
    answer = asker.ask("GET", "/oauth2/auth")
    if answer.status == 202:
        return _identity(answer, target.token)
    if answer.status not in {401, 403}:
        return skipped(TOKEN, f"/oauth2/auth is not routed here ({answer.status})")
    # The proxy says the same for every cause; only the token itself and the proxy's own sign-in tell them apart.
    problem = problem_of(target.token, now=now)
    if problem:
        return failed(TOKEN, f"token_{problem}", problem.sentence, _remedy(problem, target))
    claims = read_claims(target.token)
    issuer, client_id = _trusted(asker.ask("GET", "/oauth2/start", identified=False))
    if client_id and client_id not in claims.audience:
        return failed(
            TOKEN,
            "token_other_audience",
            f"The token is for {', '.join(claims.audience) or 'nobody'}; the proxy takes those for {client_id}.",
            f"Mint it with the client id {client_id}, or name its audience in the proxy's --oidc-extra-audience.",
        )
    if issuer and claims.issuer and not issuer.startswith(claims.issuer.rstrip("/")):
        return failed(
            TOKEN,
            "token_other_issuer",
            f"The token is from {claims.issuer}; the proxy trusts {issuer}.",
            "Mint it there: mlflow-webhook token refresh --issuer …",
        )
    again = asker.ask("GET", INFO)
    if again.status == 403 and "<title>403 Forbidden</title>" in again.text:
        return failed(
            TOKEN,
            "identity_not_allowed",
            f"The token is good, but the proxy does not let {claims.owner} in (groups: {', '.join(claims.groups)}).",
            "See the proxy's --email-domain and --allowed-group; groups are in the token only with the scope groups.",
        )
    return failed(
        TOKEN,
        "bearer_not_accepted",
        "The proxy refuses a token that is right in every claim.",
        "Is --skip-jwt-bearer-tokens on? Has Dex lost the key that signed it? The proxy's log says which.",
    )


def _identity(answer: Answer, token: str) -> Finding:
    try:
        owner = read_claims(token).owner
    except NotATokenError:
        owner = ""
    if answer.identity and owner and answer.identity != owner:
        return warned(
            TOKEN,
            "another_identity",
            f"The proxy takes you for {answer.identity}; the token says {owner}.",
            "Runs belong to who the proxy says. Is the scope email in the token?",
        )
    return passed(TOKEN, f"the proxy takes you for {answer.identity or owner or 'somebody it does not name'}")


def _trusted(start: Answer) -> tuple[str, str]:
    """Give the issuer's sign-in address and the client id, which the proxy's redirect to the sign-in tells."""
    target = urlsplit(start.location)
    if start.status != 302 or not target.netloc:
        return "", ""
    return f"{target.scheme}://{target.netloc}{target.path}", parse_qs(target.query).get("client_id", [""])[0]


def _remedy(problem: TokenProblem, target: Target) -> str:
    if problem is TokenProblem.EMAIL_NOT_VERIFIED:
        return "Have the address verified in Dex."
    return target.refresh


def _mlflow(asker: _Asker, target: Target) -> Finding:
    answer = asker.ask("GET", INFO)
    if answer.status == 200 and isinstance(answer.json, dict):
        asker.info = answer.json
        return passed(MLFLOW, "MLflow answers")
    if answer.status in {502, 503, 504}:
        whom = f" (it takes you for {answer.identity})" if answer.identity else ""
        return failed(
            MLFLOW,
            "mlflow_down",
            f"The proxy answers{whom}, but MLflow behind it does not ({answer.status}). Tokens have no part in this.",
            "kubectl get pods --namespace kubeflow: is the tracking server running?",
        )
    if answer.status == 403 and "Invalid Host header" in answer.text:
        return failed(
            MLFLOW,
            "host_not_allowed",
            "MLflow does not know this host name, and refuses it against DNS rebinding.",
            "Add the name to the server's --allowed-hosts, or set --pass-host-header=false on the proxy.",
        )
    if 300 <= answer.status < 400:
        place = urlsplit(answer.location)._replace(query="", fragment="").geturl()
        return failed(
            MLFLOW,
            "sign_in_redirect",
            f"A proxy sends you to sign in at {place or 'an unnamed place'}: it does not take this token.",
            "Is the token set, fresh and for this proxy? Is --skip-jwt-bearer-tokens on?",
        )
    if answer.status == 401:
        return failed(
            MLFLOW,
            "unauthorized",
            "The server wants a token and got none that it takes (401).",
            target.refresh,
        )
    if answer.status == 403 and "Sign In" in answer.text:
        return failed(
            MLFLOW, "sign_in_page", "A proxy shows its sign-in page: it does not take this token.", target.refresh
        )
    if answer.status == 404:
        return failed(
            MLFLOW,
            "wrong_path",
            "There is no MLflow under this path (404).",
            "Does the tracking URI have a path too many?",
        )
    return _unexpected(MLFLOW, answer)


def _workspaces(asker: _Asker, target: Target) -> Finding:
    enabled = asker.info.get("workspaces_enabled")
    if target.workspace and enabled is False:
        return failed(
            WORKSPACES,
            "workspaces_disabled",
            "This MLflow runs without workspaces, and MLFLOW_WORKSPACE is fatal for its clients.",
            "Start the server with --enable-workspaces, or set `workspaces: false` in the webhook's configuration.",
        )
    if not target.workspace and enabled:
        return warned(
            WORKSPACES,
            "workspace_unset",
            'No workspace is set: runs go to the workspace "default".',
            f"kubectl label namespace {target.namespace} mlflow-enabled=true",
        )
    where = f"runs go to the workspace {target.workspace}" if target.workspace else "the server has none"
    return passed(WORKSPACES, where)


def _access(asker: _Asker, target: Target) -> Finding:
    answer = asker.ask("POST", SEARCH, workspace=True, json={"max_results": 1})
    if answer.status == 200 and answer.kind == "application/json":
        return passed(ACCESS, f"experiments in {target.workspace or 'the default workspace'} can be read")
    match answer.status, answer.error_code:
        case 404, "RESOURCE_DOES_NOT_EXIST":
            return failed(
                ACCESS,
                "workspace_unknown",
                f"There is no workspace {target.workspace}, or you may not see it.",
                "Is the namespace labelled mlflow-enabled=true? Where workspaces are not namespaces: create it.",
            )
        case 400, "INVALID_PARAMETER_VALUE":
            return failed(
                ACCESS,
                "workspace_name_invalid",
                f"MLflow does not take {target.workspace} for a workspace's name.",
                "Lower-case letters, digits and hyphens only.",
            )
        case 403, "PERMISSION_DENIED":
            return failed(
                ACCESS,
                "no_access_to_workspace",
                f"MLflow knows you, but you have no access to the workspace {target.workspace}.",
                f"Have a role in the namespace {target.workspace} granted to you, by MLflow's rules there.",
            )
        case 401, "UNAUTHENTICATED":
            return failed(
                ACCESS,
                "mlflow_does_not_know_you",
                f"MLflow's own authentication refused: {_message(answer)}",
                "With the Kubernetes plugin: does that API server trust this token's issuer?",
            )
        case _, "FEATURE_DISABLED":
            return failed(
                ACCESS,
                "workspace_apis_disabled",
                "MLflow refuses workspaces: they are not enabled on this server.",
                "Start the server with --enable-workspaces, or set `workspaces: false` in the webhook's configuration.",
            )
        case _:
            return _unexpected(ACCESS, answer)


def _write(asker: _Asker) -> Finding:
    """Create a run and a small artifact, and delete them again."""
    found = asker.ask(
        "GET", "/api/2.0/mlflow/experiments/get-by-name", workspace=True, params={"experiment_name": EXPERIMENT}
    )
    if found.status == 404:
        found = asker.ask("POST", "/api/2.0/mlflow/experiments/create", workspace=True, json={"name": EXPERIMENT})
    if found.status != 200 or not isinstance(found.json, dict):
        return _unexpected(WRITTEN, found)
    experiment = found.json.get("experiment_id") or (found.json.get("experiment") or {}).get("experiment_id")
    made = asker.ask(
        "POST", "/api/2.0/mlflow/runs/create", workspace=True, json={"experiment_id": experiment, "run_name": "check"}
    )
    run = made.json.get("run") if made.status == 200 and isinstance(made.json, dict) else None
    info = run.get("info") if isinstance(run, dict) else None
    if not isinstance(info, dict) or "run_id" not in info:
        return _unexpected(WRITTEN, made)
    try:
        trouble = _artifact(asker, str(info.get("artifact_uri", "")))
    finally:
        gone = asker.ask("POST", "/api/2.0/mlflow/runs/delete", workspace=True, json={"run_id": info["run_id"]})
    if gone.status != 200:
        return _unexpected(WRITTEN, gone)
    if trouble:
        return trouble
    return passed(WRITTEN, f"a run and an artifact were written and deleted, in the experiment {EXPERIMENT}")


def _artifact(asker: _Asker, uri: str) -> Finding | None:
    if not uri.startswith("mlflow-artifacts:"):
        # the client writes to the storage itself, with credentials of its own
        return warned(
            WRITTEN,
            "artifact_storage_not_tried",
            f"A run was written and deleted; artifacts go straight to {urlsplit(uri).scheme or 'a path'}:, not tried.",
            "Log an artifact from a pod of the namespace: the credentials for that storage are there, not here.",
        )
    path = "/api/2.0/mlflow-artifacts/artifacts/" + urlsplit(uri).path.lstrip("/") + "/check.txt"
    written = asker.ask("PUT", path, workspace=True, content=b"written by mlflow-webhook check\n")
    if written.status not in {200, 204}:
        return failed(
            WRITTEN,
            "artifact_not_written",
            f"A run can be written, an artifact cannot: {written.shown()}",
            "See the server's --artifacts-destination and what it may write there.",
        )
    gone = asker.ask("DELETE", path, workspace=True)
    if gone.status not in {200, 204}:
        return warned(
            WRITTEN,
            "artifact_not_deleted",
            f"A run and an artifact can be written; deleting the artifact was answered with {gone.shown()}",
            f"Delete check.txt in {uri} by hand.",
        )
    return None


def _message(answer: Answer) -> str:
    error = answer.json.get("error") if isinstance(answer.json, dict) else None
    return str(error.get("message", ""))[:200] if isinstance(error, dict) else ""


def _unexpected(check: str, answer: Answer) -> Finding:
    return failed(
        check, "unexpected_answer", f"An answer that is not known here: {answer.shown()}", "See the server's log."
    )

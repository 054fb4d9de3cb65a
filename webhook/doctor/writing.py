"""Checks that a run and a small artifact can be written to a tracking server."""

from __future__ import annotations

from webhook.doctor.findings import Finding, failed, passed, warned
from webhook.doctor.probe import Prober, Target
from webhook.doctor.refusals import unexpected
from webhook.network import split_url

WRITTEN = "run-written"
EXPERIMENT = "mlflow-webhook-check"


def check_writing(prober: Prober, target: Target) -> Finding:
    """Check that a run and a small artifact can be written and deleted."""
    found = prober.send(
        "GET", "/api/2.0/mlflow/experiments/get-by-name", workspace=True, params={"experiment_name": EXPERIMENT}
    )
    if found.status == 404:
        found = prober.send("POST", "/api/2.0/mlflow/experiments/create", workspace=True, json={"name": EXPERIMENT})
    if found.status != 200 or not isinstance(found.json, dict):
        return unexpected(WRITTEN, found, target)
    held = found.json.get("experiment")
    experiment = found.json.get("experiment_id") or (held.get("experiment_id") if isinstance(held, dict) else None)
    made = prober.send(
        "POST", "/api/2.0/mlflow/runs/create", workspace=True, json={"experiment_id": experiment, "run_name": "check"}
    )
    run = made.json.get("run") if made.status == 200 and isinstance(made.json, dict) else None
    info = run.get("info") if isinstance(run, dict) else None
    if not isinstance(info, dict) or "run_id" not in info:
        return unexpected(WRITTEN, made, target)
    try:
        trouble = _artifact(prober, str(info.get("artifact_uri", "")))
    finally:
        gone = prober.send("POST", "/api/2.0/mlflow/runs/delete", workspace=True, json={"run_id": info["run_id"]})
    if gone.status != 200:
        return unexpected(WRITTEN, gone, target)
    if trouble:
        return trouble
    return passed(WRITTEN, f"a run and an artifact were written and deleted, in the experiment {EXPERIMENT}")


def _artifact(prober: Prober, uri: str) -> Finding | None:
    if not uri.startswith("mlflow-artifacts:"):
        # the client writes directly to the storage, with the pod's credentials
        return warned(
            WRITTEN,
            "artifact_storage_not_tried",
            "A run was written and deleted. Clients write artifacts directly to "
            f"{split_url(uri).scheme or 'a path'}, which was not tried.",
            "Log an artifact from a pod of the namespace, which has the credentials for that storage.",
        )
    path = "/api/2.0/mlflow-artifacts/artifacts/" + split_url(uri).path.lstrip("/") + "/check.txt"
    written = prober.send("PUT", path, workspace=True, content=b"written by mlflow-webhook check\n")
    if written.status not in {200, 204}:
        return failed(
            WRITTEN,
            "artifact_not_written",
            f"A run can be written, but an artifact cannot: {written.summary()}",
            "Check the server's --artifacts-destination, and its rights to write there.",
        )
    gone = prober.send("DELETE", path, workspace=True)
    if gone.status not in {200, 204}:
        return warned(
            WRITTEN,
            "artifact_not_deleted",
            f"A run and an artifact can be written, but the artifact cannot be deleted: {gone.summary()}",
            f"Delete check.txt in {uri} yourself.",
        )
    return None

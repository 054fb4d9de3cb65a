"""`explain`: the decision about a pod, in words."""

from __future__ import annotations

import copy
import json
from pathlib import Path

from tests.support.pods import FOLDER, KFP, pod
from tests.webhook.cli.calling import LABELLED, call, on


def test_explain_says_what_each_variable_is_and_where_it_comes_from(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("trackingUri: http://mlflow.example:5000\nenv: {A: b}\n")
    arguments = ["--config", str(config), "--namespace-annotation", "mlflow.kubeflow.org/experiment=ours"]
    result = call("explain", "-f", str(FOLDER / KFP), *LABELLED, *arguments, "-o", "json")
    assert result.exit_code == 0
    (found,) = json.loads(result.stdout)
    assert (found["decision"], found["reason"]) == ("wired", "wired_by_namespace_label")
    assert found["workload"] == "kfp_component"
    (container,) = found["containers"]
    sources = {variable["name"]: variable["source"] for variable in container["variables"]}
    assert sources == {
        "MLFLOW_TRACKING_URI": "platform",
        "MLFLOW_WORKSPACE": "namespace",
        "MLFLOW_TRACKING_TOKEN": "built-in default",
        "MLFLOW_EXPERIMENT_NAME": "namespace annotation",
        "MLFLOW_WEBHOOK_POD_NAME": "workload",
        "MLFLOW_RUN_CONTEXT": "workload",
        "A": "platform",
    }


def test_explain_as_text_names_the_reason_and_the_exit_code_says_not_wired() -> None:
    result = call("explain", "-f", str(FOLDER / KFP))
    assert result.exit_code == 3
    assert "not_enabled" in result.stdout
    assert "\x1b" not in result.stdout


def test_explain_does_not_repeat_credentials() -> None:
    document = copy.deepcopy(pod(KFP))
    main = next(container for container in document["spec"]["containers"] if container["name"] == "main")
    main["env"].append({"name": "MLFLOW_TRACKING_PASSWORD", "value": "planted"})
    for output in ("text", "json"):
        result = on("explain", document, *LABELLED, "-o", output)
        assert "foreign_credentials" in result.stdout
        assert "planted" not in result.output


def test_explain_does_not_repeat_a_password_in_an_address() -> None:
    document = copy.deepcopy(pod(KFP))
    main = next(container for container in document["spec"]["containers"] if container["name"] == "main")
    main["env"].append({"name": "MLFLOW_TRACKING_URI", "value": "http://bob:planted@other:5000/x"})
    for output in ("text", "json"):
        result = on("explain", document, *LABELLED, "-o", output)
        assert "http://(not shown)@other:5000/x" in result.stdout
        assert "planted" not in result.output

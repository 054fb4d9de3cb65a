"""The demo's run with the client plugin: the token changes during the run, and another server gets no token."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from demo import story as tell
from demo.processes import DemoError, run_container
from demo.recorder import Recorder
from tests.support.container import lay_out
from webhook.core.client_plugin import TOKEN_FILE

FIRST, SECOND = "the-first-token", "the-second-token"
EXPERIMENT = "long-run"


class Calls(NamedTuple):
    """The number of the run's calls with each token, and of calls to the other server without a token."""

    first: int
    second: int
    elsewhere: int


def story(*, example: Path, python: Path, server: str) -> tell.Story:
    """Return the story of a TrainJob node whose annotations ask for the plugin and name the server."""
    found = tell.trainjob_story(example=example, python=python)
    group = "mlflow.kubeflow.org"
    annotations = found.review["request"]["object"]["metadata"].setdefault("annotations", {})
    annotations |= {
        f"{group}/client-plugin": "true",
        f"{group}/experiment": EXPERIMENT,
        f"{group}/tracking-uri": server,
        f"{group}/token-secret": "mlflow-token",
    }
    return found._replace(title="TrainJob node with the client plugin", experiment=EXPERIMENT)


def run(story: tell.Story, pod: dict[str, Any], *, proxy: Recorder, python: Path, folder: Path) -> Calls:
    """Run the container's code, and change the token's file after its first metric, as the kubelet would.

    Raises DemoError if a call failed, if a token was not used, or if the other server got a token.
    """
    pod = tell.named(pod)
    secrets = {"mlflow-token": {"token": FIRST}}
    mount = folder / "mount"
    environment = lay_out(pod, story.container, secrets=secrets, mount=mount)
    with Recorder() as other:
        ended = threading.Event()
        kubelet = threading.Thread(target=_change_token, args=(proxy, mount / TOKEN_FILE, ended))
        kubelet.start()
        try:
            run_container(story.command, {**environment, "OTHER_SERVER": other.url}, python=python, folder=folder)
        finally:
            ended.set()
            kubelet.join()
        return _count(proxy, other)


def _change_token(proxy: Recorder, file: Path, ended: threading.Event) -> None:
    while not ended.is_set():
        if any(request.path.endswith("/runs/log-metric") for request in proxy.seen):
            file.write_text(SECOND)
            return
        time.sleep(0.05)


def _count(proxy: Recorder, other: Recorder) -> Calls:
    failed = [request for request in proxy.seen if request.status >= 400 and "get-by-name" not in request.path]
    if failed:
        raise DemoError(f"a call of the run with the client plugin failed: {failed[0].path} ({failed[0].status})")
    sent = proxy.authorizations()
    found = Calls(sent.count(f"Bearer {FIRST}"), sent.count(f"Bearer {SECOND}"), other.authorizations().count(""))
    if not all(found) or found.first + found.second != len(sent) or found.elsewhere != len(other.seen):
        raise DemoError(f"the client plugin sent other tokens than it should: {found}")
    return found

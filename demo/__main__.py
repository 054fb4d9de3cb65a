"""`make demo`: runs the code of an unmodified pipeline and of TrainJobs with a real MLflow server, with no cluster."""

from __future__ import annotations

import shlex
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from demo import long_run
from demo import story as tell
from demo.processes import DemoError, mlflow_server, stop_on_sigterm, webhook_server
from demo.recorder import Recorder
from webhook.cli.inject import echo_diff
from webhook.cli.runs import runs

_ROOT = Path(__file__).parents[1]


@click.command()
@click.option("--keep", is_flag=True, help="Keep MLflow and its UI running at the end, until Ctrl-C.")
@click.option(
    "--training-python",
    "python",
    type=click.Path(dir_okay=False, path_type=Path),
    default=_ROOT / ".venv-training" / "bin" / "python",
    help="The Python in an environment with mlflow and kfp.  [default: that of `make install`]",
)
def demo(keep: bool, python: Path) -> None:
    """Run the code of an unmodified pipeline with a real MLflow server, without a cluster.

    Real: the MLflow server with workspaces, the webhook over TLS, the reviews (captured from KFP 2.17.0 and Trainer
    2.3.0), KFP's executor, the training code. Simulated: the API server, the kubelet, the token (there is no proxy).
    """
    examples = _ROOT / "examples"
    if not python.exists():
        raise click.ClickException(f"{python} is missing: run `make install`, or set --training-python")
    if not examples.exists():
        raise click.ClickException("the demo runs from a checkout: the folder examples is missing")
    try:
        with stop_on_sigterm(), tempfile.TemporaryDirectory(prefix="mlflow-webhook-demo-") as name:
            _tell(examples, python.absolute(), Path(name), keep=keep)
    except DemoError as error:
        raise click.ClickException(str(error)) from error


def _tell(examples: Path, python: Path, folder: Path, *, keep: bool) -> None:
    _say("starting a real MLflow server with workspaces")
    with mlflow_server(python, folder) as mlflow:
        _run_stories(examples, python, folder, mlflow=mlflow)
        if keep:
            click.echo(f"MLflow's UI: {mlflow} (Ctrl-C ends it)")
            with suppress(KeyboardInterrupt):
                threading.Event().wait()


def _run_stories(examples: Path, python: Path, folder: Path, *, mlflow: str) -> None:
    tell.create_workspace(mlflow)
    _say(f"MLflow is at {mlflow}, with the workspace {tell.NAMESPACE}; starting the webhook over TLS")
    with webhook_server(mlflow, tell.NAMESPACE, folder) as (url, ca):
        _say("compiling the unmodified pipeline with kfp")
        stories = [
            tell.kfp_story(example=examples / "pipelines" / "unmodified.py", python=python, folder=folder),
            tell.trainjob_story(example=examples / "trainjob" / "train.py", python=python),
        ]
        found = [_one(story, url=url, ca=ca, mlflow=mlflow, python=python, folder=folder) for story in stories]
        with Recorder(mlflow) as proxy:
            long = long_run.story(example=examples / "trainjob" / "long.py", python=python, server=proxy.url)
            pod = _wire(long, url=url, ca=ca)
            _say(f"{long.title}: running its code; the token in the mounted Secret changes after the first metric")
            calls = long_run.run(long, pod, proxy=proxy, python=python, folder=folder)
            stories.append(long)
            found.append(tell.find_run(mlflow, long))
    for story, run in zip(stories, found, strict=True):
        click.secho(f"\n{story.title}: its run is in MLflow", fg="green", bold=True)
        click.echo(f"  workspace   {tell.NAMESPACE}\n  experiment  {run.experiment}\n  run name    {run.name}")
        for tag, value in run.tags.items():
            click.echo(f"  tag         {tag} = {value}")
        for metric, number in run.metrics.items():
            click.echo(f"  metric      {metric} = {number:.6f}")
    click.echo(
        f"  calls       {calls.first} with the first token, {calls.second} with the second, none failed\n"
        f"  to others   {calls.elsewhere} calls to another server, without a token"
    )
    _show_runs(stories[0].tags["kfp.pipeline_run_id"], mlflow)
    click.echo("\nSimulated: the API server, the kubelet, and the token (a placeholder; there is no proxy).")


def _one(story: tell.Story, *, url: str, ca: Path, mlflow: str, python: Path, folder: Path) -> tell.FoundRun:
    pod = _wire(story, url=url, ca=ca)
    _say(f"{story.title}: running the code of the container {story.container} with that environment")
    tell.run_pod(story, pod, python=python, folder=folder)
    return tell.find_run(mlflow, story)


def _wire(story: tell.Story, *, url: str, ca: Path) -> dict[str, Any]:
    _say(f"{story.title}: posting the pod's review to {url}/mutate")
    pod = tell.post_review(story, url=url, ca=ca)
    echo_diff(story.review["request"]["object"], pod)
    return pod


def _show_runs(pipeline_run: str, mlflow: str) -> None:
    """Call the command that shows the MLflow runs of a pipeline run."""
    arguments = ["run", pipeline_run, "--no-cluster", "--url", mlflow, "--workspace", tell.NAMESPACE]
    arguments += ["--mlflow-url", mlflow, "--plot", "loss"]
    click.echo()
    _say("showing the runs of the pipeline run")
    click.echo(f"mlflow-webhook runs {shlex.join(arguments)}")
    runs.main(arguments, prog_name="mlflow-webhook runs", standalone_mode=False)


def _say(text: str) -> None:
    click.secho(f"==> {text}", bold=True)


if __name__ == "__main__":
    demo(prog_name="python -m demo")

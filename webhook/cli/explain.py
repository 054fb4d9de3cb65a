"""`explain`: shows whether pods in files are wired, why, and where each variable comes from, without a cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from webhook.cli.exit_codes import EPILOG, FOUND
from webhook.cli.inputs import inputs_options, read_inputs, report_passed_over
from webhook.files.explanation import explanation
from webhook.files.injection import explain as explain_pod


@click.command(epilog=f"{EPILOG} If a pod is not wired, the exit code is 3.")
@inputs_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text, or a JSON array with an object for each pod.",
)
def explain(output: str, **options: Any) -> None:
    """Show whether pods are wired, why, and with what.

    For each container that runs the user's code, prints each variable, its value, and where the value comes from. A
    TrainJob together with its runtime, and the tasks of a compiled pipeline, are explained as the pods that they
    create. Documents without pods are named on standard error.
    """
    inputs = read_inputs(**options)
    report_passed_over(inputs, all_of_them=False)
    pods = [pod for pod in inputs.found.pods if not pod.joined]
    if not pods:
        raise click.ClickException(f"{', '.join(file.place for file in inputs.files)}: no pod found")
    found = []
    for pod in pods:
        decision = explain_pod(pod, namespace=inputs.namespace_of(pod), platform=inputs.platform)
        namespace = inputs.shown_namespace_of(pod)
        found.append(explanation(pod.pod, decision, name=pod.what, namespace=namespace, note=pod.note))
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for pod_explanation in found:
            _print(console, pod_explanation)
    if any(pod_explanation["decision"] != "wired" for pod_explanation in found):
        sys.exit(FOUND)


def _print(console: Console, pod: dict[str, Any]) -> None:
    style = "green" if pod["decision"] == "wired" else "yellow"
    namespace = f"namespace {pod['namespace']}" if pod["namespace"] else "the namespace of each TrainJob"
    console.print(f"[bold]{escape(pod['pod'])}[/] in {escape(namespace)}")
    console.print(f"  [{style}]{pod['decision']}[/] ({pod['reason']}): {escape(pod['message'])}")
    console.print(f"  workload: {pod['workload']}")
    for container in pod["containers"]:
        console.print(f"\n  container [bold]{escape(container['name'])}[/]")
        if container["message"] and container["message"] != pod["message"]:
            console.print(f"  not wired ({container['reason']}): {escape(container['message'])}")
        for line in _lines(container["variables"]):
            console.print(line)
        if (plugin := container["clientPlugin"]) and (plugin["on"] or plugin["reason"]):
            state = "on" if plugin["on"] else f"left out ({plugin['reason']}): {plugin['message']}"
            console.print(f"    client plugin  {plugin['source']}  {escape(state)}")
        for note in container["notes"]:
            console.print(f"  note: {escape(note)}")
    for warning in pod["warnings"]:
        console.print(f"  [yellow]warning:[/] {escape(warning)}")
    for note in pod["notes"]:
        console.print(f"  note: {escape(note)}")
    console.print()


def _lines(variables: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table; none when it is empty. The value comes last, since it may be long."""
    if not variables:
        return
    rows = [("VARIABLE", "SOURCE", "VALUE"), *((v["name"], v["source"], _value(v)) for v in variables)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for number, (name, source, value) in enumerate(rows):
        line = escape(f"    {name:<{widths[0]}}  {source:<{widths[1]}}  {value}")
        yield line if number else f"[bold]{line}[/]"


def _value(variable: dict[str, Any]) -> str:
    if "value" in variable:
        return str(variable["value"])
    source = variable["valueFrom"]
    if secret := source.get("secretKeyRef"):
        optional = {True: " (optional)", False: " (required)"}.get(secret.get("optional"), "")
        return f"Secret {secret['name']}, key {secret['key']}{optional}"
    if field := source.get("fieldRef"):
        return f"the pod's {field['fieldPath']}"
    return "a reference"

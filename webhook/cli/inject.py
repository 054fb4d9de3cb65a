"""`inject`: what the webhook would make of pods, from files, with no cluster."""

from __future__ import annotations

import copy
import difflib
import json
from typing import Any

import click
import jsonpatch

from webhook.cli.exit_codes import EPILOG
from webhook.cli.inputs import Inputs, inputs_options, read_inputs
from webhook.core.client_plugin import is_file_annotation
from webhook.files.documents import inject as inject_pod
from webhook.files.writing import dump_yaml


@click.command(epilog=f"{EPILOG} A pod that is not wired is not an error.")
@inputs_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["yaml", "json", "patch", "diff"]),
    default="yaml",
    show_default=True,
    help="The wired documents, the JSON Patch of each, or the difference. json and patch print an array.",
)
def inject(output: str, **options: Any) -> None:
    """Show pods as the webhook would wire them.

    The same code decides as in the cluster. Data goes to standard output; the decision and warnings go to standard
    error. Documents that hold a pod template are wired in place.
    """
    inputs = read_inputs(**options)
    results = [_wire(document, inputs) for document in inputs.documents]
    if output == "yaml":
        click.echo("---\n".join(dump_yaml(after) for _, after, _ in results), nl=False)
    elif output == "json":
        _print_json([after for _, after, _ in results])
    elif output == "patch":
        _print_json([{"document": _name(before), "patch": operations} for before, _, operations in results])
    else:
        for before, after, _ in results:
            echo_diff(before, after)


def _print_json(elements: list[dict[str, Any]]) -> None:
    click.echo(json.dumps(elements, indent=2, ensure_ascii=False))


def _name(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return " ".join(str(part) for part in (document.get("kind"), name) if part) or "pod"


def _wire(document: dict[str, Any], inputs: Inputs) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    operations = []
    for pod in inputs.pods:
        if pod.document is not document:
            continue
        decision, found = inject_pod(pod, namespace=inputs.namespace_of(pod), platform=inputs.platform)
        operations += found
        click.echo(f"{pod.what}: {decision.verdict} ({decision.reason}). {decision.reason.sentence}", err=True)
        for warning in decision.warnings:
            click.echo(f"{pod.what}: warning: {warning}", err=True)
    after = jsonpatch.apply_patch(copy.deepcopy(document), operations)
    return document, after, operations


def echo_diff(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Print the difference of two objects as YAML, in colours on a terminal.

    The client plugin's files are shortened: their 300 lines would hide the rest. The other formats have them.
    """
    colours = {"+": "green", "-": "red", "@": "cyan"}
    name = _name(before)
    lines = difflib.unified_diff(
        dump_yaml(before).splitlines(),
        dump_yaml(_shorten_files(after)).splitlines(),
        name,
        f"{name} (wired)",
        lineterm="",
        n=2,
    )
    for line in lines:
        # click leaves the colours out where standard output is not a terminal
        click.secho(line, fg=colours.get(line[:1]))


def _shorten_files(value: Any) -> Any:
    """Return a document with the length of the client plugin's files in place of their text."""
    if isinstance(value, dict):
        return {
            name: f"({len(text)} characters)"
            if isinstance(text, str) and is_file_annotation(str(name))
            else _shorten_files(text)
            for name, text in value.items()
        }
    return [_shorten_files(item) for item in value] if isinstance(value, list) else value

"""`inject`: shows how the webhook would change pods in files, without a cluster."""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import click
import jsonpatch

from webhook.cli.exit_codes import EPILOG
from webhook.cli.inputs import File, Inputs, inputs_options, read_inputs, report_passed_over
from webhook.core.client_plugin import is_file_annotation
from webhook.files.injection import inject as inject_pod
from webhook.files.loading import Loaded
from webhook.files.writing import dump_yaml

_COMMENTS = re.compile(r"(?:[ \t]*(?:#.*)?\n)*")
"""Comments above a document, such as those of `helm template` that name its source."""


class _Result(NamedTuple):
    loaded: Loaded
    after: dict[str, Any]
    operations: list[dict[str, Any]]

    @property
    def unchanged(self) -> bool:
        return self.loaded.exact and not self.operations


@click.command(epilog=f"{EPILOG} If a pod is not wired, the exit code is still 0.")
@inputs_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["yaml", "json", "patch", "diff"]),
    default="yaml",
    show_default=True,
    help="yaml: the wired documents. json: the same as an array. patch: an array with the JSON Patch of each. diff: "
    "what changes.",
)
def inject(output: str, **options: Any) -> None:
    """Show pods as the webhook would wire them.

    Uses the webhook's own code. Documents go to standard output; decisions, warnings and the names of documents without
    pods go to standard error. Pod templates are wired in place. Unchanged documents keep their text, so you can pipe
    all manifests through this command:

    \b
        kustomize build | mlflow-webhook inject -f - | kubectl apply -f -
    """
    inputs = read_inputs(**options)
    changed = _operations(inputs)
    files = [(file, [_apply(loaded, changed) for loaded in file.loaded]) for file in inputs.files]
    report_passed_over(inputs, all_of_them=True)
    results = [result for _, several in files for result in several]
    if output == "yaml":
        with_pods = {id(pod.document) for pod in inputs.found.pods}
        keep_json = len(files) == 1 and not any(id(result.loaded.value) in with_pods for result in results)
        click.echo(_join([_as_yaml(file, several, keep_json=keep_json) for file, several in files]), nl=False)
    elif output == "json":
        _print_json([result.after for result in results])
    elif output == "patch":
        _print_json([{"document": _name(result.loaded.value), "patch": result.operations} for result in results])
    else:
        for result in results:
            if result.operations:
                echo_diff(result.loaded.value, result.after)


def _operations(inputs: Inputs) -> dict[int, list[dict[str, Any]]]:
    """Decide about each pod, report it, and return the operations for each document."""
    operations: dict[int, list[dict[str, Any]]] = {}
    for pod in inputs.found.pods:
        if pod.at is None:
            continue  # made of several documents: there is nothing to change in any of them
        decision, found = inject_pod(pod, namespace=inputs.namespace_of(pod), platform=inputs.platform)
        operations.setdefault(id(pod.document), []).extend(found)
        click.echo(f"{pod.what}: {decision.verdict} ({decision.reason}). {decision.reason.sentence}", err=True)
        if pod.note and found:
            click.echo(f"{pod.what}: note: {pod.note}", err=True)
        for warning in decision.warnings:
            click.echo(f"{pod.what}: warning: {warning}", err=True)
    return operations


def _apply(loaded: Loaded, changed: dict[int, list[dict[str, Any]]]) -> _Result:
    operations = changed.get(id(loaded.value), [])
    after = jsonpatch.apply_patch(loaded.value, copy.deepcopy(operations)) if operations else loaded.value
    return _Result(loaded, after, operations)


def _as_yaml(file: File, results: list[_Result], *, keep_json: bool) -> str:
    """Return a file's text, in which the changed documents are replaced. JSON becomes YAML, unless `keep_json`."""
    if keep_json or not results:
        return file.text
    if not all(result.loaded.exact and not result.loaded.is_json for result in results):
        return "---\n".join(dump_yaml(result.after) for result in results)
    return "".join(_pieces(file.text, results))


def _pieces(text: str, results: list[_Result]) -> Iterator[str]:
    end = 0
    for result in results:
        yield text[end : result.loaded.start]
        end = result.loaded.end
        if result.unchanged:
            yield text[result.loaded.start : end]
        else:
            comments = _COMMENTS.match(text, result.loaded.start, end)
            yield (comments[0] if comments else "") + dump_yaml(result.after)
    yield text[end:]


def _join(texts: list[str]) -> str:
    joined = ""
    for text in texts:
        if joined:
            joined += "" if joined.endswith("\n") else "\n"
            joined += "" if text.startswith("---") else "---\n"
        joined += text
    return joined


def _print_json(elements: list[dict[str, Any]]) -> None:
    click.echo(json.dumps(elements, indent=2, ensure_ascii=False))


def _name(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return " ".join(str(part) for part in (document.get("kind"), name) if part) or "pod"


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

"""Golden answers: the webhook's whole answer to each review, in a file that `make golden` writes. Read it as a diff.

The inputs are all captured pods and reviews, each in a labelled namespace, and the cases in tests/data/golden/written.
Such a case is a pod, and what else decides about it: its namespace (`unreadable`: it cannot be read now), the
settings, what differs in the request, and a `padding` of that many bytes in one more annotation.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import sys
import tempfile
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from tests.support.pods import FOLDER as PODS
from webhook import __version__
from webhook.cluster.namespaces import StaticNamespaces
from webhook.core.configuration import Namespace, Platform
from webhook.core.lookup import LookupFailedError
from webhook.plugin import load_plugin
from webhook.serving.metrics import Metrics
from webhook.serving.mutate import Mutate
from webhook.settings import load_settings

FOLDER = Path(__file__).parents[1] / "data" / "golden"
ANSWER = ".answer.yaml"
LABELLED = {"labels": {"mlflow-enabled": "true"}}
_KEYS = {"namespace", "settings", "request", "padding", "pod"}
_PLUGIN_FILES = {text: f"(the plugin's {path.rpartition('/')[2]})" for path, text in load_plugin().files.items()}
"""The content of a file is not repeated in the golden files: a change of the plugin would change them all."""


class Case(NamedTuple):
    """An input: its golden file, and what affects the decision. `namespace` is None if it cannot be read."""

    golden: Path
    review: dict[str, Any]
    namespace: dict[str, Any] | None = LABELLED
    settings: Mapping[str, Any] = MappingProxyType({})

    @property
    def name(self) -> str:
        return self.golden.relative_to(FOLDER).as_posix().removesuffix(ANSWER)

    @property
    def pod(self) -> dict[str, Any]:
        found: dict[str, Any] = self.review["request"]["object"]
        return found


def cases() -> list[Case]:
    """Return every input, captured and written."""
    return [*map(_captured, sorted(PODS.rglob("*.*"))), *map(_written, _inputs())]


def _inputs() -> list[Path]:
    return sorted(path for path in (FOLDER / "written").rglob("*.yaml") if not path.name.endswith(ANSWER))


def golden_files() -> set[Path]:
    """Return every file that holds an answer."""
    return set(FOLDER.rglob(f"*{ANSWER}"))


def _captured(path: Path) -> Case:
    golden = FOLDER / "captured" / path.relative_to(PODS).with_suffix(ANSWER)
    text = path.read_text()
    document = json.loads(text) if path.suffix == ".json" else next(iter(yaml.load_all(text, Loader=yaml.CSafeLoader)))
    return Case(golden, document if document["kind"] == "AdmissionReview" else _review(document))


def _written(path: Path) -> Case:
    document = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    assert document.keys() <= _KEYS, f"{path}: unknown keys {document.keys() - _KEYS}"
    namespace = document.get("namespace", {})
    if "padding" in document:
        document["pod"]["metadata"].setdefault("annotations", {})["padding"] = "x" * document["padding"]
    return Case(
        path.with_suffix(ANSWER),
        _review(document["pod"], **document.get("request", {})),
        None if namespace == "unreadable" else namespace,
        document.get("settings", {}),
    )


def _review(pod: dict[str, Any], **request: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "7f0c6a4e-0000-4000-8000-000000000000",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": "team-a",
            "object": pod,
            **request,
        },
    }


class _Unreadable:
    def known(self, name: str) -> None:
        return None

    def fresh(self) -> bool:
        return True

    async def read(self, name: str) -> Namespace:
        raise LookupFailedError("the API server does not answer")


def ask(case: Case) -> dict[str, Any]:
    """Return what the endpoint answers to the bytes of a review, with the patch decoded."""
    name = case.review["request"]["namespace"]
    namespaces = _Unreadable() if case.namespace is None else StaticNamespaces([_namespace(name, **case.namespace)])
    mutate = Mutate(platform=_platform(case.settings), namespaces=namespaces, metrics=Metrics(), write=lambda _: None)
    answer: dict[str, Any] = json.loads(asyncio.run(mutate.answer(json.dumps(case.review).encode())))
    if "patch" in answer["response"]:
        answer["response"]["patch"] = json.loads(b64decode(answer["response"]["patch"]))
    return answer


def _namespace(name: str, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None) -> Namespace:
    return Namespace(name, labels or {}, annotations or {})


def _platform(settings: Mapping[str, Any]) -> Platform:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(dict(settings), file)
        file.flush()
        return load_settings(file=Path(file.name), environment={}).platform


def render(answer: dict[str, Any]) -> str:
    """Return an answer as written to its golden file: in the answer's order, the plugin's files by their names."""
    return yaml.dump(_shortened(answer), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if isinstance(value, str):
        return _PLUGIN_FILES.get(value, value).replace(f"-{__version__}.dist-info/", "-VERSION.dist-info/")
    return value


def without(case: Case, *path: str) -> Case:
    """Return a case without one key, such as `namespace`, `annotations`, `…/experiment`."""
    changed = copy.deepcopy({"pod": case.pod, "namespace": case.namespace, "settings": dict(case.settings)})
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    review = {**case.review, "request": {**case.review["request"], "object": changed["pod"]}}
    return case._replace(review=review, namespace=changed["namespace"], settings=changed["settings"] or {})


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def write() -> None:
    """Write every golden file, and delete those without an input."""
    logging.disable()
    written = {case.golden: render(ask(case)) for case in cases()}
    for path in golden_files() - written.keys():
        path.unlink()
        _say(f"deleted {path.relative_to(FOLDER)}")
    for path, text in written.items():
        if path.exists() and path.read_text() == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        _say(f"wrote {path.relative_to(FOLDER)}")
    _say(f"{len(written)} golden answers. Read the changes: git diff --stat {FOLDER.relative_to(Path.cwd())}")


if __name__ == "__main__":
    write()

"""Finds pods in documents: in pod templates, TrainJobs with their runtimes, Katib's trials, and compiled pipelines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from webhook.core.pod import Pod
from webhook.core.review import MalformedReviewError, decode_pod
from webhook.files.events import field_path
from webhook.files.found import Found, PassedOver, PodInDocument
from webhook.files.generated import PLACEHOLDER, Values, values_with_placeholder
from webhook.files.kinds import Kind, Template, find_kind
from webhook.files.labels import misplaced
from webhook.files.loading import DocumentError
from webhook.files.objects import Object, check_strings, list_objects, read_namespace, without_nulls
from webhook.files.passing_over import GIVE_A_POD, STRATEGIC_MERGE_PATCH, misplaced_elsewhere, why_not, without_template
from webhook.files.pipelines import Pipeline, is_platform, read_pipeline
from webhook.files.pointers import Place, expand, has_directive, mapping, resolve, text
from webhook.files.trainjobs import Runtime, is_trainjob, join, misplaced_in, runtime_of
from webhook.files.trials import is_experiment, trial_of, where_instead

_NOT_TEXT = re.compile(r"Expected `str[^`]*`, got `(int|float|bool)`")
_LEFT_OUT = "inject leaves out what depends on that name, and the webhook adds it to the pods"
_NODE_INDEX = "the index of each node"
_FOR_ANY_JOB = (
    "this is the template of a runtime. Experiment and lineage come from the name of each TrainJob, and the webhook "
    "adds them to its pods. To see them, pass a TrainJob too"
)


def find(documents: Sequence[dict[str, Any]]) -> Found:
    """Find the pods in documents. TrainJobs are joined with the runtimes in the same documents.

    Raises DocumentError for a malformed pod.
    """
    found = Found([], [], {})
    objects = list_objects([document for document in documents if not _is_of_pipeline(document)])
    trials = {id(item.value): trial_of(item) for item in objects if is_experiment(item.group, item.kind)}
    makers = [*objects, *(trial for trial in trials.values() if trial is not None)]
    runtimes = {id(item.value): _find_runtime(item, objects) for item in makers if is_trainjob(item.group, item.kind)}
    for item in objects:
        if item.kind == "Namespace" and not item.group and item.is_named:
            found.namespaces[item.name] = read_namespace(item)
            continue
        if id(item.value) in trials:
            pods, passed_over = _of_experiment(item, trials[id(item.value)], runtimes)
        else:
            pods, passed_over = _of_object(item, runtimes)
        found.pods.extend(pods)
        found.passed_over.extend(passed_over)
    for document, after in zip_longest(documents, documents[1:]):
        pipeline = read_pipeline(document, after)
        if pipeline is not None:
            found.passed_over.append(_pipeline(pipeline))
            found.pods.extend(_pods_of_pipeline(pipeline, document))
    return found


def _of_object(item: Object, runtimes: Mapping[int, Object | None]) -> tuple[list[PodInDocument], list[PassedOver]]:
    """Return the pods of an object, and the reason if it has no pod. `runtimes`: by the id of the TrainJob."""
    if id(item.value) in runtimes:
        runtime = runtimes[id(item.value)]
        return list(_pods_of_trainjob(item, runtime) if runtime is not None else ()), [_trainjob(item, runtime)]
    kind = find_kind(item.group, item.kind)
    if kind is None:
        return [], [PassedOver(item.what, why_not(item), warnings=misplaced_elsewhere(item))]
    joined = any(runtime is not None and runtime.value is item.value for runtime in runtimes.values())
    if has_directive(item.value):
        return [], [PassedOver(item.what, STRATEGIC_MERGE_PATCH)]
    pods = list(_pods_of_templates(item, kind, joined=joined))
    return pods, [] if pods else [without_template(item, kind)]


def _of_experiment(
    item: Object, trial: Object | None, runtimes: Mapping[int, Object | None]
) -> tuple[list[PodInDocument], list[PassedOver]]:
    if trial is None:
        return [], [PassedOver(item.what, f"{where_instead(item)} ({GIVE_A_POD})")]
    pods, passed_over = _of_object(trial, runtimes)
    for number, pod in enumerate(pods):
        place, metadata_at = (text(at).removeprefix(item.at) for at in (pod.at, pod.metadata_at))
        above = misplaced(item.value, item.kind, template=place, right=metadata_at) if place else pod.warnings
        name = f"the name of each trial, shown as {trial.name}"
        name = name if item.is_named else _and(name, _end_of(item.name))
        note = _and(pod.note, name) if pod.note else _not_known(name)
        # the name of each trial is in the names and tags of its runs, so nothing can be written into the Experiment
        pods[number] = pod._replace(at=None, warnings=above, note=note)
    if pods:
        passed_over = [PassedOver(item.what, "the webhook wires its trials when Katib creates them", explained=True)]
    return pods, passed_over


def _pods_of_templates(item: Object, kind: Kind, *, joined: bool) -> Iterator[PodInDocument]:
    for template in kind.templates:
        try:
            places = list(expand(item.value, template.path))
        except TypeError as error:
            raise DocumentError(f"{item.what}: {error} is neither a mapping nor a list") from None
        for place in places:
            part = place.part or template.part
            what = f"{item.what} ({part})" if part else item.what
            if not isinstance(place.value, dict):
                raise DocumentError(f"{what}: the pod template at {place.pointer} is not a mapping")
            metadata_at = f"{place.pointer}/metadata" if kind.metadata is None else kind.metadata
            metadata = mapping(resolve(item.value, metadata_at))
            check_strings(metadata, what)
            if mapping(place.value.get("spec")).get("containers") is None:
                continue  # a patch
            if kind.name == "Pod":
                what = item.name or "pod"
            pod = _decode(place.value, metadata, _made(item, kind, template, place), what, at=place.pointer)
            generated = values_with_placeholder(pod) if _is_generated(item, kind, template) else Values()
            yield PodInDocument(
                item.document,
                item.at + place.pointer,
                pod,
                item.namespace,
                what,
                metadata_at=item.at + metadata_at,
                for_any_job=kind.for_any_job,
                generated=generated,
                in_namespace=kind.in_namespace,
                joined=joined,
                warnings=misplaced(item.value, item.kind, template=place.pointer, right=metadata_at),
                note=_FOR_ANY_JOB if kind.for_any_job else _note(item, kind, generated),
            )


def _made(item: Object, kind: Kind, template: Template, place: Place) -> dict[str, Any]:
    """Return the metadata that the controller adds to the pods of a template, as far as it is known."""
    if kind.name == "Pod":
        return {}
    siblings = resolve(item.value, f"{place.pointer.rpartition('/')[0]}/labels") if template.with_labels else {}
    known = {key: value.format(name=item.name, part=place.part.lower()) for key, value in template.labels.items()}
    labels = {**mapping(siblings), **known, **item.labels}
    owner = [{"kind": kind.owner, "name": item.name, "controller": True}] if kind.owner and item.name else []
    return {"generateName": f"{item.name}-", "labels": labels, "ownerReferences": owner}


def _is_generated(item: Object, kind: Kind, template: Template) -> bool:
    by_controller = any(PLACEHOLDER in label for label in template.labels.values())
    return kind.name != "Pod" and not kind.for_any_job and (by_controller or not item.is_named)


def _note(item: Object, kind: Kind, generated: Values) -> str:
    unknown = kind.unknown.format(name=item.name)
    if any(generated) and not item.is_named:
        unknown = _and(unknown, _end_of(item.name))
    left_out = f". {_LEFT_OUT}" if any(generated) else ""
    return _not_known(unknown) + left_out


def _end_of(name: str) -> str:
    return f"the end of {name}, which the API server chooses"


def _and(*several: str) -> str:
    return ", and ".join(filter(None, several))


def _not_known(what: str) -> str:
    return f"not known before a pod is created: {what}" if what else ""


def _find_runtime(trainjob: Object, objects: Sequence[Object]) -> Object | None:
    wanted = runtime_of(trainjob.value)
    for other in objects:
        kind = find_kind(other.group, other.kind)
        if kind and kind.for_any_job and Runtime(other.kind, other.name) == wanted:
            apart = kind.in_namespace and other.namespace and trainjob.namespace
            if not apart or other.namespace == trainjob.namespace:
                return other
    return None


def _trainjob(item: Object, runtime: Object | None) -> PassedOver:
    warnings = misplaced_in(item.value)
    if runtime is None:
        command = runtime_of(item.value).command(item.namespace)
        why = f"its pods come from its runtime: pass the runtime too ({command}), or a pod that it created"
        return PassedOver(item.what, why, warnings=warnings)
    why = "its pods come from its runtime; the webhook wires them when they are created"
    return PassedOver(item.what, why, explained=True, warnings=warnings)


def _pods_of_trainjob(item: Object, runtime: Object) -> Iterator[PodInDocument]:
    for job in join(item.value, runtime.value):
        what = f"{item.what} ({job.name})"
        metadata = mapping(job.template.get("metadata"))
        check_strings(metadata, what)
        labels = {**job.labels(item.name), **item.labels}
        pod = _decode(job.template, metadata, {"generateName": f"{item.name}-", "labels": labels}, what)
        warnings = misplaced_in(item.value, pod=metadata)
        yield PodInDocument(
            item.document,
            None,
            pod,
            item.namespace or runtime.namespace,
            what,
            warnings=warnings,
            note=_not_known(_and(_NODE_INDEX, "" if item.is_named else _end_of(item.name))),
        )


def _pipeline(pipeline: Pipeline) -> PassedOver:
    why = "Kubeflow Pipelines creates a pod for each task when the pipeline runs, and the webhook wires these pods"
    return PassedOver(f"compiled pipeline {pipeline.name}", why, explained=True)


def _pods_of_pipeline(pipeline: Pipeline, document: dict[str, Any]) -> Iterator[PodInDocument]:
    for task in pipeline.tasks():
        what = f"task {task.name} of the compiled pipeline {pipeline.name}"
        check_strings(task.pod["metadata"], what)
        yield PodInDocument(
            document,
            None,
            _decode(task.pod, task.pod["metadata"], {}, what),
            pipeline.namespace,
            what,
            note=task.note,
        )


def _decode(
    template: dict[str, Any], metadata: dict[str, Any], made: dict[str, Any], what: str, *, at: str = ""
) -> Pod:
    """Return the pod that a controller creates from the template `at` a pointer. `made`: the metadata that it adds."""
    whole = {**made, **metadata}
    if made.get("labels"):
        whole["labels"] = {**mapping(metadata.get("labels")), **made["labels"]}
    try:
        return decode_pod(json.dumps({**template, "metadata": without_nulls(whole)}).encode())
    except (MalformedReviewError, TypeError, ValueError, RecursionError) as error:
        # the value is "1" or "true" without quotation marks
        hint = ": write it in quotation marks" if _NOT_TEXT.search(str(error)) else ""
        place = field_path(at.split("/")[1:])
        message = str(error).replace("`$.", f"`{place}." if place else "`")
        raise DocumentError(f"{what}: {message}{hint}") from None


def _is_of_pipeline(document: dict[str, Any]) -> bool:
    return is_platform(document) or read_pipeline(document, None) is not None

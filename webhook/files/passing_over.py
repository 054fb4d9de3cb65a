"""Explains why an object has no pods to decide about, and where its labels have to be."""

from __future__ import annotations

from webhook.files.found import PassedOver
from webhook.files.kinds import KINDS, TRAINER_GROUP, Kind, find_group, find_other, is_built_in
from webhook.files.labels import marks, misplaced, warning
from webhook.files.objects import Object
from webhook.files.pipelines import PARENT
from webhook.files.trials import GROUP, KIND

GIVE_A_POD = "pass a pod that it created: kubectl get pod NAME -o yaml | mlflow-webhook explain -f -"
STRATEGIC_MERGE_PATCH = "a strategic merge patch; pass the object that it changes"
_FURTHER = {"TrainJob": TRAINER_GROUP, KIND: GROUP}


def without_template(item: Object, kind: Kind) -> PassedOver:
    """Return why an object has no pod, although its kind has pod templates."""
    path = kind.templates[0].path
    right = f"{path}/metadata" if kind.metadata is None else kind.metadata
    paths = " or ".join(template.path or "/spec/containers" for template in kind.templates)
    return PassedOver(
        item.what,
        f"the pod template is missing at {paths}, as in a patch" if path else "it has no containers, as in a patch",
        warnings=misplaced(item.value, item.kind, template=path, right=right),
    )


def why_not(item: Object) -> str:
    """Return why an object has no pods, or why they are not searched for."""
    if not item.kind:
        return "not a Kubernetes object"
    if (item.group, item.kind) == PARENT:
        return "its pods come from its versions: pass a PipelineVersion"
    if find_other(item.group, item.kind):
        return f"this command does not look into {_kind(item)} ({GIVE_A_POD})"
    known = ["AdmissionReview", "List", "TrainJob", *(kind.name for kind in KINDS)]
    meant = next((name for name in known if name.lower() == item.kind.lower() and name != item.kind), None)
    if meant:
        return f"{item.kind} is not a known kind; did you mean {meant}?"
    if is_built_in(item.group):
        group = _FURTHER.get(item.kind) or find_group(item.kind)
        if group is None or item.group is None:
            return "no pod template"
        written = f"API group {item.group}" if item.group else "core API group"
        return f"the {written} has no kind {item.kind}; did you mean {group or 'v1'}?"
    return f"this command does not look into {_kind(item)} (if it creates pods, {GIVE_A_POD})"


def _kind(item: Object) -> str:
    return f"the kind {item.kind} of {item.group}" if item.group else f"the kind {item.kind}"


def misplaced_elsewhere(item: Object) -> tuple[str, ...]:
    """Return warnings for misplaced labels and annotations of an object whose pods do not come from a pod template."""
    other = find_other(item.group, item.kind)
    if other is None:
        return ()
    return tuple(
        warning(item.kind, mark, "/metadata", other.label_at.replace("labels", mark.field))
        for mark in marks(item.metadata)
    )

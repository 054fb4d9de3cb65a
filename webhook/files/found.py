"""What is in documents: pods and their places, objects without pods, and Namespaces."""

from __future__ import annotations

from typing import Any, NamedTuple

from webhook.core.configuration import Namespace
from webhook.core.pod import Pod
from webhook.files.generated import Values


class PodInDocument(NamedTuple):
    """A pod or pod template, its place in its document, and the namespace that the document names.

    `what` names it. `at`: its JSON Pointer; None if the pod comes from several documents. `metadata_at`: the JSON
    Pointer of its labels and annotations. `for_any_job`: the template is a runtime's, for pods of TrainJobs whose names
    are not known. `generated`: which values contain a name that is generated in the cluster. `in_namespace` False: the
    object is cluster-scoped. `joined`: the pods of TrainJobs that use this runtime are also found. `warnings` are about
    misplaced labels and annotations. `note` says what is not known before the pod is created.
    """

    document: dict[str, Any]
    at: str | None
    pod: Pod
    namespace: str | None
    what: str
    metadata_at: str = ""
    for_any_job: bool = False
    generated: Values = Values()
    in_namespace: bool = True
    joined: bool = False
    warnings: tuple[str, ...] = ()
    note: str = ""


class PassedOver(NamedTuple):
    """An object without a pod or pod template, which `inject` does not change; `why` is the reason.

    `explained`: its pods are in another object that was found.
    """

    what: str
    why: str
    explained: bool = False
    warnings: tuple[str, ...] = ()


class Found(NamedTuple):
    """The pods in documents, and the objects without pods."""

    pods: list[PodInDocument]
    passed_over: list[PassedOver]
    namespaces: dict[str, Namespace]

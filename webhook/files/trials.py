"""Katib's Experiments: the object that Katib creates for each trial, and what it adds to the pods of that object.

The object is `spec.trialTemplate.trialSpec`, of any kind (kubeflow/katib:
pkg/apis/controller/experiments/v1beta1/experiment_types.go). `webhook.core.controllers` recognises trials by the
labels.
"""

from __future__ import annotations

from webhook.files.objects import Object
from webhook.files.pointers import mapping, resolve, text

GROUP, KIND = "kubeflow.org", "Experiment"
TEMPLATE = "/spec/trialTemplate"
TRIAL = f"{TEMPLATE}/trialSpec"
_KATIB = "katib.kubeflow.org/"


def is_experiment(group: str | None, kind: str) -> bool:
    """Return whether an object is an Experiment of Katib."""
    return kind == KIND and group in {None, GROUP}


def trial_of(experiment: Object) -> Object | None:
    """Return the object of a trial; None if the Experiment does not contain it.

    Its name is known when Katib creates the trial. Until then, it ends in ``TRIAL``.
    """
    spec = mapping(resolve(experiment.value, TRIAL))
    if not spec:
        return None
    name = f"{experiment.name}-TRIAL"
    metadata = {**mapping(spec.get("metadata")), "name": name}
    if experiment.namespace:
        metadata["namespace"] = experiment.namespace
    version = text(spec.get("apiVersion"))
    return Object(
        experiment.document,
        experiment.at + TRIAL,
        {**spec, "metadata": metadata},
        version.rpartition("/")[0] if version else None,
        text(spec.get("kind")),
        title=f"trial of {experiment.what}",
        labels={f"{_KATIB}experiment": experiment.name, f"{_KATIB}trial": name},
    )


def where_instead(experiment: Object) -> str:
    """Return a clause that says where the object of a trial is, if it is not in the Experiment."""
    config_map = text(resolve(experiment.value, f"{TEMPLATE}/configMap/configMapName"))
    if config_map:
        return f"the object of its trials is in the ConfigMap {config_map}"
    return f"the object of its trials is missing at {TRIAL}, as in a patch"

from __future__ import annotations

from typing import Any

import pytest

from tests.support.kubelet import ContainerConfigError, container_environment, expand


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)", "1"), ("$(B)", "$(B)"), ("$$(A)", "$(A)"), ("$A", "$A"), ("a$(A)$(A)b$", "a11b$"), ("$()", "$()")],
)
def test_references_are_expanded_as_kubernetes_does(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def pod(*env: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "p", "labels": {"x": "y"}}, "spec": {"containers": [{"name": "c", "env": list(env)}]}}


def secret(optional: bool) -> dict[str, Any]:
    return {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": optional}}}


def test_only_earlier_variables_can_be_referred_to() -> None:
    env = [{"name": "A", "value": "$(B)"}, {"name": "B", "value": "2"}, {"name": "C", "value": "$(B)"}]
    assert container_environment(pod(*env), "c", secrets={}) == {"A": "$(B)", "B": "2", "C": "2"}


def test_a_missing_secret_delays_the_pod_unless_it_is_optional() -> None:
    assert container_environment(pod(secret(optional=True)), "c", secrets={}) == {}
    assert container_environment(pod(secret(optional=False)), "c", secrets={"s": {"k": "v"}}) == {"T": "v"}
    with pytest.raises(ContainerConfigError, match="key k of secret s"):
        container_environment(pod(secret(optional=False)), "c", secrets={})


def test_the_pods_own_fields_are_given() -> None:
    env = [
        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['x']"}}},
    ]
    assert container_environment(pod(*env), "c", secrets={}) == {"N": "p", "L": "y"}

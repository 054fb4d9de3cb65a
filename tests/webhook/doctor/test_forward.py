from __future__ import annotations

from typing import Any, cast

import pytest

from webhook.cluster.kube import KubeClient, KubeForbiddenError, KubeNotFoundError
from webhook.doctor.forward import Service, UnreachableError, reach, service_of

SERVICE = Service("kubeflow", "mlflow", 5000)


class Client:
    """A fake cluster: objects by path."""

    def __init__(self, **objects: Any) -> None:
        self.objects = objects

    def get(self, path: str, **_: object) -> Any:
        found = self.objects.get(path.rpartition("/")[2])
        if found is None:
            raise KubeNotFoundError("not found")
        if isinstance(found, Exception):
            raise found
        return found

    def list(self, *_: object, **__: object) -> dict[str, Any]:
        return {"items": self.objects.get("pods", [])}

    def forward(self, namespace: str, pod: str, port: int) -> Any:
        raise KubeForbiddenError(f"{namespace}/{pod} port {port}")


def client(**objects: Any) -> KubeClient:
    return cast("KubeClient", Client(**objects))


@pytest.mark.parametrize(
    ("uri", "namespaces", "expected"),
    [
        ("http://mlflow.kubeflow:5000", ["kubeflow"], SERVICE),
        ("http://mlflow.kubeflow.svc:5000", [], SERVICE),
        ("https://mlflow.corp", ["kubeflow"], None),
        ("https://mlflow.example.com", ["example"], None),
    ],
)
def test_two_labels_name_a_service_only_if_the_namespace_exists(
    uri: str, namespaces: list[str], expected: Service | None
) -> None:
    assert service_of(client(**{name: {} for name in namespaces}), uri) == expected


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (None, "service_missing"),
        ({"spec": {"ports": [{"port": 80}], "selector": {"app": "mlflow"}}}, "service_without_port"),
        ({"spec": {"ports": [{"port": 5000}], "selector": {"app": "mlflow"}}}, "service_without_pod"),
        ({"spec": {"type": "ExternalName", "externalName": "mlflow.example.com"}}, ""),
        (KubeForbiddenError("you may not"), ""),
    ],
)
def test_an_unreachable_service_has_a_code_unless_it_may_not_be_read(found: Any, code: str) -> None:
    with pytest.raises(UnreachableError) as raised, reach(client(mlflow=found), SERVICE):
        pass
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("more", "port"), [({}, 5000), ({"clusterIP": "10.0.0.1"}, 8080), ({"clusterIP": "None"}, 5000)]
)
def test_a_service_leads_to_the_target_port_and_a_headless_one_to_its_own_port(more: dict[str, Any], port: int) -> None:
    target = {"port": 5000, **({"targetPort": 8080} if more else {})}
    service = {"spec": {"ports": [target], "selector": {"app": "mlflow"}, **more}}
    pod = {"metadata": {"name": "mlflow-0"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}

    with pytest.raises(UnreachableError, match=f"kubeflow/mlflow-0 port {port}"):
        reach(client(mlflow=service, pods=[pod]), SERVICE).__enter__()

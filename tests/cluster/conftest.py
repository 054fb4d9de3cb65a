"""One control plane for all tests of this folder. Each test has its own namespace."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.cluster.binaries import find, prepare
from tests.cluster.certmanager import CertManager
from tests.cluster.controlplane import ControlPlane
from tests.cluster.installation import Installation
from tests.cluster.other_webhook import OtherWebhook
from tests.cluster.trainer import Trainer
from tests.support.waiting import wait_until
from webhook.cluster.kube import KubeClient, core_path

_numbers = count()
BUILT = {"control_plane": "kubernetes", "trainer": "trainer", "cert_manager": "certmanager", "promtool": "prometheus"}
"""Each fixture's Go module."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.cluster)
            # CPython's SSLSocket._create leaks its socket when the peer resets the connection before the handshake,
            # which is what a server that these tests end does to a client that is just connecting.
            unclosed = "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
            item.add_marker(pytest.mark.filterwarnings(unclosed))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: a build takes longer than a test may, and its clock runs in the fixtures too."""
    here = Path(__file__).parent
    chosen = [item for item in session.items if isinstance(item, pytest.Function) and item.path.is_relative_to(here)]
    wanted = {name for item in chosen for name in item.fixturenames}
    capture = session.config.pluginmanager.get_plugin("capturemanager")
    if session.config.option.collectonly or capture is None:
        return
    with capture.global_and_fixture_disabled():  # so that a person who waits sees the reason
        for fixture, module in BUILT.items():
            if fixture in wanted:
                prepare(module)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def promtool() -> Path:
    return find("promtool")


@pytest.fixture(scope="session")
def trainer(control_plane: ControlPlane) -> Iterator[Trainer]:
    controllers = Trainer(control_plane)
    try:
        controllers.start()
        yield controllers
    finally:
        controllers.stop()


@pytest.fixture(scope="session")
def cert_manager(control_plane: ControlPlane) -> Iterator[CertManager]:
    controllers = CertManager(control_plane)
    try:
        controllers.start()
        yield controllers
    finally:
        controllers.stop()


@pytest.fixture
def admin(control_plane: ControlPlane) -> KubeClient:
    return control_plane.client()


@pytest.fixture
def namespace(admin: KubeClient) -> str:
    """A namespace for one test. It is not deleted, because the whole cluster is."""
    name = f"test-{next(_numbers)}"
    admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return name


@pytest.fixture(scope="module")
def installation(control_plane: ControlPlane) -> Iterator[Installation]:
    """Our manifests, applied; the module starts the replicas it needs."""
    installed = Installation(control_plane)
    try:
        installed.install()
        yield installed
    finally:
        installed.remove()


@pytest.fixture(scope="module")
def other_webhook() -> Iterator[OtherWebhook]:
    other = OtherWebhook()
    yield other
    other.stop()


@pytest.fixture
def labelled(admin: KubeClient) -> str:
    """A namespace for one test, labelled for MLflow."""
    name = f"labelled-{next(_numbers)}"
    admin.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": {"mlflow-enabled": "true"}}})
    return name


@pytest.fixture
def installed(control_plane: ControlPlane) -> Iterator[Installation]:
    """A new installation for one test."""
    installation = Installation(control_plane)
    try:
        installation.install()
        yield installation
    finally:
        installation.remove()


@pytest.fixture
def ready(admin: KubeClient, labelled: str) -> str:
    wait_until(
        lambda: bool(admin.list(core_path(labelled, "serviceaccounts"))["items"]), "the namespace's service account"
    )
    return labelled

"""Puts the webhook together and runs it: standalone, or in a cluster."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from certs.issue import KeyPair, issue_ca, issue_leaf
from certs.keeper import CertificateSpec, Keeper
from certs.ports import InstallError
from webhook.cluster.certificate_files import FromFiles
from webhook.cluster.kube import KubeClient, core_path, group_path
from webhook.cluster.named import NamedObject
from webhook.cluster.namespaces import NamespaceWatch, StaticNamespaces
from webhook.cluster.self_signed import SelfSigned
from webhook.cluster.storage import CONFIGURATIONS, ConfigurationTrust, LeaseLeadership, SecretStore
from webhook.core.lookup import Namespaces
from webhook.serving.app import Problem, create_app
from webhook.serving.certificates import CertificateEvents, Certificates
from webhook.serving.clients import ClientVerification
from webhook.serving.logs import count_lost_lines, decision_writer
from webhook.serving.metrics import Metrics
from webhook.serving.mutate import Mutate
from webhook.serving.server import Server, create_server
from webhook.settings import Settings


class StartError(Exception):
    """The webhook cannot start; the message says why."""


def run_standalone(settings: Settings, namespaces: StaticNamespaces, *, ca_file: Path | None) -> None:
    """Serve without a cluster until told to stop. Raises StartError."""
    dns_names, ip_addresses = _split_names(settings.certificate_names)
    ca, leaf = _ephemeral_certificate(("localhost", *dns_names), ("127.0.0.1", "::1", *ip_addresses), settings)
    if ca_file:
        try:
            ca_file.write_bytes(ca.certificate_pem)
        except OSError as error:
            raise StartError(f"cannot write {ca_file}: {error.strerror}") from error
    _run(_server(settings, namespaces, Metrics(), certificate=leaf, problems={}, on_start=lambda: None))


def run_in_cluster(settings: Settings, client: KubeClient) -> None:
    """Serve in a cluster until told to stop. Raises StartError."""
    metrics = Metrics()
    namespaces = NamespaceWatch(
        client, lookup_timeout=settings.lookup_timeout, on_restart=metrics.namespace_watch_restarts.inc
    )
    metrics.namespaces.set_function(lambda: len(namespaces))
    metrics.namespace_watch_age.set_function(lambda: namespaces.silence)
    events = CertificateEvents(lambda pair: server.install(pair), metrics)
    certificates = _certificates(settings, client, events)

    def start() -> None:
        namespaces.start()
        certificates.start()

    # Until there is a real certificate, serve one that nobody trusts: the kubelet's probes do not verify it.
    _, leaf = _ephemeral_certificate(("localhost",), (), settings)
    problems: dict[str, Problem] = {"certificates": certificates.problem, "namespaces": namespaces.problem}
    server = _server(settings, namespaces, metrics, certificate=leaf, problems=problems, on_start=start)
    try:
        _run(server)
    finally:
        certificates.stop()
        namespaces.stop()


def _certificates(settings: Settings, client: KubeClient, events: CertificateEvents) -> Certificates:
    if settings.certificates == "files":
        return FromFiles(Path(settings.certificate_directory), events)
    namespace = settings.namespace or client.namespace
    secret, configuration = settings.ca_secret_name, settings.configuration_name
    dns_names, ip_addresses = _service_names(settings.service_name, namespace, settings.certificate_names)
    spec = CertificateSpec(
        common_name="mlflow-webhook CA",
        dns_names=dns_names,
        ip_addresses=ip_addresses,
        ca_lifetime=settings.ca_lifetime,
        leaf_lifetime=settings.leaf_lifetime,
    )
    leadership = LeaseLeadership(
        client,
        namespace=namespace,
        name=settings.lease_name,
        identity=settings.identity or socket.gethostname(),
    )
    watched_secret = NamedObject(client, core_path(namespace, "secrets"), secret)
    watched_configuration = NamedObject(
        client, group_path(CONFIGURATIONS, "mutatingwebhookconfigurations"), configuration
    )
    keeper = Keeper(
        spec,
        store=SecretStore(client, watched_secret, namespace=namespace, name=secret),
        trust=ConfigurationTrust(client, watched_configuration, name=configuration),
        leadership=leadership,
        events=events,
    )
    return SelfSigned(keeper, leadership, watched=[watched_secret, watched_configuration])


def _service_names(service: str, namespace: str, further: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the DNS names and the IP addresses. The API server calls ``SERVICE.NAMESPACE.svc``."""
    dns_names, ip_addresses = _split_names(further)
    own = [f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local", f"{service}.{namespace}"]
    return [*own, *dns_names], ip_addresses


def _split_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the DNS names and the IP addresses among these."""
    dns_names, ip_addresses = [], []
    for name in names:
        try:
            ip_addresses.append(str(ipaddress.ip_address(name)))
        except ValueError:
            dns_names.append(name)
    return dns_names, ip_addresses


def _ephemeral_certificate(
    dns_names: Sequence[str], ip_addresses: Sequence[str], settings: Settings
) -> tuple[KeyPair, KeyPair]:
    now = datetime.now(UTC)
    ca = issue_ca(common_name="mlflow-webhook CA of one process", lifetime=settings.ca_lifetime, now=now)
    leaf = issue_leaf(ca, dns_names=dns_names, ip_addresses=ip_addresses, lifetime=settings.ca_lifetime, now=now)
    return ca, leaf


def _server(
    settings: Settings,
    namespaces: Namespaces,
    metrics: Metrics,
    *,
    certificate: KeyPair,
    problems: dict[str, Problem],
    on_start: Callable[[], None],
) -> Server:
    count_lost_lines(metrics.log_lines_lost.inc)
    clients = None
    if settings.client_ca_file:
        clients = ClientVerification(ca_file=Path(settings.client_ca_file), names=frozenset(settings.client_names))
    mutate = Mutate(
        platform=settings.platform,
        namespaces=namespaces,
        metrics=metrics,
        write=decision_writer(form=settings.log_format),
        body_limit=settings.body_limit,
        draining=lambda: server.draining,
        accepts=clients.accepts if clients else lambda _: True,
    )
    shutdown: dict[str, Problem] = {"shutdown": lambda: "shutting down" if server.draining else None}
    try:
        server = create_server(
            create_app(mutate=mutate, metrics=metrics, problems=problems | shutdown),
            certificate=certificate,
            host=settings.listen_address,
            port=settings.listen_port,
            shutdown_delay=settings.shutdown_delay,
            on_start=on_start,
            on_refused=lambda status: metrics.bad_requests.labels(str(status)).inc(),
            clients=clients,
        )
    except InstallError as error:
        raise StartError(str(error)) from error
    return server


def _run(server: Server) -> None:
    try:
        server.run()
    except SystemExit as ended:  # uvicorn does this if it cannot listen, and has logged the system's message
        place = f"{server.config.host} port {server.config.port}"
        raise StartError(f"cannot listen on {place}; the line above says why") from ended

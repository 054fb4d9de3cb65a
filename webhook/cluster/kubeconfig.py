"""Finds the cluster, and reads how to log in to it: kubeconfig files, contexts, exec plugins, the service account."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config
from kubernetes.client import Configuration
from kubernetes.config.config_exception import ConfigException

from webhook.cluster.kube_errors import KubeConfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def find_cluster(*, kubeconfig: str | None = None, context: str | None = None) -> tuple[Configuration, str]:
    """Return the configuration of `kubernetes` for the cluster, and the namespace of the context or of this pod.

    Looks where kubectl does: the file given, KUBECONFIG, ~/.kube/config, the pod's service account. Raises
    KubeConfigError.
    """
    configuration = Configuration()
    configuration.retries = False  # the caller decides what to do about a failure
    file = kubeconfig or os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")  # noqa: PTH111 - Path raises without a home
    wanted = kubeconfig or context or os.environ.get("KUBECONFIG")
    try:
        if wanted or Path(file).exists():
            config.load_kube_config(file, context=context, client_configuration=configuration)
            _, current = config.list_kube_config_contexts(file)
            namespace = _context(file, context, current).get("namespace") or "default"
        else:
            config.load_incluster_config(client_configuration=configuration)
            namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except (ConfigException, OSError, yaml.YAMLError) as error:
        if not wanted and not Path(file).exists():
            raise KubeConfigError(
                "no cluster: no kubeconfig was found (--kubeconfig, KUBECONFIG, ~/.kube/config), "
                "and this is not a pod with a service account"
            ) from error
        if not any(Path(part).exists() for part in file.split(os.pathsep)):
            raise KubeConfigError(f"kubeconfig {file} not found") from error
        raise KubeConfigError(f"cannot use the kubeconfig {file}: {str(error).splitlines()[0]}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # the client does not check that the file is text, and that every part of it has the right type
        raise KubeConfigError(f"cannot use the kubeconfig {file}: it is not a valid kubeconfig") from error
    return configuration, namespace


def _context(file: str, wanted: str | None, current: Mapping[str, Any]) -> Mapping[str, Any]:
    if wanted is None:
        chosen: Mapping[str, Any] = current
    else:
        contexts, _ = config.list_kube_config_contexts(file)
        chosen = next((context for context in contexts if context["name"] == wanted), {})
    return chosen.get("context") or {}

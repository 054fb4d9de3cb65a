"""The MLflow client plugin that the webhook adds to pods: its source, and the files that pods get."""

from __future__ import annotations

from importlib import resources

from webhook import __version__
from webhook.core.client_plugin import ClientPlugin

MODULE = "mlflow_webhook_plugin"
ENTRY_POINTS = {
    "mlflow.request_auth_provider": "AuthProvider",
    "mlflow.run_context_provider": "UserProvider",
}
"""MLflow's groups of entry points, and the class for each (observed with mlflow 2.9.2 to 3.17.2)."""


def load_plugin() -> ClientPlugin:
    """Return the plugin's files by their paths, relative to the folder in PYTHONPATH.

    They are the module in this package, and the metadata of a distribution, by which MLflow finds it.
    """
    information = f"{MODULE}-{__version__}.dist-info"
    groups = [f"[{group}]\nmlflow-webhook = {MODULE}:{name}\n" for group, name in ENTRY_POINTS.items()]
    return ClientPlugin(
        version=__version__,
        files={
            f"{MODULE}.py": resources.files(__package__).joinpath(f"{MODULE}.py").read_text(encoding="utf-8"),
            f"{information}/METADATA": f"Metadata-Version: 2.1\nName: mlflow-webhook-plugin\nVersion: {__version__}\n",
            f"{information}/entry_points.txt": "\n".join(groups),
        },
    )

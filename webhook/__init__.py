"""A mutating admission webhook that wires Kubeflow pods to an MLflow tracking server."""

__version__ = "0.1.0"

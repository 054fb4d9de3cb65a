"""Certificates for a webhook's server: a CA, leaves signed by it, their renewal. Knows nothing of MLflow."""

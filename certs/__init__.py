"""Certificates for a webhook's server: a CA, the certificates that it signs, their renewal. Independent of MLflow."""

"""Tokens for MLflow: reads their claims, mints them by the password grant, and keeps them fresh in a Secret."""

"""Serves reviews over HTTPS: the endpoint, the application, the server, logs, metrics, and what puts them together."""

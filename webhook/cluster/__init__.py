"""Talks to the API server: a client, watches, and the storage and renewal of certificates."""

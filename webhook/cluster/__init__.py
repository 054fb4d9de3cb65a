"""Talks to the API server: the client, what watches it, where certificates are stored and kept fresh."""

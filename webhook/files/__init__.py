"""Reads and writes documents as kubectl does, and explains decisions about the pods in them."""

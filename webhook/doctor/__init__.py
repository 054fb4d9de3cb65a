"""The doctor: named checks of an installation, a namespace, a server, each with what it means and what to do."""

"""The doctor: named checks of an installation, a namespace and a server, each with its meaning and what to do."""

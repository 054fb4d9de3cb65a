"""The doctor: checks of an installation, a namespace and a server, with what is wrong and what to do."""

"""The demo: the real webhook, a real MLflow server and real training code, with no cluster."""

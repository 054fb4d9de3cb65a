"""Finds the MLflow runs of a pipeline run, a TrainJob, a pod or a namespace."""

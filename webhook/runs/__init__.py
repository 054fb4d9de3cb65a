"""Which MLflow runs belong to a pipeline run, a TrainJob, a pod or a namespace, and how they are doing."""

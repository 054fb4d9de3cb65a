"""A TrainJob's training code without any MLflow wiring."""

import mlflow

loss = 2.0
with mlflow.start_run():
    mlflow.log_param("model_name", "qwen3-0.6b")
    for epoch in range(1, 11):
        loss *= 0.95
        mlflow.log_metric("loss", loss, step=epoch)

"""A pipeline without any MLflow wiring. `python unmodified.py OUT.yaml` compiles it."""

import sys

from kfp import compiler, dsl


@dsl.component(base_image="python:3.11-slim", packages_to_install=["mlflow>=3.10"])
def train_model(model_name: str, learning_rate: float, epochs: int) -> dict:
    import mlflow

    loss = 2.0
    with mlflow.start_run():
        mlflow.log_params({"model_name": model_name, "learning_rate": learning_rate})
        for epoch in range(1, epochs + 1):
            loss *= 0.95
            mlflow.log_metric("loss", loss, step=epoch)
    return {"final_loss": loss}


@dsl.pipeline(name="mlflow-training-pipeline", description="Train, and track it with MLflow")
def training_pipeline(model_name: str = "qwen3-0.6b", learning_rate: float = 2e-4, epochs: int = 10):
    train_model(model_name=model_name, learning_rate=learning_rate, epochs=epochs)


if __name__ == "__main__":
    compiler.Compiler().compile(training_pipeline, sys.argv[1])

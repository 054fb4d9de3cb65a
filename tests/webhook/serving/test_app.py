from __future__ import annotations

import asyncio

import httpx

from webhook.serving.app import create_app
from webhook.serving.metrics import Metrics
from webhook.serving.mutate import PATH


async def _no_reviews(*_: object) -> None:
    raise AssertionError(PATH)


def test_the_metric_says_whether_it_is_ready_even_if_readyz_is_not_called() -> None:
    problems: list[str] = ["starting"]
    app = create_app(mutate=_no_reviews, metrics=Metrics(), problems={"it": lambda: next(iter(problems), None)})

    async def ready() -> float:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            lines = (await client.get("/metrics")).text.splitlines()
        return float(next(line for line in lines if line.startswith("mlflow_webhook_ready ")).split()[1])

    assert asyncio.run(ready()) == 0
    problems.clear()
    assert asyncio.run(ready()) == 1
    problems.append("shutting down")
    assert asyncio.run(ready()) == 0

from __future__ import annotations

import pytest

from webhook.core.lookup import LookupOutcome
from webhook.serving.metrics import Metrics


@pytest.mark.parametrize("outcome", LookupOutcome)
def test_every_outcome_of_a_lookup_has_a_series_from_the_start(outcome: LookupOutcome) -> None:
    """A series that begins with its first event has not grown, and no alert sees it."""
    sample = f'mlflow_webhook_namespace_lookups_total{{outcome="{outcome}"}} 0.0'
    assert sample in Metrics().render().decode().splitlines()


def test_two_servers_in_one_process_count_separately() -> None:
    one, other = Metrics(), Metrics()
    one.internal_errors.inc()
    name = "mlflow_webhook_internal_errors_total"
    assert (one.registry.get_sample_value(name), other.registry.get_sample_value(name)) == (1, 0)

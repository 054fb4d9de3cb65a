"""How many examples a property tries: few in `make check`, many in `make test` (--hypothesis-profile=thorough)."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

QUICK, THOROUGH, MUTANTS = "quick", "thorough", "mutants"


def register_profiles() -> None:
    """Make the profiles known, and load the quick one."""
    # The machines are shared, so the time of an example says nothing about the code.
    common = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile(QUICK, common, max_examples=60)
    settings.register_profile(THOROUGH, common, max_examples=120)
    # A mutant either survives or does not: the same examples each time, and few, since they are tried with each mutant.
    settings.register_profile(MUTANTS, common, max_examples=20, derandomize=True, database=None)
    settings.load_profile(QUICK)


def security_examples(times: int = 1) -> int:
    """Return how many examples a property of security tries: as many as others, or six times as many when thorough.

    `times`: so many times more, for a property whose examples cost next to nothing.
    """
    usual = settings().max_examples * times
    return usual * 6 if settings.get_current_profile_name() == THOROUGH else usual

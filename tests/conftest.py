"""What holds for every test, in whatever tier.

Generated input is the same in every run, on every machine and with every cache: a red test is
red for everybody, and a green one cannot turn red by chance while somebody changes something
else. New input comes with every change of a test or a strategy, and on demand:
`pytest --hypothesis-profile=explore` takes other examples each time and prints how to repeat
them. How long an example takes depends on the machine and on what it does besides, so no
profile judges that: neither a deadline nor the check of health for slow generation.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeatable",
    derandomize=True,
    # Failures of earlier runs are not tried first: what a run does would depend on them.
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.register_profile(
    "explore", settings.get_profile("repeatable"), derandomize=False, max_examples=1000
)
settings.load_profile("repeatable")

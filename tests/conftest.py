"""What holds for every test, in whatever tier.

Generated input is the same in every run, on every machine and with every cache: a red test is
red for everybody, and a green one cannot turn red by chance while somebody changes something
else. New input comes with every change of a test or a strategy, and on demand:
`pytest --hypothesis-profile=explore` takes other examples each time and prints how to repeat
them. How long an example takes depends on the machine and on what it does besides, so no
profile judges that: neither a deadline nor the check of health for slow generation.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import amounts, made_host
from tests.results import ResultsFile

HOST = pytest.StashKey[str]()
HOSTS = pytest.StashKey[made_host.Hosts]()
ON_THE_MACHINE = ("root", "boot", "engines")

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


def pytest_addoption(parser: pytest.Parser) -> None:
    """What scripts/test asks for."""
    parser.addoption("--long", action="store_true", help="all cases (tests/amounts.py)")
    parser.addoption("--results", type=Path, metavar="FILE", help="write each test's outcome")


def pytest_configure(config: pytest.Config) -> None:
    """Leave the machine's own settings behind before anything looks at them."""
    made_host.clean_environment()
    amounts.LONG = config.option.long
    config.stash[HOSTS] = made_host.Hosts()
    try:
        config.stash[HOSTS].make()
        config.stash[HOST] = "as made for the tests"
    except OSError as error:
        config.stash[HOST] = f"the real one, as no mount namespace can be made: {error.strerror}"
    if config.option.results:
        config.pluginmanager.register(ResultsFile(config.option.results))


def pytest_report_header(config: pytest.Config) -> str:
    """Say on which host the tests run."""
    return f"host: {config.stash[HOST]}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Show each test the host that is meant for its tier."""
    tier = item.path.relative_to(item.config.rootpath / "tests").parts[0]
    item.config.stash[HOSTS].show(machine=tier in ON_THE_MACHINE)


def pytest_unconfigure() -> None:
    """Remove the home that was made."""
    shutil.rmtree(os.environ["HOME"], ignore_errors=True)

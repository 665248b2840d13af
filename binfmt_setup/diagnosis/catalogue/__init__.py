"""Every finding about a host, each code once: what is the case, how bad it is.

A rule (`judge`, `failed_probes`, `working_entries`, `security`) makes these, `report.words` has
their sentences, `docs/findings.md` explains each, and `tests/cases` has a host for each.
"""

from binfmt_setup.diagnosis.catalogue.emulators import *  # noqa: F403 - one name for all
from binfmt_setup.diagnosis.catalogue.next_boot import *  # noqa: F403 - one name for all
from binfmt_setup.diagnosis.catalogue.probes import *  # noqa: F403 - one name for all
from binfmt_setup.diagnosis.catalogue.registry import *  # noqa: F403 - one name for all

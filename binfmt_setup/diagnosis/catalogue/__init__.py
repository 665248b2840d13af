"""Every finding about a host, each code once: what is the case, how bad it is.

A rule (`judge`, `failed_probes`, `working_entries`, `security`) makes these, `report.words` has
their sentences, `docs/findings.md` explains each, and `tests/cases` has a host for each. A topic
is loaded when its first finding is made: a host in order needs none of them.
"""

from __future__ import annotations

from binfmt_setup.model.modules import module_named

TOPICS = ("registry", "emulators", "probes", "next_boot")
TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.diagnosis.catalogue.emulators import *  # noqa: F403 - one name for all
    from binfmt_setup.diagnosis.catalogue.next_boot import *  # noqa: F403 - one name for all
    from binfmt_setup.diagnosis.catalogue.probes import *  # noqa: F403 - one name for all
    from binfmt_setup.diagnosis.catalogue.registry import *  # noqa: F403 - one name for all
else:

    def __getattr__(name: str) -> type:
        for topic in TOPICS if name[:1].isupper() else ():
            found = vars(module_named(f"{__name__}.{topic}")).get(name)
            if found is not None:
                return found
        raise AttributeError(f"no finding is called {name}")

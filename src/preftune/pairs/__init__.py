"""Preference data, offline: check, convert, split, fix, export for SFT.

The names are bound on first use: a process that scans a part of a file imports no more than that takes. No module has
the name of a public function, for importing the module would hide the function.
"""

from preftune.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from preftune.pairs.advice import Advice as Advice
    from preftune.pairs.advice import advise as advise
    from preftune.pairs.conversion import Conversion as Conversion
    from preftune.pairs.conversion import convert as convert
    from preftune.pairs.conversion import read as read
    from preftune.pairs.finding import Finding as Finding
    from preftune.pairs.inspection import check as check
    from preftune.pairs.measures import Stats as Stats
    from preftune.pairs.pair import PreferencePair as PreferencePair
    from preftune.pairs.repair import Fixed as Fixed
    from preftune.pairs.repair import fix as fix
    from preftune.pairs.report import Report as Report
    from preftune.pairs.sft import SftExport as SftExport
    from preftune.pairs.sft import to_sft as to_sft
    from preftune.pairs.splitting import Split as Split
    from preftune.pairs.splitting import split as split
    from preftune.pairs.summary import Summary as Summary
    from preftune.pairs.summary import merge as merge
    from preftune.pairs.summary import scan as scan

_HOMES = {
    "Advice": "advice",
    "Conversion": "conversion",
    "Finding": "finding",
    "Fixed": "repair",
    "PreferencePair": "pair",
    "Report": "report",
    "SftExport": "sft",
    "Split": "splitting",
    "Stats": "measures",
    "Summary": "summary",
    "advise": "advice",
    "check": "inspection",
    "convert": "conversion",
    "fix": "repair",
    "merge": "summary",
    "read": "conversion",
    "scan": "summary",
    "split": "splitting",
    "to_sft": "sft",
}

__all__ = [*_HOMES]

if not TYPE_CHECKING:  # pragma: no branch - a checker that saw this would let every misspelt name pass
    __getattr__, __dir__ = lazily(__name__, globals(), _HOMES)

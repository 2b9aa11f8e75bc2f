"""Preference data, offline: read, check, convert, export for SFT."""

from preftune.pairs.check import check
from preftune.pairs.convert import Conversion, convert, read
from preftune.pairs.finding import Finding, Report
from preftune.pairs.pair import PreferencePair
from preftune.pairs.sft import to_sft

__all__ = ["Conversion", "Finding", "PreferencePair", "Report", "check", "convert", "read", "to_sft"]

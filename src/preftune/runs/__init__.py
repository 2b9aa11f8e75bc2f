"""Reading a run: what its curves say, its pictures, its rows on disk."""

from preftune.api.models import MetricRow
from preftune.runs.diagnose import Diagnosis, Match, Method, diagnose, method_of
from preftune.runs.panels import panels
from preftune.runs.rows import load, save, wire_rows

__all__ = [
    "Diagnosis", "Match", "Method", "MetricRow", "diagnose", "load", "method_of", "panels", "save", "wire_rows",
]  # fmt: skip

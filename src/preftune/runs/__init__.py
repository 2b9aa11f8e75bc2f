"""Reading a run: what its curves say, its pictures, its rows on disk."""

from preftune.api.models import MetricRow
from preftune.runs.compare import By, Comparison, compare
from preftune.runs.diagnose import Diagnosis, Match, Method, diagnose, method_of
from preftune.runs.panels import panels
from preftune.runs.rows import load, save, to_pandas, wire_rows
from preftune.runs.run import Run, fetch

__all__ = [
    "By", "Comparison", "Diagnosis", "Match", "Method", "MetricRow", "Run", "compare", "diagnose", "fetch", "load",
    "method_of", "panels", "save", "to_pandas", "wire_rows",
]  # fmt: skip

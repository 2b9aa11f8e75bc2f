"""Reading a run: what its curves say, its pictures, its rows on disk."""

from preftune.api.models import MetricRow
from preftune.runs.diagnose import Diagnosis, Match, diagnose
from preftune.runs.panels import panels
from preftune.runs.rows import load, save

__all__ = ["Diagnosis", "Match", "MetricRow", "diagnose", "load", "panels", "save"]

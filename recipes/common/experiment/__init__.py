"""The frame of an experiment: settings, arms, measurements, claims, and a report."""

from recipes.common.experiment.frame import (
    Experiment,
    Settings,
    grid,
)
from recipes.common.experiment.reading import by, select
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import (
    Table,
    format_number,
    format_percent,
    format_spread,
)
from recipes.common.experiment.words import Verdict

__all__ = [
    "Experiment",
    "Settings",
    "Table",
    "Verdict",
    "by",
    "format_number",
    "format_percent",
    "format_spread",
    "grid",
    "select",
    "setting",
]

"""The frame of an experiment: settings, arms, measurements, claims, and a report."""

from recipes.common.experiment.frame import (
    Claim,
    Experiment,
    Settings,
    format_claims,
    grid,
)
from recipes.common.experiment.reading import select
from recipes.common.experiment.settings import setting
from recipes.common.experiment.tables import Table, format_number, format_percent

__all__ = [
    "Claim",
    "Experiment",
    "Settings",
    "Table",
    "format_claims",
    "format_number",
    "format_percent",
    "grid",
    "select",
    "setting",
]

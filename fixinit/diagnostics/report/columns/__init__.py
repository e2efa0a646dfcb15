"""Columns of a report that are measured where they are asked for."""

from fixinit.diagnostics.report.columns.columns import (
    MEASURES,
    Columns,
    check_measures,
)
from fixinit.diagnostics.report.columns.cost import COSTS, Cost, bytes_of, costs
from fixinit.diagnostics.report.columns.distribution import Histogram
from fixinit.diagnostics.report.columns.flops import register_flops

__all__ = [
    "COSTS",
    "MEASURES",
    "Columns",
    "Cost",
    "Histogram",
    "bytes_of",
    "check_measures",
    "costs",
    "register_flops",
]

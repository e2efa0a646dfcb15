"""Doctor of training programs: findings before `fit`, and a monitor during it."""

from fixinit.diagnostics.doctor.alarm import Alarm
from fixinit.diagnostics.doctor.check import check
from fixinit.diagnostics.doctor.diagnose import diagnose
from fixinit.diagnostics.doctor.monitor import Monitor

__all__ = ["Alarm", "Monitor", "check", "diagnose"]

"""Faulty, repaired and healthy programs in which a doctor is to be measured."""

from benchmarks.doctor.cases.healthy import ORDINARY
from benchmarks.doctor.cases.projects import PROJECTS
from benchmarks.doctor.cases.questions import QUESTIONS
from benchmarks.doctor.cases.residual import RESIDUAL

CASES = [*QUESTIONS, *PROJECTS]
HEALTHY = [*ORDINARY, *RESIDUAL]

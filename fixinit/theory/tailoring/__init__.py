"""Activations made to measure for a network: TAT and DKS.

`subnetworks` reads off a model how its activations follow one another, `targets` turns
what a network is to have into what one activation is to have, `solving` finds the
constants for that, and `tailored` puts the three together.
"""

from fixinit.theory.tailoring.subnetworks import SubnetworkMaximum
from fixinit.theory.tailoring.tailored import shaped, shaped_at_most, tailored
from fixinit.theory.tailoring.targets import METHODS, local_target, most_local

__all__ = [
    "METHODS",
    "SubnetworkMaximum",
    "local_target",
    "most_local",
    "shaped",
    "shaped_at_most",
    "tailored",
]

"""Diseases of training programs, and whether the remedies of the doctor work."""

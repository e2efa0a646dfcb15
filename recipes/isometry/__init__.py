"""Singular values of the Jacobian with depth, and the edge of chaos."""

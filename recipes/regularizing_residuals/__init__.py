"""Regularizers of residual networks, side by side."""

"""Comparison of schemes over depths and learning rates, and its report."""

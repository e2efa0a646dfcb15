"""Panels that figures share."""

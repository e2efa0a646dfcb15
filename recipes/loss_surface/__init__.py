"""Slices of the loss, with and without shortcuts."""

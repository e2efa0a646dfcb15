"""What is left of a trained network when its depth is doubled."""

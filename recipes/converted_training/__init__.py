"""Networks with BatchNorm, trained as they are and converted."""

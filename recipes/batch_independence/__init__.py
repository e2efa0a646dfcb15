"""What BatchNorm couples, and training without normalization does not."""

"""Whether gradients shatter, and why notebook 11.1 does not see it."""

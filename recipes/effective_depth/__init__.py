"""How deep a residual network is in effect."""

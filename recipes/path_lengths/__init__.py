"""Which paths through a residual network carry its gradient."""

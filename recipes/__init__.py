"""Experiments with fixinit: scripts with flags that write results to a directory."""

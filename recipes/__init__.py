"""Experiments with fixinit: scripts with flags that write results to a directory."""

import os

# Before Keras is imported, and TensorFlow with it, which is talkative.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

"""Findings that a scheme may be published to repair."""

# The kinds of `fixinit.diagnostics.Verdict` that another scheme can change.
FINDINGS = (
    "exploding",
    "vanishing",
    "exploding_gradients",
    "vanishing_gradients",
    "collapsed",
)

"""Findings that a scheme may be published to repair, and who repairs them."""

from fixinit import schemes
from fixinit._validation import check_choice

# The kinds of `fixinit.diagnostics.Verdict` that another scheme can change.
FINDINGS = (
    "exploding",
    "vanishing",
    "exploding_gradients",
    "vanishing_gradients",
    "collapsed",
)


def remedies(finding: str) -> list[str]:
    """Returns the names of the registered schemes that are published for a finding.

    Example:

    >>> fixinit.schemes.remedies("exploding")[0]
    'fixup'

    Args:
        finding: `"exploding"` or `"vanishing"` (the mean square of the activations
            grows or shrinks exponentially from block to block),
            `"exploding_gradients"` or `"vanishing_gradients"` (that of the gradients
            does, on the way back), or `"collapsed"` (different inputs have nearly the
            same representation).

    Returns:
        List of strings, in the order of `fixinit.schemes.names()`: schemes whose
        `remedies` hold the finding.

    Raises:
        ValueError: If `finding` is unknown.
    """
    check_choice("finding", finding, FINDINGS)
    return [name for name in schemes.names() if finding in schemes.get(name).remedies]

"""How figures look: one style per scheme, and settings fit for publication.

The colors of the schemes that `compare_stability` compares differ in lightness by at
least 7 units of CIE L* and stay apart for color-blind readers, so a figure also reads
when it is printed in grey. There is no room for more. Line style and marker tell all
schemes apart a second time.
"""

import zlib

from fixinit import _plotting
from fixinit._plotting import INK, MUTED, RC_PARAMS, publication

__all__ = ["INK", "MUTED", "RC_PARAMS", "new_figure", "publication", "scheme_style"]

# From dark to light, then those that no figure shows by default. The label is what
# people call the method.
_STYLES = {
    "unnormalized": ("#1a1a1a", "-", "*", "He init alone"),
    "tailored": ("#0d3316", "-.", "<", "TAT"),
    "batch_norm": ("#3b2f9b", "--", "s", "BatchNorm"),
    "fixup": ("#c0242e", "-", "o", "Fixup"),
    "scaled_residual": ("#00877a", "-.", "^", "Scaled residual"),
    "skip_init": ("#cc79b4", "--", "D", "SkipInit"),
    "rezero": ("#f0a030", ":", "v", "ReZero"),
    "normalized_sum": ("#86d0f2", "-", "P", "Normalized sum"),
    "normalizer_free": ("#6a8f1f", "--", "X", "Normalizer-free"),
    "layer_scale": ("#9a6a00", "-.", ">", "LayerScale"),
    "zero_init": ("#4f4f6b", ":", "d", "ZerO"),
    "idinit": ("#a0395f", (0, (1, 1)), "8", "IDInit"),
    "pre_layer_norm": ("#6b2fb3", (0, (6, 2)), "h", "Pre-LayerNorm"),
    "post_layer_norm": ("#a889d6", (0, (6, 2, 1, 2)), (3, 1, 0), "Post-LayerNorm"),
    "pre_rms_norm": ("#4a7bd0", (0, (3, 1)), (4, 1, 0), "Pre-RMSNorm"),
    "layer_norm_scaling": (
        "#8d5a97",
        (0, (4, 2, 1, 2)),
        (6, 1, 0),
        "LayerNorm Scaling",
    ),
    "deep_norm": ("#27496d", (0, (2, 1)), (7, 0, 0), "DeepNorm"),
    "t_fixup": ("#e0662f", (0, (5, 2)), (8, 1, 0), "T-Fixup"),
    "dyt": ("#2d6ca2", (0, (4, 1, 1, 1)), "H", "DyT"),
    "derf": ("#d9622b", (0, (2, 2)), "p", "Derf"),
}

# For schemes of the user's own: other colors, line styles and markers than above.
_OTHER_COLORS = ("#5b3a1e", "#2e6f2a", "#8a5fc4", "#b08d57", "#7f9c3a", "#e58a7b")
_OTHER_LINESTYLES = ((0, (5, 1, 1, 1, 1, 1)), (0, (3, 2)), (0, (8, 2)), "-")
# Stars and polygons, as tuples of their corners, kind and angle.
_OTHER_MARKERS = ((5, 1, 36), (3, 0, 90), (9, 1, 0))

# In inches: five entries of a legend side by side.
_MIN_WIDTH = 7.5


def scheme_style(name):
    """The color, line style, marker and label of a scheme, the same everywhere.

    Example:

    >>> scheme_style("fixup")["label"]
    'Fixup'
    >>> scheme_style("my_scheme") == scheme_style("my_scheme")
    True

    Args:
        name: String. A name from `fixinit.schemes.names()`, or any other: that
            gets a style which depends on nothing but the name.

    Returns:
        A dict with the keys `color`, `linestyle`, `marker` and `label`.
    """
    name = str(name)
    if name in _STYLES:
        color, linestyle, marker, label = _STYLES[name]
    else:
        # Not `hash`, which differs from one process to the next.
        digest = zlib.crc32(name.encode())
        digest, index = divmod(digest, len(_OTHER_COLORS))
        color = _OTHER_COLORS[index]
        digest, index = divmod(digest, len(_OTHER_LINESTYLES))
        linestyle = _OTHER_LINESTYLES[index]
        marker = _OTHER_MARKERS[digest % len(_OTHER_MARKERS)]
        label = name
    return {"color": color, "linestyle": linestyle, "marker": marker, "label": label}


def new_figure(num_rows, num_columns, width=7.5, row_height=2.6, **kwargs):
    """A figure and its axes, independent of pyplot and of any display.

    Args:
        num_rows: int. Number of rows of panels.
        num_columns: int. Number of panels in a row.
        width: float. Width of the figure in inches, raised to what a legend takes.
        row_height: float. Height of a row of panels in inches.
        **kwargs: Arguments of `matplotlib.figure.Figure.subplots`.

    Returns:
        `(figure, axes)`, where `axes` is an array of shape
        `(num_rows, num_columns)`.
    """
    return _plotting.new_figure(
        num_rows, num_columns, max(width, _MIN_WIDTH), row_height, **kwargs
    )

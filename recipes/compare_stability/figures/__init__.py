"""The figures of a comparison, one a file, each a function of the results.

A module's `draw(results)` returns a `matplotlib.figure.Figure`, or `None` where the
results hold nothing to draw. `TITLE`, `CAPTION` and `ALT` say what it shows.
"""

from recipes.common.plotting.figure import Figure
from recipes.compare_stability.figures import (
    gradient_norms,
    learning_rate_map,
    training_curves,
    variance_growth,
)

# In the order in which a reader needs them.
ALL = tuple(
    Figure(name, module.draw, module.TITLE, module.CAPTION, module.ALT)
    for name, module in {
        "variance_growth": variance_growth,
        "gradient_norms": gradient_norms,
        "learning_rate_map": learning_rate_map,
        "training_curves": training_curves,
    }.items()
)

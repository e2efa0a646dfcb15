import itertools
import subprocess
import sys

import matplotlib
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb

from fixinit import schemes
from recipes.common.plotting import style
from recipes.compare_stability.settings import SCHEMES


def lightness(color):
    """CIE L* of a color: what is left of it in grey."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in to_rgb(color)
    ]
    luminance = sum(
        w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )
    return 116 * luminance ** (1 / 3) - 16


def test_every_scheme_of_the_library_has_a_style_of_its_own():
    styles = [style.scheme_style(name) for name in schemes.names()]
    for key in ("color", "marker", "label"):
        assert len({s[key] for s in styles}) == len(styles), key
    # A label is for people; the fallback would repeat the name.
    for name, found in zip(schemes.names(), styles, strict=True):
        assert found["label"] != name


def test_colors_of_compared_schemes_differ_in_grey():
    names = [*SCHEMES, "normalized_sum"]
    values = sorted(lightness(style.scheme_style(name)["color"]) for name in names)
    assert min(b - a for a, b in itertools.pairwise(values)) > 7
    # The lightest still shows on white paper.
    assert values[-1] < 85


@pytest.mark.slow
def test_unknown_scheme_has_the_same_style_in_every_process():
    code = (
        "from recipes.common.plotting import style; print(style.scheme_style('mine'))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == str(style.scheme_style("mine"))
    assert style.scheme_style("mine")["label"] == "mine"
    known = {style.scheme_style(name)["color"] for name in schemes.names()}
    assert style.scheme_style("mine")["color"] not in known


def test_settings_of_matplotlib_are_restored_after_an_error():
    before = dict(matplotlib.rcParams)
    with pytest.raises(RuntimeError), style.publication():
        assert matplotlib.rcParams["savefig.dpi"] >= 150
        raise RuntimeError
    assert dict(matplotlib.rcParams) == before


def test_figures_leave_pyplot_alone():
    style.new_figure(1, 2)
    assert pyplot.get_fignums() == []

"""Packaging of fixinit: `pip install .`, with extras as in `pip install .[recipes]`."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (ROOT / "fixinit/__init__.py").read_text()
).group(1)

EXTRAS = {
    "recipes": [
        "filelock",
        "jinja2",
        "markdown-it-py",
        "matplotlib",
        "mnist1d",
        "scikit-learn",
        "tensorboard",
    ],
    "diagnostics": ["jinja2", "matplotlib"],
    "jax": ["jax"],
    "torch": ["torch"],
    "test": [
        "build",
        "hypothesis",
        "keras-hub",
        "mypy",
        "pytest>=9",
        "pytest-xdist",
        "ruff",
    ],
}

setup(
    name="fixinit",
    version=VERSION,
    description="Very deep residual networks without normalization, on Keras 3",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["fixinit", "fixinit.*"]),
    package_data={"fixinit": ["py.typed", "diagnostics/report/templates/*.html"]},
    install_requires=[
        # MultiOptimizer and OptimizerMap came with Keras 3.15. The upper bound is what
        # tests/test_keras_private.py has passed on.
        "keras>=3.15,<3.16",
        "tensorflow>=2.16.1",
        "numpy>=1.26",
        "rich",
        "scipy>=1.11.1",
        "absl-py",
    ],
    extras_require=EXTRAS,
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)

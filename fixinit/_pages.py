"""HTML pages of the library and of the recipes. Needs Jinja, when called."""

import pathlib
from typing import Any


def environment(folder: str | pathlib.Path) -> Any:
    """Makes the Jinja environment for the templates of a folder.

    It escapes HTML in values and refuses variables that a template misses.

    Raises:
        ImportError: If Jinja is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(
            'Pages need Jinja: pip install "fixinit[diagnostics]".'
        ) from error
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )

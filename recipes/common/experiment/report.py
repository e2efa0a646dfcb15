"""Reports: one HTML file that needs no network and no script."""

import base64
import pathlib
import shlex

from fixinit import _pages
from recipes.common.experiment import reading as read
from recipes.common.experiment.files import replacing

_TEMPLATES = pathlib.Path(__file__).parent / "templates"


def write_report(template, results, figures, output_dir, **context):
    """Writes `report.html`, with the figures inside it.

    Args:
        template: Name of a template that extends `report.html`.
        results: dict. The content of results.json.
        figures: What `recipes.common.plotting.figure.draw_all` returns.
        output_dir: Path. Directory to write to; it is made where it is missing.
        **context: What the template shows beside title, figures and flags.

    Returns:
        The `pathlib.Path` of the report.
    """
    html = render(
        template,
        title=results.get("title") or results.get("recipe") or "Results",
        byline=_byline(results),
        figures=[{"figure": f, "uri": embed_png(path)} for f, path in figures],
        command=[shlex.quote(word) for word in _command(results)],
        config=_facts(results.get("config")),
        environment=_facts(results.get("environment")),
        **context,
    )
    path = pathlib.Path(output_dir) / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path


def render(template, **context):
    """Fills a template of `recipes/common/experiment/templates`; values are escaped."""
    environment = _pages.environment(_TEMPLATES)
    return environment.get_template(template).render(context)


def embed_png(path):
    """A PNG as a data URI, which a browser opens without another file."""
    data = base64.b64encode(pathlib.Path(path).read_bytes()).decode("ascii")
    return f"data:image/png;base64,{data}"


def _command(results):
    """The words of the command that gives these results again."""
    words = ["python", "-m", f"recipes.{results.get('recipe', 'compare_stability')}"]
    backend = (results.get("environment") or {}).get("backend") or "tensorflow"
    if backend != "tensorflow":
        words.insert(0, f"KERAS_BACKEND={backend}")
    for name, value in (results.get("config") or {}).items():
        if value is None:
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no{name}")
        elif isinstance(value, (list, tuple)):
            words.append(f"--{name}={','.join(map(str, value))}")
        else:
            words.append(f"--{name}={value}")
    return words


def _byline(results):
    environment = results.get("environment") or {}
    parts = [f"Recipe {results.get('recipe', 'compare_stability')}"]
    if results.get("started"):
        parts.append(f"started {results['started']}")
    if results.get("seconds") is not None:
        minutes, seconds = divmod(round(read.number(results["seconds"])), 60)
        parts.append(f"took {minutes} min {seconds} s")
    if environment.get("fixinit"):
        parts.append(f"fixinit {environment['fixinit']}")
    return " · ".join(parts)


def _facts(values):
    def text(value):
        if isinstance(value, (list, tuple)):
            return ", ".join(map(str, value))
        return "not set" if value is None else str(value)

    return [(name, text(value)) for name, value in (values or {}).items()]

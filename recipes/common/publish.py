"""What every recipe that compares networks does when they are trained."""

from recipes.common import plots, report, summary


def publish(results, recipe, title, arm_ids):
    """Writes results.json, the figures and the report, and prints the table.

    Args:
        results: `recipes.common.results.Results`.
        recipe: Name of the recipe.
        title: Title of the report.
        arm_ids: Ids of the arms, in the order of the report.

    Returns:
        dict. The content of results.json.
    """
    content = results.finish(recipe, title, arm_ids)
    print(f"\n{summary.format_table(summary.summarize(content))}\n", flush=True)
    figures = plots.draw_all(content, results.path)
    print(f"Report: {report.write_report(content, figures, results.path)}")
    return content

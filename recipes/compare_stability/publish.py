"""Results, figures and report of networks that were compared."""

from recipes.common.plotting import figure as plots
from recipes.compare_stability import figures, ranking, report, summary


def publish(results, title, arm_ids):
    """Writes results.json, the figures and the report, and prints the table.

    Args:
        results: `recipes.common.experiment.results.Results`.
        title: Title of the report.
        arm_ids: Ids of the arms, in the order of the report.

    Returns:
        dict. The content of results.json.
    """
    content = results.content(title, arm_ids)
    results.finish(content, [row(arm) for arm in content["arms"]])
    rows = summary.summarize(content)
    print(f"\n{summary.format_table(rows)}\n", flush=True)
    print(f"{ranking.format_table(ranking.ranking(content, rows))}\n", flush=True)
    drawn = plots.draw_all(figures.ALL, content, results.path)
    path = report.write_report(content, drawn, results.path)
    print(f"Report: {path}")
    return content


def row(arm):
    """One arm as a row of results.csv: what people look at first."""
    final = arm["epochs"][-1] if arm["epochs"] else {}
    initial = arm["initial"] or {}
    diverged = arm["diverged"] or {}
    keys = ("id", "kind", "scheme", "depth", "num_blocks", "learning_rate", "seed")
    curves = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    return {
        **{key: arm[key] for key in (*keys, "parameters")},
        "epochs": len(arm["epochs"]),
        **{f"final_{key}": final.get(key) for key in curves},
        "diverged_step": diverged.get("step"),
        "diverged_reason": diverged.get("reason"),
        "initial_loss": initial.get("loss"),
        "initial_gradient_norm": initial.get("gradient_norm"),
        "growth": _growth(initial.get("mean_square")),
        "predicted_growth": _growth(initial.get("predicted")),
        "steps_per_second": arm["steps_per_second"],
        "peak_memory_mb": arm["peak_memory_mb"],
        "seconds": arm["seconds"],
    }


def _growth(curve):
    """The mean square after the last block over that of the first one's input."""
    return curve[-1] / curve[0] if curve and curve[0] else None

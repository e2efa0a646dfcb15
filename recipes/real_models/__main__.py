"""Converts published networks, and looks for what a conversion does not say.

    pip install keras-hub
    python -m recipes.real_models

Backbones of keras-hub, one network of every family of keras.applications, and
architectures as people write them, of layers of their own.
"""

import dataclasses

import keras
import numpy as np

import fixinit
from recipes.common import experiment
from recipes.common.experiment import Table, Verdict, format_number, setting
from recipes.common.experiment.reading import number
from recipes.common.training import conversion
from recipes.real_models import checks
from recipes.real_models.batches import batch
from recipes.real_models.networks import NETWORKS, ORIGINS, check_name, origin

# In float32, of the largest output.
FOLDED = 1e-4
FIGURES = ("converts", "trains", "nothing_silent")


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    models: tuple[str, ...] = setting(
        tuple(NETWORKS),
        "Networks: backbones of keras-hub, of keras.applications, and examples.",
        quick=("ConvMixer",),
        check=check_name,
    )
    schemes: tuple[str, ...] = setting(
        ("fixup",), "Schemes to convert with.", choices=fixinit.schemes.names()
    )


def arms(settings):
    return experiment.grid(scheme=settings.schemes, model=settings.models)


def random_targets(network, x, seed):
    """Normal numbers as large as the outputs, and `None` for whole numbers."""
    rng = np.random.default_rng([seed, 1])

    def draw(y):
        y = keras.ops.convert_to_numpy(y)
        if not np.issubdtype(y.dtype, np.floating):
            return None
        size = np.sqrt(np.mean(y**2)) or 1.0
        return rng.normal(0, size, y.shape).astype("float32")

    return keras.tree.map_structure(draw, network(x, training=False))


def measure(settings, scheme, model):
    chosen = NETWORKS[model]
    network = chosen.build()
    data = batch(network, settings.seed, chosen.shapes) if chosen.shapes else None
    measured = {"origin": origin(model), "parameters": network.count_params()}
    try:
        free = conversion.convert(network, scheme, seed=settings.seed, data=data)
    except (ValueError, TypeError) as error:
        # Refusals name the layer and the reason; other errors are none.
        return {**measured, "refused": str(error).splitlines()[0]}
    x = batch(free, settings.seed, chosen.shapes)
    targets = random_targets(network, x, settings.seed)
    original = checks.Original.of(network, x, targets, data)
    findings, found = checks.silent_changes(original, free, chosen.blocks, x, targets)
    # The network has trained, so that its statistics are not those of the start.
    folding = checks.folding_error(network, original, x, data)
    if folding is not None and not folding < FOLDED:
        findings.append(f"folded: predictions differ by {folding:.2g}")
    return {
        **measured,
        "refused": "",
        "assumptions": len(free.conversion["assumptions"]),
        "findings": findings,
        "losses_before": original.losses,
        "folding_error": folding,
        **found,
    }


def figures_of(arm):
    """Which of the three hold for an arm."""
    if arm["refused"]:
        return dict.fromkeys(FIGURES, False)
    losses = [number(loss) for loss in arm["losses"]]
    return {
        "converts": True,
        "trains": bool(np.all(np.isfinite(losses)) and losses[-1] < losses[0]),
        "nothing_silent": not arm["findings"],
    }


def tables(results):
    found = results["arms"]
    rows = []
    for scheme in dict.fromkeys(arm["scheme"] for arm in found):
        for name in (*ORIGINS, "all"):
            chosen = [
                arm
                for arm in found
                if arm["scheme"] == scheme and name in (arm["origin"], "all")
            ]
            if chosen:
                sums = [sum(figures_of(a)[f] for a in chosen) for f in FIGURES]
                rows.append((scheme, name, len(chosen), *sums))
    titles = ("scheme", "origin", "networks", "convert", "train", "nothing silent")
    return [Table("figures", titles, rows), Table.of("networks", found, _columns())]


def _columns():
    def answer(figure):
        return lambda arm: "yes" if figures_of(arm)[figure] else "no"

    def squares(arm):
        return " to ".join(format_number(number(x)) for x in arm.get("squares", []))

    def losses(arm):
        ends = arm.get("losses", [])[:: checks.STEPS - 1]
        return ", ".join(format_number(number(loss)) for loss in ends)

    return {
        "network": "model",
        "origin": "origin",
        "scheme": "scheme",
        "parameters": "parameters",
        "blocks": lambda arm: arm.get("blocks", "–"),
        "L": lambda arm: arm.get("num_branches", "–"),
        "mean squares": squares,
        "loss, first and last": losses,
        "converts": answer("converts"),
        "trains": answer("trains"),
        "nothing silent": answer("nothing_silent"),
        "what": lambda arm: arm["refused"] or "; ".join(arm["findings"]),
    }


def claims(results):
    found = results["arms"]
    for figure in FIGURES:
        wanted = (
            found if figure == "converts" else [a for a in found if not a["refused"]]
        )
        held = [arm for arm in wanted if figures_of(arm)[figure]]
        others = [arm["model"] for arm in wanted if arm not in held]
        counts = {"networks": len(wanted), "count": len(held), "others": others}
        least = 0.95 * len(wanted) if figure == "converts" else len(wanted)
        yield Verdict(figure, len(held) >= least, **counts)
    errors = {a["model"]: number(a.get("folding_error")) for a in found}
    errors = {name: error for name, error in errors.items() if not np.isnan(error)}
    if errors:
        worst = max(errors, key=errors.get)
        yield Verdict(
            "folds",
            errors[worst] < FOLDED,
            networks=len(errors),
            worst=worst,
            error=errors[worst],
        )


EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, {}
)

if __name__ == "__main__":
    EXPERIMENT.start()

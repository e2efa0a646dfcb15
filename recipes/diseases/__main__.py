"""Diseases of training programs: what the doctor says, and whether its remedy works.

python -m recipes.diseases
"""

import dataclasses
import functools

import keras
import numpy as np
from matplotlib.ticker import LogLocator, NullLocator

from recipes.common import experiment
from recipes.common.experiment import Table, Verdict, format_percent, setting
from recipes.common.experiment.reading import numbers as as_array
from recipes.common.plotting import panels, style
from recipes.common.plotting.variants import variant
from recipes.diseases import programs
from recipes.diseases.catalogue import DISEASES, GRADIENT, REFUSED
from recipes.diseases.training import train
from recipes.diseases.treatment import Patient, by_layer

STATES = {
    "faulty": variant("as written", "#c0242e", "--", "s"),
    "mended": variant("mended", "#00877a", "-", "o"),
}


@dataclasses.dataclass(frozen=True)
class Settings(experiment.Settings):
    diseases: tuple[str, ...] = setting(
        tuple(DISEASES), "Diseases to treat, in this order.", choices=tuple(DISEASES)
    )
    steps: int = setting(150, "Steps of training.", quick=30, at_least=5)
    runs: int = setting(3, "Seeds of every program.", quick=1)


def arms(settings):
    return experiment.grid(disease=settings.diseases)


def measure(settings, disease):
    seeds = range(settings.seed, settings.seed + settings.runs)
    runs = [measure_run(settings, disease, seed) for seed in seeds]
    first = runs[0]["mended"]
    measured = {"printed": first.pop("printed"), "applied": first["applied"]}
    measured["found"] = [run["mended"]["found"] for run in runs]
    measured["left"] = [run["mended"]["left"] for run in runs]
    for state in STATES:
        for name in ("layers", "losses", "qualities"):
            measured[f"{state}_{name}"] = [run[state][name] for run in runs]
    return measured


def measure_run(settings, disease, seed):
    """What the faulty and the mended program give, by the names of `STATES`."""
    of, data = DISEASES[disease], programs.digits()
    measured = {}
    for state in STATES:
        # Layers get the names that they have in a program of their own.
        keras.utils.clear_session()
        keras.utils.set_random_seed(seed)
        program = getattr(programs, disease)(*data)
        few = of.batch_size if of.batch_size < 32 else None
        patient = Patient(*program, batch_size=few)
        found = patient.left[0].kind if patient.left else "healthy"
        content = {"printed": patient.printed, "found": found}
        if state == "mended":
            patient.treat()
        content |= {
            "applied": [finding.kind for finding in patient.applied],
            "left": [finding.kind for finding in patient.left],
            "layers": by_layer(patient, of.shows),
        }
        every = max(1, settings.steps // 15)
        content["losses"], content["qualities"] = train(
            *(patient.model, patient.x, patient.y, of.batch_size),
            *(settings.steps, every, seed, disease in REFUSED),
        )
        measured[state] = content
    return measured


def last(arm, state):
    """Quality of every run at its end."""
    return np.array([run[-1] for run in arm[f"{state}_qualities"]])


def claims(results):
    for arm in results["arms"]:
        of = DISEASES[arm["disease"]]
        faulty, mended = last(arm, "faulty"), last(arm, "mended")
        numbers = {"label": of.label, "faulty": faulty, "mended": mended}
        numbers |= {"kind": of.kind, "runs": len(faulty), **arm}
        right = [found == of.kind for found in arm["found"]]
        yield Verdict("is_named", all(right), **numbers | {"right": sum(right)})
        left = sorted({kind for run in arm["left"] for kind in run})
        yield Verdict("advice_ends", not left, **numbers | {"left": left})
        yield Verdict("learns_better", (mended > faulty).all(), **numbers)


def tables(results):
    def quality(state):
        def cell(arm):
            found = last(arm, state)
            spread = found.std(ddof=1) if len(found) > 1 else np.nan
            return format_percent(found.mean(), spread)

        return cell

    columns = {
        "disease": lambda arm: DISEASES[arm["disease"]].label,
        "first finding": lambda arm: arm["found"][0],
        "remedies applied": lambda arm: ", ".join(arm["applied"]) or "none",
        "as written (%)": quality("faulty"),
        "mended (%)": quality("mended"),
    }
    return [Table.of("qualities", results["arms"], columns, labels=3)]


def draw(results, disease):
    found = [arm for arm in results["arms"] if arm["disease"] == disease]
    if not found:
        return None
    (arm,) = found
    figure, ((layers, losses, qualities),) = style.new_figure(1, 3, row_height=2.2)
    every = max(1, results["config"]["steps"] // 15)
    for state, drawn in STATES.items():
        look, bare = drawn.look, drawn.look | {"marker": ""}
        rows = as_array(arm[f"{state}_layers"][0])
        layers.plot(np.where(rows > 0, rows, np.nan), **look)
        losses.plot(as_array(arm[f"{state}_losses"][0]), **bare)
        curve = 100 * np.mean(arm[f"{state}_qualities"], axis=0)
        qualities.plot(every * np.arange(len(curve)), curve, label=drawn.label, **look)
    what = "gradient" if DISEASES[disease].shows == GRADIENT else "activation"
    layers.set(yscale="log", xlabel="layer", title=f"mean square of {what}s")
    layers.xaxis.get_major_locator().set_params(integer=True)
    losses.set(yscale="log", xlabel="step", title="loss of the batch")
    for axis in (layers, losses):
        label_decades(axis)
    measure = "variance explained" if disease == "raw_targets" else "accuracy"
    qualities.set(ylim=(-5, 105), xlabel="step", title=f"{measure} (%)")
    panels.legend_below(figure, qualities.get_lines())
    return figure


def label_decades(axis):
    """Gives a logarithmic axis a decade at least, and labels that can be read."""
    low, high = axis.get_ylim()
    if high < 10 * low:
        middle = (low * high) ** 0.5
        low, high = middle / 10**0.5, middle * 10**0.5
        axis.set_ylim(low, high)
    if high < 100 * low:
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axis.yaxis.set_minor_locator(NullLocator())


FIGURES = {name: functools.partial(draw, disease=name) for name in DISEASES}

EXPERIMENT = experiment.Experiment(
    __file__, Settings, arms, measure, claims, tables, FIGURES
)

if __name__ == "__main__":
    EXPERIMENT.start()

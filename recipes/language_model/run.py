"""One training run: text, network, schedule and samples, from the settings."""

import pathlib

from recipes.common.training import compute, devices, resumable
from recipes.common.training.schedule import warmup_and_cosine
from recipes.language_model import corpus, samples, text
from recipes.language_model.epochs import Measures
from recipes.language_model.model import build_model, compile_model
from recipes.language_model.run_directory import SAMPLES, RunDirectory
from recipes.language_model.windows import TrainingWindows, validation_windows


def run(settings, output_dir=None, restart=False):
    """Trains a language model, from its last finished epoch on.

    Args:
        settings: `recipes.language_model.settings.Settings`.
        output_dir: Optional path of the output directory.
        restart: bool. Whether to remove an earlier run and start over.

    Returns:
        What `results.json` holds.

    Raises:
        ValueError, TypeError, OSError: Before training, if the settings ask for what
            cannot be done, or the output directory holds another run.
        TrainingDiverged: If the loss becomes NaN or infinite.
    """
    compute.start(settings)
    found = corpus.load(settings)
    vocabulary = found.vocabulary
    samples.new_tokens(settings, vocabulary)
    steps, batch_size = settings.steps_per_epoch, settings.batch_size
    batches = TrainingWindows(
        found.train, settings.length, batch_size, steps, settings.seed
    )
    schedule = warmup_and_cosine(settings, steps)
    scope, num_devices = devices.data_parallel()
    devices.check(settings, num_devices)
    validation = validation_windows(
        found.validation, settings.length, settings.validation_windows, num_devices
    )
    with scope:
        model = build_model(settings, vocabulary.size)
        jit_compile = devices.jit_compile(settings.jit_compile, num_devices)
        compile_model(model, settings, schedule, jit_compile)
        directory = RunDirectory(
            output_dir or default_output_dir(settings),
            settings.of_training(),
            restart,
            text=found.digest,
            vocabulary=vocabulary.characters,
        )
        rows = directory.restore(model)
    print(
        f"{model.name}: {model.count_params():,} parameters, {len(found.train):,} "
        f"tokens of {vocabulary.size}, {directory.path}"
    )
    tokens = steps * batch_size * settings.length
    resumable.fit_rest(
        model,
        settings,
        directory,
        batches,
        schedule,
        rows,
        callbacks=[Measures(tokens, settings.tokens == "bytes")],
        validation_data=validation,
    )
    samples.write(model, settings, vocabulary, directory.path / SAMPLES)
    return resumable.finish(
        model,
        settings,
        directory,
        rows,
        num_devices,
        vocabulary=vocabulary.characters,
    )


def default_output_dir(settings):
    """results/language_model/ and a name that tells runs apart at a glance."""
    name = f"{text.name(settings.dataset)}_{settings.tokens}_{settings.scheme}"
    return pathlib.Path("results/language_model", f"{name}_seed{settings.seed}")

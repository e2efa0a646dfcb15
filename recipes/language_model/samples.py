"""Texts that a trained network writes."""

import numpy as np

from recipes.common.experiment.files import replacing


def new_tokens(settings, vocabulary):
    """How many tokens go behind the prompt, checked before anything is trained.

    Raises:
        ValueError: If the prompt is empty, or the network has not as many positions.
    """
    prompt, most = len(vocabulary.encode(settings.prompt)), settings.length
    if not prompt:
        raise ValueError(
            "--prompt must not be empty: the network goes on from it. Received: "
            "--prompt=''. Give a character, such as a space."
        )
    new = most - prompt if settings.sample_tokens is None else settings.sample_tokens
    if new < 1 or prompt + new > most:
        raise ValueError(
            f"--prompt has {prompt} tokens, and the network sees --length={most}. "
            f"Received: --sample_tokens={settings.sample_tokens}. Shorten the prompt, "
            "ask for fewer tokens, or raise --length."
        )
    return new


def write(model, settings, vocabulary, path):
    """Writes the samples to a file and prints them.

    Args:
        model: The trained `fixinit.models.LanguageModel`.
        settings: `recipes.language_model.settings.Settings`.
        vocabulary: `recipes.language_model.vocabulary.Bytes` or `Characters`.
        path: Path of the file.
    """
    path.unlink(missing_ok=True)
    if not settings.samples:
        return
    prompt = vocabulary.encode(settings.prompt)
    found = model.generate(
        np.tile(prompt, (settings.samples, 1)).astype("int32"),
        new_tokens(settings, vocabulary),
        temperature=settings.temperature,
        top_k=settings.top_k,
        seed=settings.seed,
    )
    texts = "".join(
        f"--- sample {number}\n{vocabulary.decode(tokens)}\n"
        for number, tokens in enumerate(found, start=1)
    )
    with replacing(path) as temporary:
        temporary.write_text(texts, encoding="utf-8")
    print(texts)

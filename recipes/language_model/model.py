"""Network and optimizer of `recipes.language_model`, from its settings."""

import keras

import fixinit
from fixinit.optimizers import Rule

_ARGUMENTS = (
    *("num_blocks", "width", "num_heads", "num_key_value_heads", "scheme", "gated"),
    *("positions", "tied", "use_bias", "query_key_norm", "soft_cap", "dropout_rate"),
    *("stochastic_depth_rate", "seed"),
)
_STACKED = {"auto": "auto", "on": True, "off": False}


def build_model(settings, vocabulary_size):
    """The untrained network that the settings ask for."""
    options = {name: getattr(settings, name) for name in _ARGUMENTS}
    if settings.activation is not None:
        options["activation"] = settings.activation
    return fixinit.models.LanguageModel(
        vocabulary_size,
        max_length=settings.length,
        stacked=_STACKED[settings.stacked],
        **options,
    )


def compile_model(model, settings, schedule, jit_compile):
    """Compiles the model for AdamW by the rules and the clipping of its scheme."""
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=settings.weight_decay,
        beta_2=settings.beta_2,
        global_clipnorm=settings.clip_norm or None,
    )
    kernels = Rule("kernel")
    optimizer.exclude_from_weight_decay(
        [v for v in model.trainable_variables if not kernels.matches(v)]
    )
    model.compile(
        fixinit.schemes.get(settings.scheme).optimizer(optimizer, model),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    # A checkpoint is loaded into an optimizer that has its variables.
    model.optimizer.build(model.trainable_variables)

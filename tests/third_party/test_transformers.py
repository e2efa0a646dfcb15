"""The Transformers are timm's and Hugging Face's: compared with recorded values."""

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from fixinit.diagnostics.report import loss_and_gradients
from tests.marks import on_torch, slow_where_compiled
from third_party import gpt2, timm_vit
from third_party.gpt2 import importer as gpt2_importer
from third_party.timm_vit import importer as vit_importer

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def next_token_loss(tokens, logits):
    return CROSS_ENTROPY(tokens[:, 1:], logits[:, :-1])


# Module, importer, heads, loss, and the prefix of names.
ORIGINS = {
    "vit": (timm_vit, vit_importer, 3, CROSS_ENTROPY, ""),
    "gpt2": (gpt2, gpt2_importer, 4, next_token_loss, "transformer."),
}
RECORDS = [f"{origin}_{kind}" for origin in ORIGINS for kind in ("ln", "dyt", "derf")]


def recorded(name):
    module = ORIGINS[name.partition("_")[0]][0]
    with np.load(pathlib.Path(module.__file__).parent / f"{name}.npz") as file:
        return dict(file)


def with_prefix(values, prefix):
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }


def imported(name, values, **changes):
    module, _, heads, _, _ = ORIGINS[name.partition("_")[0]]
    parameters = with_prefix(values, "param/") | changes
    return module.import_state_dict(parameters, num_heads=heads)


@slow_where_compiled
@pytest.mark.every_backend
@pytest.mark.parametrize("name", RECORDS)
def test_logits_gradients_and_signals(name):
    values = recorded(name)
    _, importer, _, loss, prefix = ORIGINS[name.partition("_")[0]]
    model = imported(name, values)
    x = values["x"]
    logits = model.predict_on_batch(x)
    assert np.max(np.abs(logits - values["logits"])) <= 1e-5
    found, gradients = loss_and_gradients(model, loss)(x, values.get("y", x))
    assert abs(float(found) - values["loss"]) <= 1e-5
    paths = [variable.path for variable in model.trainable_variables]
    ours = dict(zip(paths, map(ops.convert_to_numpy, gradients), strict=True))
    arrays = with_prefix(with_prefix(values, "param/"), prefix)
    names = importer.weight_names(3, arrays)
    compared = 0
    for theirs, value in with_prefix(with_prefix(values, "grad/"), prefix).items():
        pieces = importer.converted(theirs, value, len(names[theirs]))
        for path, piece in zip(names[theirs], pieces, strict=True):
            error = np.max(np.abs(ours[path] - piece))
            assert error <= 1e-4 * np.max(np.abs(value)), theirs
            compared += 1
    assert compared > 40
    ends = [model.get_layer(f"block{index + 1}_mlp").output for index in range(3)]
    tap = keras.Model(model.input, ends)
    squares = [float(np.mean(ops.convert_to_numpy(y) ** 2)) for y in tap(x)]
    np.testing.assert_allclose(squares, values["block_mean_square"], rtol=1e-5)


@on_torch
@pytest.mark.parametrize("name", ["vit_ln", "gpt2_ln"])
def test_kernels_start_as_the_authors_have_them(name):
    """Standard deviations of n numbers: five of their standard errors, twice."""
    values = recorded(name)
    _, importer, _, _, prefix = ORIGINS[name.partition("_")[0]]
    variables = {v.path: v for v in imported(name, values).weights}
    arrays = with_prefix(with_prefix(values, "param/"), prefix)
    names = importer.weight_names(3, arrays)
    heads = ORIGINS[name.partition("_")[0]][2]
    is_vit = name.startswith("vit")
    options = importer._options(arrays, heads, *([None] if is_vit else []))
    make = {"vit": vit_importer.VisionTransformer, "gpt2": gpt2_importer.LanguageModel}
    kind = name.partition("_")[0]
    extra = {"variant": None} if kind == "vit" else {"embedding_scale": None}
    fresh = make[kind](**options, **extra, stacked=False, seed=0)
    fresh = {v.path: ops.convert_to_numpy(v) for v in fresh.weights}
    assert fresh.keys() == variables.keys()
    compared = 0
    for theirs, std in with_prefix(with_prefix(values, "init_std/"), prefix).items():
        if theirs.endswith("cls_token") or theirs.startswith("patch_embed"):
            continue
        if arrays[theirs].ndim < 2:
            assert (
                std
                == np.concatenate([fresh[path].ravel() for path in names[theirs]]).std()
            )
            continue
        drawn = np.concatenate([fresh[path].ravel() for path in names[theirs]])
        assert drawn.std() == pytest.approx(std, rel=10 / np.sqrt(2 * drawn.size))
        compared += 1
    assert compared >= 13


@on_torch
@pytest.mark.parametrize("name", ["vit_dyt", "gpt2_derf"])
def test_pytorch_tensors_and_half_precision(name):
    torch = pytest.importorskip("torch")
    values = recorded(name)
    half = {
        f"param/{n}": torch.nn.Parameter(torch.tensor(v).bfloat16())
        for n, v in with_prefix(values, "param/").items()
    }
    model = imported(name, half)
    logits = model.predict_on_batch(values["x"])
    assert np.max(np.abs(logits - values["logits"])) < 0.1


@on_torch
def test_masks_and_heads_of_older_files():
    values = recorded("gpt2_ln")
    table = values["param/transformer.wte.weight"]
    old = {
        "h.0.attn.bias": np.ones((1, 1, 24, 24)),
        "h.0.attn.masked_bias": np.array(-1e4),
        "lm_head.weight": table,
    }
    imported("gpt2_ln", values, **old)
    with pytest.raises(ValueError, match="That of GPT-2 is tied"):
        imported("gpt2_ln", values, **{"lm_head.weight": table + 1})


@on_torch
@pytest.mark.parametrize("name", ["vit_ln", "gpt2_ln"])
def test_what_is_another_network_is_listed(name):
    values = recorded(name)
    _, _, _, _, prefix = ORIGINS[name.partition("_")[0]]
    with pytest.raises(ValueError, match=r"(?s)unknown.*") as caught:
        imported(name, values, **{f"{prefix}unknown": np.zeros(3)})
    assert "not one of" in str(caught.value)
    module = ORIGINS[name.partition("_")[0]][0]
    with pytest.raises(ValueError, match="Missing"):
        module.import_state_dict({"a": np.zeros(1)})
    with pytest.raises(TypeError, match="must be a dict"):
        module.import_state_dict([1, 2])


@on_torch
@pytest.mark.parametrize("name", ["vit_ln", "gpt2_ln"])
def test_heads_are_asked_for_where_no_published_width_tells_them(name):
    module = ORIGINS[name.partition("_")[0]][0]
    values = with_prefix(recorded(name), "param/")
    with pytest.raises(ValueError, match="`num_heads` is needed.*width 48"):
        module.import_state_dict(values)
    key = "pos_embed" if name == "vit_ln" else "transformer.wpe.weight"
    with pytest.raises(ValueError, match="of another shape. Expected"):
        module.import_state_dict({**values, key: np.zeros(3)}, num_heads=3)

import keras
import numpy as np
import pytest

import fixinit
from fixinit import graph
from fixinit.diagnostics._shared.subject import Subject
from fixinit.diagnostics.paths.chain import Chain, model_chain


def dense_block(x, name, branch=None):
    branch = keras.layers.Dense(4, name=f"{name}_weight") if branch is None else branch
    return keras.layers.Add(name=name)([x, branch(x)])


def functional(*blocks):
    x = inputs = keras.Input((4,))
    for name in blocks:
        x = dense_block(x, name)
    return keras.Model(inputs, x)


def test_blocks_are_found_in_order_in_any_model():
    chain = model_chain(Subject(functional("first", "second")))
    assert chain.names == ["first", "second"]
    assert {n: int(i) for n, (_, i) in chain.merges.items()} == {
        "first": 0,
        "second": 1,
    }


def test_a_stack_counts_its_blocks_one_by_one():
    model = fixinit.models.ResNet1D(
        (3, 2), (4, 8), input_shape=(8, 1), seed=0, stacked=True
    )
    chain = model_chain(Subject(model))
    plain = fixinit.models.ResNet1D(
        (3, 2), (4, 8), input_shape=(8, 1), seed=0, stacked=False
    )
    assert len(chain) == len(model_chain(Subject(plain))) == 5
    controls = chain.controls(np.arange(5))
    assert sorted(np.concatenate([c.ravel() for c in controls.values()])) == [*range(5)]


def test_stacks_of_several_blocks_and_stacks_in_stacks():
    two = fixinit.layers.Stack(functional("first", "second"), 3, name="two")
    inner = fixinit.layers.Stack(
        fixinit.layers.ResidualBlock([keras.layers.Dense(4)]), 2, name="inner"
    )
    outer = fixinit.layers.Stack(inner, 2, name="outer")
    inputs = keras.Input((4,))
    chain = model_chain(Subject(keras.Model(inputs, outer(two(inputs)))))
    assert chain.names[:3] == ["two[0]/first", "two[0]/second", "two[1]/first"]
    assert chain.names[6:8] == ["outer[0]/inner[0]", "outer[0]/inner[1]"]
    indices = {name: i.tolist() for name, (_, i) in chain.merges.items()}
    assert indices["two/first"] == [0, 2, 4] and indices["two/second"] == [1, 3, 5]
    assert [[6, 7], [8, 9]] in indices.values()


def test_blocks_inside_of_a_branch_are_part_of_it():
    inputs = keras.Input((4,))
    inner = functional("inner")
    x = dense_block(inputs, "outer", branch=inner)
    chain = model_chain(Subject(keras.Model(inputs, dense_block(x, "last"))))
    assert chain.names == ["outer", "last"]


def test_blocks_side_by_side_are_refused():
    inputs = keras.Input((4,))
    sides = [dense_block(inputs, "left"), dense_block(inputs, "right")]
    model = keras.Model(inputs, keras.layers.Concatenate()(sides))
    with pytest.raises(ValueError, match="`left` and `right` stand side by side"):
        model_chain(Subject(model))


def test_models_without_blocks_are_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match="no residual block"):
        model_chain(Subject(model))
    stack = fixinit.layers.Stack(keras.layers.Dense(4), depth=3)
    model = keras.Sequential([keras.Input((4,)), stack])
    assert not Chain(graph.trace(model))
    with pytest.raises(ValueError, match="or in one"):
        model_chain(Subject(model))
    plain = fixinit.models.ResidualMLP(2, 4, scheme="batch_norm", plain=True)
    with pytest.raises(ValueError, match="plain=False"):
        model_chain(Subject(plain))


def test_blocks_of_a_stack_that_is_called_twice():
    inputs = keras.Input((8,))
    block = fixinit.layers.ResidualBlock([keras.layers.Dense(8)])
    stack = fixinit.layers.Stack(block, 2, name="stack")
    model = keras.Model(inputs, stack(stack(inputs)))
    x = np.ones((3, 8), "float32")
    injure = fixinit.diagnostics.Lesion(model)
    assert injure.names == ["stack[0]", "stack[1]", "stack:2[0]", "stack:2[1]"]
    np.testing.assert_allclose(
        injure(x, drop=[0, 1]), keras.ops.convert_to_numpy(stack(x)), rtol=1e-5
    )
    with pytest.raises(ValueError, match=r"`stack\[1\]` cannot.*called more than once"):
        injure(x, order=[1, 0, 2, 3])

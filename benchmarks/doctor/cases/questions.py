"""Faulty programs of questions on Stack Overflow, by way of DeepLocalize and DeepFD.

DeepLocalize (DL): Wardat et al., 2021. DeepFD: Cao et al., 2022.
"""

from benchmarks.doctor.cases import signals, tables
from benchmarks.doctor.cases.program import Data, Program, case

DAMAGE = "c16x3:relu P2 c16x3:relu P2 c32x3:relu P2 F D64:relu X.5"


def damage() -> Data:
    x, y = signals.pictures(48, 3, 300, hot=False)
    return x, y.astype("float32")[:, None]


QUESTIONS = [
    case(
        "xor_mae",
        "DeepFD, DL: 31556268",
        "loss lr_low optimizer epochs",
        Program(
            lambda: tables.xor(4), (2,), "D4:sigmoid D1:sigmoid", "mae", "sgd:.05:.11n"
        ),
        {"loss": "mse", "optimizer": "adam:.01"},
        batch=4,
        steps=500,
    ),
    case(
        "linear_softmax1",
        "DeepFD, DL: 33969059",
        "last_activation input_scale target_scale lr_high init",
        Program(
            tables.large_linear,
            (3,),
            "D3:tanh:uniform X.5 D2:tanh:uniform X.5 D1:softmax:uniform",
            "mse",
            "sgd:.1:.9n",
        ),
        {
            "layers": "D16:tanh D16:tanh D1",
            "data": lambda: tables.large_linear(scaled=True),
            "optimizer": "sgd:.01:.9n",
        },
    ),
    case(
        "multilabel_softmax",
        "DeepFD, DL: 38648195",
        "last_activation loss epochs",
        Program(
            tables.several_labels,
            (20,),
            "D20:relu X.5 D20:relu X.5 D3:softmax",
            "mse",
            "sgd",
        ),
        {
            "layers": "D20:relu X.5 D20:relu X.5 D3:sigmoid",
            "loss": "binary_crossentropy",
        },
        batch=20,
    ),
    case(
        "sine_direction",
        "DL: 41372874",
        "units init",
        Program(
            tables.direction,
            (2,),
            "D2:relu:uniform D2:relu:uniform D1:sigmoid:uniform",
            "binary_crossentropy",
        ),
        {"layers": "D16:relu D16:relu D1:sigmoid"},
        visible=False,
        batch=2,
    ),
    case(
        "steps_softmax1",
        "DeepFD, DL: 45337371",
        "last_activation",
        Program(
            signals.steps,
            (5, 1),
            "D60:relu D50:relu D1:softmax",
            "binary_crossentropy",
        ),
        {"layers": "D60:relu D50:relu D1:sigmoid"},
    ),
    case(
        "adult",
        "DeepFD, DL: 47724077",
        "input_scale optimizer epochs",
        Program(tables.adult, (14,), "D21:relu D2:softmax", "categorical_crossentropy"),
        {"data": lambda: tables.adult(scaled=True)},
        batch=100,
    ),
    case(
        "mnist_linear_mse_lr3",
        "DeepFD, DL: 48385830",
        "no_nonlinearity last_activation loss lr_high init",
        Program(
            signals.digits,
            (784,),
            "D30:-:standard_normal D10:-:standard_normal",
            "mse",
            "sgd:3",
        ),
        {
            "layers": "D30:sigmoid D10:softmax",
            "loss": "categorical_crossentropy",
            "optimizer": "sgd:.5",
        },
        batch=10,
    ),
    case(
        "damage_3class_sigmoid1",
        "DeepFD, DL: 50079585",
        "units last_activation loss",
        Program(
            damage,
            (48, 48, 3),
            f"{DAMAGE} D1:sigmoid",
            "binary_crossentropy",
            "rmsprop",
        ),
        {
            "layers": f"{DAMAGE} D3:softmax",
            "loss": "categorical_crossentropy",
            "data": lambda: signals.pictures(48, 3, 300),
        },
        batch=16,
        steps=60,
    ),
    case(
        "quartic",
        "DeepFD, DL: 52800582",
        "input_scale target_scale",
        Program(
            lambda: tables.curve(lambda x: x**4, -100, 100),
            (1,),
            "D50:sigmoid D50:elu D1",
            "mse",
        ),
        {"data": lambda: tables.curve(lambda x: x**4, -100, 100, scaled=True)},
        batch=400,
    ),
    case(
        "iris_sigmoid_cce_b",
        "DeepFD, DL: 59278771",
        "last_activation optimizer",
        Program(
            tables.iris,
            (4,),
            "D4:relu:normal D3:sigmoid:normal",
            "categorical_crossentropy",
        ),
        {
            "layers": "D4:selu D3:softmax",
            "data": lambda: tables.iris(scaled=True),
            "optimizer": "adam:.01",
        },
        batch=5,
    ),
    # DeepFD names fault and repair; the networks are guessed from the posts.
    case(
        "text_bce_softmax",
        "DeepFD: 41327601",
        "loss",
        Program(
            lambda: signals.words(classes=6, labels="one_hot"),
            (40,),
            "E1000x32 K64x5:relu g D64:relu X.4 D6:softmax",
            "binary_crossentropy",
            "adamax",
            "int32",
        ),
        {"loss": "categorical_crossentropy"},
        batch=64,
        steps=150,
    ),
    case(
        "regression_bce",
        "DeepFD: 46642627",
        "loss input_scale target_scale optimizer lr_high",
        Program(
            tables.linear,
            (5,),
            "D16:relu D8:relu D1",
            "binary_crossentropy",
            "sgd:.01",
        ),
        {
            "loss": "mse",
            "optimizer": "adam",
            "data": lambda: tables.linear(scaled=True),
        },
    ),
    case(
        "cnn_sgd_slow",
        "DeepFD: 56380303",
        "optimizer lr_low",
        Program(
            lambda: signals.pictures(samples=300),
            (32, 32, 3),
            "c16x3:relu P2 c32x3:relu P2 F D64:relu D10:softmax",
            "categorical_crossentropy",
            "sgd",
        ),
        {"optimizer": "adam:.001"},
        visible=False,
        steps=60,
    ),
]

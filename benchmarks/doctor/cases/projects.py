"""Faulty programs of repositories, of AUTOTRAINER and of single questions.

DeepLocalize (DL): Wardat et al., 2021. DeepFD: Cao et al., 2022. AUTOTRAINER: Zhang et
al., 2021.
"""

from benchmarks.doctor.cases import signals, tables
from benchmarks.doctor.cases.program import Program, case

SERIES = "K16x4 BN LR X.2 K8x4 BN LR X.2 F D64 BN LR"
PROJECTS = [
    case(
        "ddos",
        "DeepFD, DL: DDOS-ML-Detection",
        "layers",
        Program(
            tables.connections,
            (41,),
            "D22:relu:uniform X.4 D64:relu X.4 D128:relu X.4 D64:relu X.4 D5:softmax",
            "categorical_crossentropy",
        ),
        {"layers": "D64:relu X.2 D64:relu X.2 D5:softmax"},
        visible=False,
    ),
    case(
        "traffic_signs",
        "DeepFD, DL: Traffic-Sign-Classifier",
        "hidden_activation",
        Program(
            lambda: signals.pictures(samples=300),
            (32, 32, 3),
            "c3x1:relu c16x5x2:relu c32x3:relu P2 c64x3:relu c128x3:relu F X.5 "
            "D128:relu X.5 D10:softmax",
            "categorical_crossentropy",
        ),
        {
            "layers": "c3x1:sigmoid c16x5x2:elu c32x3:elu P2 c64x3:elu c128x3:elu F "
            "X.5 D128:elu X.5 D10:softmax"
        },
        visible=False,
        batch=64,
        steps=60,
    ),
    case(
        "house_prices",
        "DeepFD, DL: kaggle-melbourne",
        "target_scale hidden_activation",
        Program(
            tables.house,
            (30,),
            "D20:tanh:glorot_normal D20:tanh:glorot_normal D1",
            "mae",
        ),
        {
            "layers": "D20:relu:he_normal D20:relu:he_normal D1",
            "data": lambda: tables.house(scaled=True),
        },
    ),
    case(
        "pima_unscaled",
        "DeepFD, DL: kerasma",
        "input_scale layers",
        Program(
            tables.pima, (8,), "D12:relu D8:relu D1:sigmoid", "binary_crossentropy"
        ),
        {"data": lambda: tables.pima(scaled=True)},
        batch=10,
    ),
    case(
        "blob_batch1",
        "AUTOTRAINER: oscillating loss",
        "batch_size lr_high",
        Program(
            tables.three_blobs,
            (2,),
            "D50:relu:he_uniform D3:softmax",
            "categorical_crossentropy",
            "sgd:.01:.9",
        ),
        {"optimizer": "sgd:.001:.9"},
        visible=False,
        batch=1,
    ),
    case(
        "series_softmax1",
        "Stack Overflow: binary CNN that always predicts 1",
        "last_activation",
        Program(signals.walks, (10, 4), f"{SERIES} D1:softmax", "binary_crossentropy"),
        {"layers": f"{SERIES} D1:sigmoid"},
        batch=128,
        steps=150,
    ),
    case(
        "logits_as_probabilities",
        "GitHub: introtodeeplearning, issue 122",
        "from_logits",
        Program(
            lambda: signals.digits((28, 28, 1), hot=False, samples=512),
            (28, 28, 1),
            "c24x3:relu P2 c36x3:relu P2 F D128:relu D10",
            "sparse_categorical_crossentropy",
            "sgd:.01",
        ),
        {"loss": "sparse_categorical_crossentropy_logits"},
        batch=12,
        steps=120,
    ),
    case(
        "lpcnet_logits",
        "GitHub: LPCNet, issue 97",
        "from_logits",
        Program(
            lambda: signals.words(256, 20, 256, 8, labels="classes"),
            (20,),
            "E256x32 G32 D8",
            "sparse_categorical_crossentropy",
            dtype="int32",
        ),
        {"loss": "sparse_categorical_crossentropy_logits"},
        steps=100,
    ),
]

"""Small versions of published networks of keras-hub, with random weights."""

IMAGE = (32, 32, 3)
TEXT = {
    "vocabulary_size": 60,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
}
SHORT = {**TEXT, "max_sequence_length": 12}
GROUPED = {
    "vocabulary_size": 60,
    "num_layers": 2,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
}
PATCHES = {
    "patch_size": 8,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "image_shape": IMAGE,
}
# Class of `keras_hub.models` to its arguments.
BACKBONES = {
    "BertBackbone": SHORT,
    "RobertaBackbone": SHORT,
    "DistilBertBackbone": SHORT,
    "AlbertBackbone": {**SHORT, "embedding_dim": 8},
    "ElectraBackbone": {
        "vocab_size": 60,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 16,
        "embedding_dim": 8,
        "intermediate_dim": 32,
        "max_sequence_length": 12,
    },
    "DebertaV3Backbone": {**SHORT, "bucket_size": 8},
    "FNetBackbone": {k: v for k, v in SHORT.items() if k != "num_heads"},
    "GPT2Backbone": SHORT,
    "GPTNeoXBackbone": TEXT,
    "OPTBackbone": SHORT,
    "BloomBackbone": TEXT,
    "LlamaBackbone": GROUPED,
    "MistralBackbone": GROUPED,
    "GemmaBackbone": {**GROUPED, "head_dim": 4},
    "QwenBackbone": GROUPED,
    "Phi3Backbone": GROUPED,
    "T5Backbone": TEXT,
    "BartBackbone": SHORT,
    "WhisperBackbone": {
        **TEXT,
        "num_mels": 8,
        "max_encoder_sequence_length": 12,
        "max_decoder_sequence_length": 12,
    },
    "ViTBackbone": {**PATCHES, "mlp_dim": 32},
    "DeiTBackbone": {**PATCHES, "intermediate_dim": 32},
    "DINOV2Backbone": {**PATCHES, "intermediate_dim": 32},
    "MiTBackbone": {
        "layerwise_depths": [1, 1],
        "num_layers": 2,
        "layerwise_num_heads": [1, 2],
        "layerwise_sr_ratios": [4, 2],
        "max_drop_path_rate": 0.1,
        "layerwise_patch_sizes": [7, 3],
        "layerwise_strides": [4, 2],
        "hidden_dims": [8, 16],
        "image_shape": IMAGE,
    },
    "ResNetBackbone": {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 64],
        "stackwise_num_blocks": [2, 2],
        "stackwise_num_strides": [1, 2],
        "block_type": "basic_block",
        "image_shape": IMAGE,
    },
    "DenseNetBackbone": {
        "stackwise_num_repeats": [2, 2],
        "growth_rate": 8,
        "image_shape": IMAGE,
    },
    "EfficientNetBackbone": {
        "stackwise_kernel_sizes": [3, 3],
        "stackwise_num_repeats": [1, 2],
        "stackwise_input_filters": [8, 8],
        "stackwise_output_filters": [8, 16],
        "stackwise_expansion_ratios": [1, 4],
        "stackwise_strides": [1, 2],
        "stackwise_squeeze_and_excite_ratios": [0.25, 0.25],
        "stackwise_block_types": ["v1", "v1"],
        "stackwise_width_coefficients": [1.0, 1.0],
        "stackwise_depth_coefficients": [1.0, 1.0],
        "stackwise_force_input_filters": [0, 0],
        "stackwise_nores_option": [False, False],
        "input_shape": IMAGE,
    },
    "HGNetV2Backbone": {
        "depths": [1, 1],
        "embedding_size": 8,
        "hidden_sizes": [16, 16],
        "stem_channels": [3, 8, 8],
        "hidden_act": "relu",
        "use_learnable_affine_block": False,
        "stackwise_stage_filters": [[8, 8, 16, 1, 2, 3], [16, 8, 16, 1, 2, 3]],
        "apply_downsample": [False, True],
        "use_lightweight_conv_block": [False, False],
        "image_shape": IMAGE,
    },
    "XceptionBackbone": {
        "stackwise_conv_filters": [[8, 16], [16, 16, 16]],
        "stackwise_pooling": [True, False],
        "image_shape": IMAGE,
    },
    "VGGBackbone": {
        "stackwise_num_repeats": [1, 1],
        "stackwise_num_filters": [8, 16],
        "image_shape": IMAGE,
    },
}


def build(name):
    """A backbone with random weights; Keras's global seed draws them."""
    import keras_hub  # an extra

    return getattr(keras_hub.models, name)(**BACKBONES[name])


def check_name(name):
    if name not in BACKBONES:
        raise ValueError(f"must be one of {', '.join(BACKBONES)}")

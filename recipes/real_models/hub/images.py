"""Networks that read images."""

from recipes.real_models.hub.parts import backbones, part

IMAGE, LARGER = (32, 32, 3), (64, 64, 3)
ANY = (None, None, 3)
PATCHES = {
    "patch_size": 8,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "image_shape": IMAGE,
}
MIT = {
    "layerwise_depths": [1, 1, 1, 1],
    "num_layers": 4,
    "layerwise_num_heads": [1, 1, 2, 2],
    "layerwise_sr_ratios": [8, 4, 2, 1],
    "max_drop_path_rate": 0.1,
    "layerwise_patch_sizes": [7, 3, 3, 3],
    "layerwise_strides": [4, 2, 2, 2],
    "hidden_dims": [4, 8, 16, 32],
    "image_shape": LARGER,
}
RESNET = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 64],
    "stackwise_num_blocks": [2, 2],
    "stackwise_num_strides": [1, 2],
    "block_type": "basic_block",
    "image_shape": IMAGE,
}
# Four levels, as for what is built on top of it.
PYRAMID = {
    **RESNET,
    "stackwise_num_filters": [64] * 4,
    "stackwise_num_blocks": [1] * 4,
    "stackwise_num_strides": [1, 2, 2, 2],
}
HGNET = {
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
}
EFFICIENT = {
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
}
MOBILE = {
    "stackwise_expansion": [[16, 24], [24, 32]],
    "stackwise_num_blocks": [2, 2],
    "stackwise_num_filters": [[8, 8], [16, 16]],
    "stackwise_kernel_size": [[3, 3], [5, 5]],
    "stackwise_num_strides": [[2, 1], [2, 1]],
    "stackwise_se_ratio": [[None, None], [0.25, 0.25]],
    "stackwise_activation": [["relu", "relu"], ["hard_swish", "hard_swish"]],
    "stackwise_padding": [[1, 1], [2, 2]],
    "output_num_filters": 32,
    "input_num_filters": 8,
    "depthwise_filters": 8,
    "depthwise_stride": 2,
    "depthwise_residual": False,
    "last_layer_filter": 32,
    "squeeze_and_excite": 0.5,
    "image_shape": LARGER,
}
# An inverted bottleneck by one convolution, universal ones, attention.
MOBILE_V5 = {
    "stackwise_block_types": [["er"], ["uir", "uir"], ["mqa", "uir"]],
    "stackwise_num_blocks": [1, 2, 2],
    "stackwise_num_filters": [[8], [16, 16], [16, 16]],
    "stackwise_strides": [[2], [2, 1], [1, 1]],
    "stackwise_act_layers": [["gelu"], ["gelu"] * 2, ["gelu"] * 2],
    "stackwise_exp_ratios": [[4.0], [4.0, 4.0], [1.0, 2.0]],
    "stackwise_se_ratios": [[0.0], [0.0] * 2, [0.0] * 2],
    "stackwise_dw_kernel_sizes": [[0], [5, 5], [3, 0]],
    "stackwise_dw_start_kernel_sizes": [[0], [3, 3], [0, 0]],
    "stackwise_dw_end_kernel_sizes": [[0], [0, 0], [0, 0]],
    "stackwise_exp_kernel_sizes": [[3], [0, 0], [0, 0]],
    "stackwise_pw_kernel_sizes": [[1], [0, 0], [0, 0]],
    "stackwise_num_heads": [[0], [0, 0], [2, 0]],
    "stackwise_key_dims": [[0], [0, 0], [8, 0]],
    "stackwise_value_dims": [[0], [0, 0], [8, 0]],
    "stackwise_kv_strides": [[0], [0, 0], [1, 0]],
    "stackwise_use_cpe": [[False], [False] * 2, [False] * 2],
    "use_msfa": False,
    "num_features": 32,
    "image_shape": LARGER,
    "layer_scale_init_value": 1e-5,
}
DFINE = {
    "backbone": part(
        "HGNetV2Backbone",
        **{
            **HGNET,
            "use_learnable_affine_block": True,
            "use_lightweight_conv_block": [False, True],
            "image_shape": ANY,
            "out_features": ["stage1", "stage2"],
        },
    ),
    "decoder_in_channels": [16, 16],
    "encoder_hidden_dim": 16,
    "num_denoising": 0,
    "num_labels": 4,
    "hidden_dim": 16,
    "learn_initial_query": False,
    "num_queries": 6,
    "anchor_image_size": (64, 64),
    "feat_strides": [4, 8],
    "num_feature_levels": 2,
    "encoder_in_channels": [16, 16],
    "encode_proj_layers": [1],
    "num_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "num_encoder_layers": 1,
    "hidden_expansion": 0.5,
    "depth_multiplier": 0.5,
    "eval_idx": -1,
    "num_decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 32,
    "decoder_n_points": [2, 2],
    "lqe_hidden_dim": 8,
    "num_lqe_layers": 2,
    "out_features": ["stage1", "stage2"],
    "image_shape": LARGER,
    "seed": 0,
}
VIT_DET = {
    "hidden_size": 16,
    "num_layers": 2,
    "intermediate_dim": 32,
    "num_heads": 2,
    "global_attention_layer_indices": [1],
    "patch_size": 8,
    "num_output_channels": 8,
    "window_size": 2,
    "image_shape": IMAGE,
}
DINO = {**PATCHES, "intermediate_dim": 32}

IMAGES = backbones(
    ViTBackbone=(4, {**PATCHES, "mlp_dim": 32}),
    DeiTBackbone=(4, DINO),
    DINOV2Backbone=(4, DINO),
    DINOV3Backbone=(4, DINO),
    ViTDetBackbone=(4, VIT_DET),
    SwinTransformerBackbone=(
        8,
        {
            "image_shape": IMAGE,
            "embed_dim": 8,
            "depths": (2, 2),
            "num_heads": (2, 2),
            "window_size": 4,
            "patch_size": 2,
        },
    ),
    MiTBackbone=(8, MIT),
    SegFormerBackbone=(
        8,
        {"image_encoder": part("MiTBackbone", **MIT), "projection_filters": 16},
    ),
    VideoPrismBackbone=(
        8,
        {
            "num_frames": 4,
            "patch_size": 8,
            "hidden_dim": 16,
            "intermediate_dim": 32,
            "num_heads": 2,
            "num_spatial_layers": 2,
            "num_temporal_layers": 2,
            "num_auxiliary_layers": 0,
            "image_shape": IMAGE,
        },
    ),
    DepthAnythingBackbone=(
        None,
        {
            "image_encoder": part(
                "DINOV2Backbone",
                **{
                    **DINO,
                    "num_layers": 4,
                    "image_shape": LARGER,
                    "position_embedding_shape": LARGER,
                },
            ),
            "reassemble_factors": [4, 2, 1, 0.5],
            "neck_hidden_dims": [8, 8, 16, 16],
            "fusion_hidden_dim": 16,
            "head_hidden_dim": 8,
            "head_in_index": -1,
            "feature_keys": ["stage1", "stage2", "stage3", "stage4"],
        },
    ),
    ResNetBackbone=(4, RESNET),
    DenseNetBackbone=(
        0,
        {"stackwise_num_repeats": [2, 2], "growth_rate": 8, "image_shape": IMAGE},
    ),
    EfficientNetBackbone=(2, EFFICIENT),
    HGNetV2Backbone=(0, HGNET),
    # Neither the first stage nor the last has a shortcut.
    XceptionBackbone=(
        1,
        {
            "stackwise_conv_filters": [[8, 16], [16, 32], [32, 64]],
            "stackwise_pooling": [False, True, False],
            "image_shape": IMAGE,
        },
    ),
    VGGBackbone=(
        0,
        {
            "stackwise_num_repeats": [1, 1],
            "stackwise_num_filters": [8, 16],
            "image_shape": IMAGE,
        },
    ),
    CSPNetBackbone=(
        3,
        {
            "stem_filters": 8,
            "stem_kernel_size": 3,
            "stem_strides": 1,
            "stackwise_depth": [1, 2],
            "stackwise_strides": [1, 2],
            "stackwise_num_filters": [16, 32],
            "stage_type": "dark",
            "block_type": "dark_block",
            "image_shape": IMAGE,
        },
    ),
    MobileNetBackbone=(2, MOBILE),
    MobileNetV5Backbone=(3, MOBILE_V5),
    DeepLabV3Backbone=(
        4,
        {
            "image_encoder": part(
                "ResNetBackbone", **{**PYRAMID, "image_shape": LARGER}
            ),
            "projection_filters": 8,
            "low_level_feature_key": "P2",
            "spatial_pyramid_pooling_key": "P5",
            "upsampling_size": 8,
            "dilation_rates": [1, 2, 3],
            "image_shape": LARGER,
        },
    ),
    # Two of them are sums of levels of the pyramid.
    RetinaNetBackbone=(
        6,
        {
            "image_encoder": part(
                "ResNetBackbone", **{**PYRAMID, "image_shape": LARGER}
            ),
            "min_level": 3,
            "max_level": 7,
            "use_p5": True,
            "use_fpn_batch_norm": True,
            "image_shape": LARGER,
        },
    ),
    BASNetBackbone=(
        None,
        {
            "image_encoder": part("ResNetBackbone", **{**PYRAMID, "image_shape": ANY}),
            "num_classes": 1,
            "projection_filters": 64,
            "image_shape": IMAGE,
        },
    ),
    DFineBackbone=(None, DFINE),
)

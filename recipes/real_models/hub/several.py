"""Networks that read images, sounds and text."""

from recipes.real_models.hub.images import LARGER, PATCHES, VIT_DET
from recipes.real_models.hub.language import GROUPED, TEXT
from recipes.real_models.hub.parts import backbones, part

VISION = {**PATCHES, "intermediate_dim": 32}
WORDS = {**TEXT, "embedding_dim": 16, "max_sequence_length": 8}


def towers(kind):
    """An encoder of images and one of text."""
    return {
        "vision_encoder": part(f"{kind}VisionEncoder", **VISION),
        "text_encoder": part(f"{kind}TextEncoder", **WORDS),
    }


SAM = {
    "image_encoder": part(
        "ViTDetBackbone", **{**VIT_DET, "patch_size": 16, "image_shape": LARGER}
    ),
    "prompt_encoder": part(
        "SAMPromptEncoder",
        hidden_size=8,
        image_embedding_size=(4, 4),
        input_image_size=(64, 64),
        mask_in_channels=16,
    ),
    "mask_decoder": part(
        "SAMMaskDecoder",
        num_layers=2,
        hidden_size=8,
        intermediate_dim=32,
        num_heads=2,
        embedding_dim=8,
        num_multimask_outputs=3,
        iou_head_depth=3,
        iou_head_hidden_dim=8,
    ),
}
BLIP2 = {
    "vision_encoder": part(
        "BLIP2VisionEncoder",
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        use_patch_bias=True,
        use_class_token=True,
        use_mha_bias=True,
        use_mlp_bias=True,
        dropout_rate=0.0,
        layer_norm_epsilon=1e-6,
        initializer_range=0.02,
    ),
    "qformer": part(
        "BLIP2QFormer",
        num_query_tokens=4,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        vision_dim=16,
        cross_attention_frequency=2,
        dropout=0.0,
        layer_norm_epsilon=1e-6,
    ),
    "language_model": part(
        "BLIP2CustomOPT",
        **TEXT,
        max_sequence_length=24,
        dropout=0.0,
        num_query_tokens=4,
        qformer_hidden_dim=16,
    ),
}
SEVERAL = backbones(
    CLIPBackbone=(8, {**towers("CLIP"), "projection_dim": 16}),
    MetaCLIP2Backbone=(8, {**towers("MetaCLIP2"), "projection_dim": 16}),
    SigLIPBackbone=(9, towers("SigLIP")),
    BLIP2Backbone=(None, BLIP2),
    PaliGemmaBackbone=(
        8,
        {
            **GROUPED,
            "image_size": 32,
            "head_dim": 4,
            "vit_patch_size": 8,
            "vit_num_heads": 2,
            "vit_hidden_dim": 16,
            "vit_num_layers": 2,
            "vit_intermediate_dim": 32,
        },
    ),
    PARSeqBackbone=(
        None,
        {
            "image_encoder": part(
                "ViTBackbone", **PATCHES, mlp_dim=32, use_class_token=False
            ),
            "vocabulary_size": 60,
            "max_label_length": 8,
            "num_decoder_layers": 1,
            "num_decoder_heads": 2,
            "decoder_hidden_dim": 16,
            "decoder_mlp_dim": 32,
        },
    ),
    SAMBackbone=(
        None,
        SAM,
        {
            "points": (2, 2),
            "labels": (2,),
            "boxes": (1, 2, 2),
            "masks": (1, 16, 16, 1),
        },
    ),
    WhisperBackbone=(
        10,
        {
            **TEXT,
            "num_mels": 8,
            "max_encoder_sequence_length": 12,
            "max_decoder_sequence_length": 12,
        },
    ),
    MoonshineBackbone=(
        10,
        {
            "vocabulary_size": 60,
            "filter_dim": 16,
            "encoder_num_layers": 2,
            "decoder_num_layers": 2,
            "hidden_dim": 16,
            "intermediate_dim": 32,
            "encoder_num_heads": 2,
            "decoder_num_heads": 2,
        },
        {"encoder_input_values": (2000, 1), "encoder_padding_mask": (2000,)},
    ),
)

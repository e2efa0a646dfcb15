"""Networks that read and write text."""

from recipes.real_models.hub.parts import backbones

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
EXPERTS = {**GROUPED, "num_experts": 2}


def both(**arguments):
    """Arguments of an encoder and a decoder."""
    sides = ("encoder", "decoder")
    return {f"{s}_{name}": value for s in sides for name, value in arguments.items()}


GEMMA_PAIR = {
    "vocabulary_size": 60,
    **both(
        hidden_dim=16,
        intermediate_dim=32,
        num_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=4,
        layer_types=["full_attention"] * 2,
    ),
}
LANGUAGE = backbones(
    BertBackbone=(4, SHORT),
    RobertaBackbone=(4, SHORT),
    XLMRobertaBackbone=(4, SHORT),
    DistilBertBackbone=(4, SHORT),
    AlbertBackbone=(4, {**SHORT, "embedding_dim": 8}),
    ElectraBackbone=(
        4,
        {
            "vocab_size": 60,
            "num_layers": 2,
            "num_heads": 2,
            "hidden_dim": 16,
            "embedding_dim": 8,
            "intermediate_dim": 32,
            "max_sequence_length": 12,
        },
    ),
    DebertaV3Backbone=(4, {**SHORT, "bucket_size": 8}),
    RoformerV2Backbone=(4, {**TEXT, "head_size": 8}),
    ESMBackbone=(4, SHORT),
    XLNetBackbone=(4, TEXT),
    FNetBackbone=(4, {k: v for k, v in SHORT.items() if k != "num_heads"}),
    GPT2Backbone=(4, SHORT),
    # One sum for attention and MLP.
    GPTNeoXBackbone=(2, TEXT),
    OPTBackbone=(4, SHORT),
    BloomBackbone=(4, TEXT),
    FalconBackbone=(
        4,
        {
            "vocabulary_size": 60,
            "num_layers": 2,
            "num_attention_heads": 2,
            "hidden_dim": 16,
            "intermediate_dim": 32,
        },
    ),
    LlamaBackbone=(4, GROUPED),
    Llama3Backbone=(4, GROUPED),
    MistralBackbone=(4, GROUPED),
    MixtralBackbone=(4, EXPERTS),
    GemmaBackbone=(4, {**GROUPED, "head_dim": 4}),
    Gemma3Backbone=(4, {**GROUPED, "head_dim": 4, "image_size": 32}),
    Gemma4Backbone=(4, {**GROUPED, "head_dim": 4, "image_size": 32}),
    QwenBackbone=(4, GROUPED),
    QwenMoeBackbone=(
        4,
        {
            **EXPERTS,
            "top_k": 2,
            "moe_intermediate_dim": 16,
            "shared_expert_intermediate_dim": 16,
        },
    ),
    Qwen3Backbone=(4, {**GROUPED, "head_dim": 4}),
    Qwen3MoeBackbone=(
        4,
        {**EXPERTS, "top_k": 2, "moe_intermediate_dim": 16, "head_dim": 4},
    ),
    Qwen3_5Backbone=(
        4,
        {
            **GROUPED,
            "head_dim": 8,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
            "linear_key_head_dim": 4,
            "linear_value_head_dim": 4,
            "layer_types": ["linear_attention", "full_attention"],
        },
    ),
    GptOssBackbone=(4, {**EXPERTS, "head_dim": 4}),
    Phi3Backbone=(4, GROUPED),
    SmolLM3Backbone=(
        4,
        {
            "vocabulary_size": 60,
            "hidden_dim": 16,
            "intermediate_dim": 32,
            "num_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "rope_layer_enabled_list": [True] * 2,
            "layer_types": ["attention"] * 2,
            "mlp_bias": False,
            "layer_norm_epsilon": 1e-5,
            "max_position_embeddings": 32,
            "rope_theta": 10000.0,
            "partial_rotary_factor": 1.0,
        },
    ),
    RWKV7Backbone=(
        4,
        {
            "vocabulary_size": 60,
            "num_layers": 2,
            "hidden_size": 16,
            "head_size": 4,
            "intermediate_dim": 32,
            "gate_lora": 4,
            "mv_lora": 4,
            "aaa_lora": 4,
            "decay_lora": 4,
        },
    ),
    # Two blocks in an encoder's layer, three in a decoder's.
    T5Backbone=(10, TEXT),
    BartBackbone=(10, SHORT),
    T5GemmaBackbone=(10, GEMMA_PAIR),
    # A decoder's layer attends to both sides at once.
    T5Gemma2Backbone=(8, GEMMA_PAIR),
    EdRecBackbone=(
        10,
        {
            "vocab_size": 60,
            "num_layers_enc": 2,
            "num_layers_dec": 2,
            "hidden_dim": 16,
            "intermediate_dim": 32,
            "num_heads": 2,
        },
    ),
)

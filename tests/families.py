"""Tiny random models of the families that people bring, built from the library's own configurations. No network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

TOKENS = {"bos_token_id": None, "eos_token_id": 257, "pad_token_id": 258}  # of `conftest.byte_tokenizer` with CHATML
SIZES = {
    "vocab_size": 272,  # a few more than the tokenizer has, as in many real models
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,  # more than a head's share of the hidden size, as in Qwen 3 and Gemma
    "max_position_embeddings": 512,
    "initializer_range": 0.2,  # sharp logits
    "tie_word_embeddings": False,
    **TOKENS,
}
TOWER = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "patch_size": 4}
LARGE, SMALL = 512, 16  # sliding windows: what a test writes fits into one, and not into the other


@dataclass(frozen=True)
class Family:
    """A family's tiny model.

    Attributes:
        name: of the family, or of one of its variants.
        config: a fresh configuration.
        saved_as: the class that real checkpoints are saved from, where AutoModelForCausalLM takes another one or none.
        window: tokens that its narrowest attention reaches back, where one is limited.
        has_states: some layers keep a state (mamba, linear attention, convolution) and not keys and values.
        has_towers: the folder holds a vision tower beside the text decoder.
        has_experts: it has weights of experts, 3D and in no nn.Linear.
        has_sdpa: the class lets torch's scaled dot-product attention be chosen.
        is_causal_lm: AutoModelForCausalLM maps its configuration.
        scaling: the configuration's key by which its logits are more than the output head of the hidden states.
    """

    name: str
    config: Callable[[], PreTrainedConfig]
    saved_as: str | None = None
    window: int | None = None
    has_states: bool = False
    has_towers: bool = False
    has_experts: bool = False
    has_sdpa: bool = True
    is_causal_lm: bool = True
    scaling: str | None = None


def _config(kind: str, **settings: Any) -> Callable[[], PreTrainedConfig]:
    """Of a text model, in the sizes that its kind has a key for."""

    def make() -> PreTrainedConfig:
        import transformers

        cls = getattr(transformers, kind)
        return cls(**{**{key: size for key, size in SIZES.items() if hasattr(cls, key)}, **settings})

    return make


def _composite(
    kind: str, text: Callable[[], PreTrainedConfig], tower: dict[str, Any], **settings: Any
) -> Callable[[], PreTrainedConfig]:
    """Of a text model with a vision tower."""

    def make() -> PreTrainedConfig:
        import transformers

        part = text()
        return getattr(transformers, kind)(
            text_config=part.to_dict(),
            vision_config={**TOWER, **tower},
            tie_word_embeddings=part.tie_word_embeddings,
            **TOKENS,
            **settings,
        )

    return make


def _mistral(window: int) -> Callable[[], PreTrainedConfig]:
    return _config("MistralConfig", sliding_window=window)


def _phi3(window: int) -> Callable[[], PreTrainedConfig]:
    return _config("Phi3Config", sliding_window=window)


def _gemma2(window: int) -> Callable[[], PreTrainedConfig]:
    return _config(
        "Gemma2Config",
        sliding_window=window,
        query_pre_attn_scalar=16,
        final_logit_softcapping=5.0,
        attn_logit_softcapping=5.0,
        tie_word_embeddings=True,
    )


def _gemma3(window: int) -> Callable[[], PreTrainedConfig]:
    layers = ["sliding_attention", "full_attention"]
    tied = {"query_pre_attn_scalar": 16, "tie_word_embeddings": True}
    return _config("Gemma3TextConfig", sliding_window=window, layer_types=layers, **tied)


def _gemma4(window: int) -> Callable[[], PreTrainedConfig]:
    """As E2B and E4B are: inputs for each layer, and last layers that take the keys and values of earlier ones."""
    return _config(
        "Gemma4TextConfig",
        num_hidden_layers=4,
        layer_types=["sliding_attention", "full_attention"] * 2,
        num_kv_shared_layers=2,
        sliding_window=window,
        global_head_dim=32,
        vocab_size_per_layer_input=272,
        hidden_size_per_layer_input=8,
        final_logit_softcapping=5.0,
        tie_word_embeddings=True,
    )


def _olmo3(window: int) -> Callable[[], PreTrainedConfig]:
    return _config("Olmo3Config", sliding_window=window, layer_types=["sliding_attention", "full_attention"])


def _cohere2(window: int) -> Callable[[], PreTrainedConfig]:
    layers = ["sliding_attention", "full_attention"]
    return _config(
        "Cohere2Config", sliding_window=window, layer_types=layers, logit_scale=2.0, tie_word_embeddings=True
    )


def _gpt_oss(window: int) -> Callable[[], PreTrainedConfig]:
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2}
    return _config("GptOssConfig", sliding_window=window, rope_parameters=YARN, **experts)


LINEAR_ATTENTION = {
    "num_hidden_layers": 3,
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
MAMBA = {"mamba_n_heads": 4, "mamba_d_state": 8, "mamba_chunk_size": 16}
GRANITE = {
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.5,
    "attention_multiplier": 0.125,
    "logits_scaling": 0.5,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 128}
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.1, 1.2],
    "long_factor": [1.0, 2.0, 4.0],
}
MROPE = {
    "rope_type": "default",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.5,
    "mrope_section": [2, 1, 1],
    "mrope_interleaved": True,
}

_qwen3_5 = _config("Qwen3_5TextConfig", rope_parameters=MROPE, **LINEAR_ATTENTION)
_ministral3 = _config(
    "Ministral3Config",
    rope_parameters={**YARN, "factor": 32.0, "original_max_position_embeddings": 16, "llama_4_scaling_beta": 0.1},
)

FAMILIES: tuple[Family, ...] = (
    Family("llama", _config("LlamaConfig", rope_parameters=LLAMA3_ROPE)),
    Family("qwen2", _config("Qwen2Config", sliding_window=SMALL)),  # which is not used, as in real ones
    Family(
        "qwen2_window",
        _config("Qwen2Config", use_sliding_window=True, sliding_window=SMALL, max_window_layers=1),
        window=SMALL,
    ),
    Family("qwen3", _config("Qwen3Config")),
    Family("qwen3_moe", _config("Qwen3MoeConfig", head_dim=16, **EXPERTS), has_experts=True),
    Family("qwen3_5_text", _qwen3_5, has_states=True),
    Family(
        "qwen3_5",
        _composite(
            "Qwen3_5Config",
            _qwen3_5,
            {"depth": 1, "out_hidden_size": 32, "num_position_embeddings": 16},
            image_token_id=260,
            video_token_id=261,
            vision_start_token_id=262,
            vision_end_token_id=263,
        ),
        saved_as="Qwen3_5ForConditionalGeneration",
        has_states=True,
        has_towers=True,
    ),
    Family(
        "qwen3_next",
        _config("Qwen3NextConfig", **LINEAR_ATTENTION, **EXPERTS, shared_expert_intermediate_size=32),
        has_states=True,
        has_experts=True,
    ),
    Family("mistral", _mistral(LARGE), window=LARGE),
    Family("mistral_window", _mistral(SMALL), window=SMALL),
    Family("ministral3", _ministral3),
    Family(
        "mistral3",
        _composite("Mistral3Config", _ministral3, {"num_hidden_layers": 1, "image_size": 16}, image_token_index=260),
        saved_as="Mistral3ForConditionalGeneration",
        has_towers=True,
        is_causal_lm=False,
    ),
    Family("gemma2", _gemma2(LARGE), window=LARGE, has_sdpa=False, scaling="final_logit_softcapping"),
    Family("gemma2_window", _gemma2(SMALL), window=SMALL, has_sdpa=False, scaling="final_logit_softcapping"),
    Family("gemma3_text", _gemma3(LARGE), window=LARGE),
    Family("gemma3_text_window", _gemma3(SMALL), window=SMALL),
    Family(
        "gemma3",
        _composite(
            "Gemma3Config",
            _gemma3(LARGE),
            {"num_hidden_layers": 1, "image_size": 16, "vision_use_head": False},
            mm_tokens_per_image=4,
            image_token_index=260,
            boi_token_index=261,
            eoi_token_index=262,
        ),
        window=LARGE,
        has_towers=True,
    ),
    Family("gemma4_text", _gemma4(LARGE), window=LARGE, scaling="final_logit_softcapping"),
    Family("gemma4_text_window", _gemma4(SMALL), window=SMALL, scaling="final_logit_softcapping"),
    Family(
        "gemma4_moe",  # as 26B-A4B
        _config(
            "Gemma4TextConfig",
            layer_types=["sliding_attention", "full_attention"],
            sliding_window=LARGE,
            global_head_dim=32,
            num_global_key_value_heads=1,
            attention_k_eq_v=True,
            hidden_size_per_layer_input=0,
            enable_moe_block=True,
            num_experts=4,
            top_k_experts=2,
            moe_intermediate_size=32,
            use_bidirectional_attention="vision",
            final_logit_softcapping=5.0,
            tie_word_embeddings=True,
        ),
        window=LARGE,
        has_experts=True,
        scaling="final_logit_softcapping",
    ),
    Family(
        "gemma4",
        _composite(
            "Gemma4Config",
            _gemma4(LARGE),
            {"num_hidden_layers": 1, "num_key_value_heads": 2, "head_dim": 16, "position_embedding_size": 16},
            image_token_id=260,
            boi_token_id=261,
            eoi_token_id=262,
            video_token_id=263,
            audio_token_id=264,
        ),
        window=LARGE,
        has_towers=True,
        scaling="final_logit_softcapping",
    ),
    Family(
        "gemma4_unified",  # as 12B
        _composite(
            "Gemma4UnifiedConfig",
            _config(
                "Gemma4UnifiedTextConfig",
                layer_types=["sliding_attention", "full_attention"],
                sliding_window=LARGE,
                global_head_dim=32,
                num_global_key_value_heads=1,
                attention_k_eq_v=True,
                final_logit_softcapping=5.0,
                tie_word_embeddings=True,
            ),
            {"patch_size": 4, "mm_embed_dim": 32, "output_proj_dims": 32},
            image_token_id=271,
            boi_token_id=270,
            eoi_token_id=269,
            video_token_id=268,
            audio_token_id=267,
            boa_token_id=265,
            eoa_token_index=266,
        ),
        window=LARGE,
        has_towers=True,
        scaling="final_logit_softcapping",
    ),
    Family("phi3", _phi3(LARGE), window=LARGE),
    Family("phi3_window", _phi3(SMALL), window=SMALL),
    Family(
        "phi4_mini",
        _config("Phi3Config", rope_parameters=LONG_ROPE, original_max_position_embeddings=256),
    ),
    Family("granite", _config("GraniteConfig", **GRANITE), scaling="logits_scaling"),
    Family(
        "granitemoehybrid",  # as Granite 4 h-tiny
        _config(
            "GraniteMoeHybridConfig",
            num_hidden_layers=3,
            layer_types=["linear_attention", "full_attention", "linear_attention"],
            num_local_experts=4,
            shared_intermediate_size=32,
            **GRANITE,
            **MAMBA,
        ),
        has_states=True,
        has_experts=True,
        scaling="logits_scaling",
    ),
    Family(
        "granitemoehybrid_attention",  # as Granite 4 micro: neither mamba nor experts
        _config(
            "GraniteMoeHybridConfig",
            layer_types=["full_attention"] * 2,
            num_local_experts=0,
            shared_intermediate_size=64,
            position_embedding_type="rope",
            **GRANITE,
            **MAMBA,
        ),
        scaling="logits_scaling",
    ),
    Family("olmo3", _olmo3(LARGE), window=LARGE),
    Family("olmo3_window", _olmo3(SMALL), window=SMALL),
    Family("smollm3", _config("SmolLM3Config", no_rope_layers=[1, 0])),
    Family("cohere2", _cohere2(LARGE), window=LARGE, scaling="logit_scale"),
    Family("cohere2_window", _cohere2(SMALL), window=SMALL, scaling="logit_scale"),
    Family("glm4", _config("Glm4Config")),
    Family(
        "deepseek_v3",
        _config(
            "DeepseekV3Config",
            num_key_value_heads=4,
            q_lora_rank=16,
            kv_lora_rank=16,
            qk_rope_head_dim=8,
            qk_nope_head_dim=8,
            v_head_dim=8,
            first_k_dense_replace=1,
            n_routed_experts=4,
            num_experts_per_tok=2,
            n_group=2,
            topk_group=1,
            moe_intermediate_size=32,
            rope_parameters={**YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
        ),
        has_experts=True,
    ),
    Family("gpt_oss", _gpt_oss(LARGE), window=LARGE, has_experts=True, has_sdpa=False),
    Family("gpt_oss_window", _gpt_oss(SMALL), window=SMALL, has_experts=True, has_sdpa=False),
    Family(
        "lfm2",
        _config(
            "Lfm2Config", num_hidden_layers=3, layer_types=["conv", "full_attention", "conv"], block_multiple_of=16
        ),
        has_states=True,
    ),
    Family(
        "falcon_h1",
        _config("FalconH1Config", mamba_d_ssm=64, lm_head_multiplier=2.0, **MAMBA),
        has_states=True,
        scaling="lm_head_multiplier",
    ),
)


def save_family(family: Family, folder: Path, seed: int = 0) -> Path:
    """A random model of the family and the byte tokenizer, as a Hugging Face folder."""
    import torch
    import transformers

    from conftest import CHATML, byte_tokenizer

    tokenizer = byte_tokenizer(
        ["<|im_start|>", "<|im_end|>", "<|endoftext|>"], template=CHATML, eos="<|im_end|>", pad="<|endoftext|>"
    )
    config = family.config()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if family.saved_as is None:
            model = transformers.AutoModelForCausalLM.from_config(config)
        else:
            model = getattr(transformers, family.saved_as)(config)
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

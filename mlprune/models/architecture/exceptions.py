"""What cannot be discovered of a few model types, each with its reason.

Everything else follows from a run of the model's own code (`discovery.py`). A type that is missing here still works;
what is unknown of it (single heads in one fused projection, say) is refused where it is asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlprune.models.architecture.architecture import HeadAttribute, HeadLayout

_HEADS_AND_WIDTH: tuple[tuple[str, HeadAttribute], ...] = (
    ("self_attn.num_heads", "heads"),
    ("self_attn.embed_dim", "width"),
)
COMPUTED_POSITIONS = ("xglm",)
"""Model types whose table of positions is computed: one row of features per position."""


@dataclass(frozen=True)
class Exceptions:
    """Facts about one model type."""

    heads: HeadLayout | None = None
    """Rows of one projection that gives queries, keys and values: shapes do not show their order."""
    head_width_key: str | None = None
    """A key that the model's code reads although its config class does not have it."""
    head_attributes: tuple[tuple[str, HeadAttribute], ...] = ()
    """Attributes that a smaller model needs: their values do not show which number of heads they contain."""
    alibi: str | None = None
    """Position biases are computed for all heads outside the block."""


EXCEPTIONS: Mapping[str, Exceptions] = {
    "qwen2": Exceptions(head_width_key="head_dim"),
    "smollm3": Exceptions(head_width_key="head_dim"),
    "xglm": Exceptions(head_attributes=_HEADS_AND_WIDTH),
    "opt": Exceptions(head_attributes=_HEADS_AND_WIDTH),
    "gpt2": Exceptions(heads="blocked", head_attributes=(("attn.num_heads", "heads"), ("attn.split_size", "width"))),
    "bloom": Exceptions(
        heads="interleaved", head_attributes=(("self_attention.num_heads", "heads"),), alibi="self_attention"
    ),
    "gpt_neox": Exceptions(heads="interleaved"),
    "gpt_neo": Exceptions(
        head_attributes=(("attn.attention.num_heads", "heads"), ("attn.attention.embed_dim", "width"))
    ),
    "stablelm": Exceptions(
        head_attributes=(
            ("self_attn.num_heads", "heads"),
            ("self_attn.num_key_value_heads", "groups"),
            ("self_attn.hidden_size", "width"),
        )
    ),
    "phi3": Exceptions(
        heads="blocked",
        head_width_key="head_dim",
        head_attributes=(
            ("self_attn.config.num_attention_heads", "heads"),
            ("self_attn.num_key_value_heads", "groups"),
        ),
    ),
}
"""`model_type` -> what is known of it."""

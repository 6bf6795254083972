"""A recipe that observes a mixture of experts, one of which fires for one script only."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from tests.expert_models import save_expert_model
from tests.tiny_models import tiny_tokenizer
from tests.tiny_recipes import small_recipe, write_texts

N_EXPERTS, OF_SCRIPT, DEAD = 8, 0, 2
SIZES = {"shots": 2, "samples": 3, "max_tokens": 48}


def plant(folder: Path) -> None:
    """Make one expert of block 0 fire for Cyrillic letters only, and another one of every block for no token."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    letters = tiny_tokenizer()("кошек")["input_ids"]
    is_script = torch.zeros(model.config.vocab_size, dtype=torch.bool)
    is_script[letters] = True
    script, every = torch.eye(model.config.hidden_size)[:2]
    embeddings = model.model.embed_tokens.weight.data
    embeddings[:, :2] = 0
    embeddings += 6 * every + torch.where(is_script, 6.0, -6.0)[:, None] * script
    for block, layer in enumerate(model.model.layers):
        layer.post_attention_layernorm.weight.data.fill_(1.0)
        layer.mlp.gate.weight.data[:, :2] = 0  # no other expert reads these features
        layer.mlp.gate.weight.data[[DEAD, OF_SCRIPT]] = -50 * every
        if block == 0:
            layer.mlp.gate.weight.data[OF_SCRIPT] = 50 * script
            _predict(layer.mlp.experts, reads=script, writes=model.lm_head.weight.data[letters].mean(dim=0))
    model.save_pretrained(folder)


def _predict(experts: Any, *, reads: torch.Tensor, writes: torch.Tensor) -> None:
    """Let the expert of the script add a vector to the hidden states of its tokens, and nothing else."""
    gate_up, down = experts.gate_up_proj.data[OF_SCRIPT], experts.down_proj.data[OF_SCRIPT]
    gate_up.zero_()
    down.zero_()
    gate_up[[0, len(gate_up) // 2]] = reads
    down[2:, 0] = 20 * (writes / writes.norm())[2:]  # the features that routers read stay as they are


def routing_recipe() -> dict[str, Any]:
    """Sets of two languages whose experts are observed, a translation set, and variants without experts."""
    recipe = small_recipe()
    recipe["demonstrations"] = [
        {"name": "mono", "kind": "monolingual", "language": ["fr", "ru"], **SIZES},
        {"name": "mt", "kind": "translation", "source": "ru", "target": "fr", **SIZES},
        {"name": "french", "kind": "monolingual", "language": "fr", **SIZES, "samples": 12},
    ]
    experts = {"demonstrations": "mono", "propagation": "dense", "sparsity": 0.25}
    recipe["variants"] = [
        {"name": "removed", "score": ["frequency", "mean_norm", "reap"], **experts},
        {"name": "french", "score": "frequency", **experts, "demonstrations": "french", "sparsity": 0.125},
    ]
    recipe["evaluations"] = [
        {"task": "perplexity", "path": "corpus", "languages": ["fr", "ru"], "split": "test", "limit": 8}
    ]
    recipe["analyses"] = {"experts": ["mono", "mt"], "overlap_shares": [0.25, 0.5], "routing_entropy": ["mono", "mt"]}
    return recipe


def write_routing_inputs(folder: Path) -> Path:
    """Write the model and texts in two scripts, and return the folder."""
    save_expert_model(folder / "model", n_experts=N_EXPERTS, num_experts_per_tok=1)
    plant(folder / "model")
    write_texts(folder)
    lines = "".join(f"{number} кошек\n" for number in range(40))
    (folder / "corpus" / "ru.txt").write_text(lines, encoding="utf-8")
    return folder

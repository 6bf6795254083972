"""Tiny models with a chat template: one that enforces alternating roles, and one that takes a system text."""

from pathlib import Path

from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from tests.tiny_models import END, save_tiny_model, tiny_tokenizer

END_OF_TURN = "<|e|>"
BOS = "</s>"
ALTERNATING = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}\
{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}\
<{{ message['role'][0] }}>{{ message['content'] | trim }}<|e|>{{ '\\n' }}{% endfor %}\
{% if add_generation_prompt %}<a>{% endif %}"""
"""Template of Gemma's form: a BOS token, a token that ends turns, no system text."""
WITH_SYSTEM = """{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}{{ eos_token }}\
{% endfor %}\
{% if add_generation_prompt %}[assistant]{% endif %}"""
"""Template without a BOS token whose turns end with the EOS token."""


def chat_tokenizer(template: str) -> PreTrainedTokenizerFast:
    """The tiny tokenizer with a chat template and a token that ends turns; it puts BOS before every text."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [END_OF_TURN]})
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, END)]
    )
    tokenizer.chat_template = template
    return tokenizer


def save_chat_model(folder: Path, template: str, *, positions: int = 160) -> Path:
    """Write a tiny model whose tokenizer has a chat template."""
    save_tiny_model(folder, positions=positions)
    chat_tokenizer(template).save_pretrained(folder)
    return folder

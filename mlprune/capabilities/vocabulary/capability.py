"""Smaller vocabularies: variants with fewer tokens, and what they cost each language."""

from mlprune.capabilities.capability import Capability
from mlprune.capabilities.vocabulary.fewer_tokens import add_vocabularies
from mlprune.capabilities.vocabulary.in_place import require_prompts

CAPABILITY = Capability("vocabulary", derived=add_vocabularies, check=require_prompts)

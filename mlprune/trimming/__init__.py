"""Smaller vocabularies: which tokens some languages need, and tokenizers and weights with those tokens only."""

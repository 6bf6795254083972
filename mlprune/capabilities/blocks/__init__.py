"""Whole blocks: variants without some of them, which hidden states then pass unchanged."""

"""Demonstrate: plan and tokenise demonstration sets."""

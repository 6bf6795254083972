"""The real study: Gemma-3-270M, pruned with translation demonstrations and with controls (docs/studies/README.md)."""

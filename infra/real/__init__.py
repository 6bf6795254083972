"""The real study: Gemma-3-270M, pruned with translation demonstrations and with controls (docs/real-study.md)."""

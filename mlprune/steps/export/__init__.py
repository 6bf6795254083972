"""Stage export: write a variant as a Hugging Face folder."""

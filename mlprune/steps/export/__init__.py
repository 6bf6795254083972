"""Export: write a variant as a Hugging Face folder with a model card."""

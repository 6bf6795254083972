"""Results of the catalog for others: every_eval_ever and the Hugging Face hub."""

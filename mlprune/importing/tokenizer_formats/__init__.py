"""Published forms of tokenizers, converted to tokenizer.json."""

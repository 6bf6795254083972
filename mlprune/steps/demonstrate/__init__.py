"""Stage demonstrate: choose texts and write tokenised demonstration sets."""

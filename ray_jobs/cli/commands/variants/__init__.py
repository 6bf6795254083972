"""Commands on single variants: export, verify and harness."""

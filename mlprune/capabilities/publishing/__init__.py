"""Variants for others: model folders, patches, and masks that are applied to their base model."""

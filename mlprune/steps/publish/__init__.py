"""Publish variants without their base model, and apply published variants to it."""

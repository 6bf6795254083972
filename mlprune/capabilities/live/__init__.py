"""The live page, which `catalog.capabilities.live` serves."""

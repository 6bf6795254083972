"""Reports on published data and on models, before there is a recipe for them."""

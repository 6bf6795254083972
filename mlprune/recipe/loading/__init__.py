"""Loading of recipes: from a YAML file to checked models, or one line about the first error."""

"""Items: store the items of every evaluated task, as the catalog and statistics read them. No model runs."""

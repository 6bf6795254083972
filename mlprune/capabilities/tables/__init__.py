"""Results for publications and for MLflow, which `catalog.capabilities.tables` writes."""

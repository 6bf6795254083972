"""Summary of the report: findings and the headline."""

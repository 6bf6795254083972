"""Commands that run recipes: demo, plan, run and status."""

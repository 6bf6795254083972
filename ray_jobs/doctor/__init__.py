"""`mlprune doctor`: what this machine, Ray, the GPUs, a store and a recipe lack, each with the command that helps."""

"""`mlprune check machine`: what this machine, Ray, a store and a recipe lack, each with the command that helps."""

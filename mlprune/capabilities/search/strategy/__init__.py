"""Search over recipes: spaces, trials, objectives and methods. Pure functions of the trials evaluated so far."""

"""Search over recipes: spaces, trials, objectives and methods. Pure functions of the trials told so far."""

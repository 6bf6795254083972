"""Questions of a recipe: what its results are to show, declared before they exist."""

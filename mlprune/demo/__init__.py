"""The embedded model: a small XGLM, the text it was trained on, and the script that trains it."""

"""Publications that several methods cite."""

WANDA = (
    "M. Sun, Z. Liu, A. Bair, J. Z. Kolter, *A Simple and Effective Pruning Approach for Large Language Models*, "
    "arXiv:2306.11695"
)

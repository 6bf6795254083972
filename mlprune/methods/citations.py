"""Publications that several methods cite."""

WANDA = (
    "M. Sun, Z. Liu, A. Bair, J. Z. Kolter, *A Simple and Effective Pruning Approach for Large Language Models*, "
    "arXiv:2306.11695"
)
PLUG_AND_PLAY = (
    "Y. Zhang et al., *Plug-and-Play: An Efficient Post-training Pruning Method for Large Language Models*, ICLR 2024"
)

"""Publications that several methods cite."""

WANDA = (
    "M. Sun, Z. Liu, A. Bair, J. Z. Kolter, *A Simple and Effective Pruning Approach for Large Language Models*, "
    "arXiv:2306.11695"
)
LAPE = (
    "T. Tang et al., *Language-Specific Neurons: The Key to Multilingual Capabilities in Large Language Models*, "
    "arXiv:2402.16438"
)
PLUG_AND_PLAY = (
    "Y. Zhang et al., *Plug-and-Play: An Efficient Post-training Pruning Method for Large Language Models*, ICLR 2024"
)

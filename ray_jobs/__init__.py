"""Running jobs: the command line, the driver and the workers. Importing this package does not import Ray.

numpy's matrix products use one thread in the processes of this package, which are started for parallel work of their
own: OpenBLAS reads the variable when numpy is imported, and the processes of a local Ray cluster inherit it. No result
depends on it. A value that is set before stays.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

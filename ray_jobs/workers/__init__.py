"""Workers: carry out jobs, in this process or on Ray."""

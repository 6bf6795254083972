"""Dense pass block by block, for statistics that are large or need several reads of a block."""

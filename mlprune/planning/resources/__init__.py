"""What a plan needs: capacity of nodes, rates, memory, disk space and time."""

"""The parts of ``scripts/run``: what to write, the nodes, what to print."""

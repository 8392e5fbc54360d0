"""Pure rules: dots, known sets, contexts, merge, resolvers, hybrid clock. Standard library only.

Nothing here reads a clock, a random source, a file or a socket: ``now``, ids and contents
come in as arguments, and new values come out.
"""

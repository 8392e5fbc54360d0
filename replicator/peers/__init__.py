"""The peer process, piece by piece: links and contacts, sessions that drive conversations, upkeep.

`replicator.node` puts them together around one store.
"""

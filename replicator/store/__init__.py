"""The store: one LevelDB namespace with its log, index, known set and identity. Never trio."""

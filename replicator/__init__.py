"""Multi-master replication for embedded LevelDB."""

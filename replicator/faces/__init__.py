"""What people touch: the library handle, the command line, the daemon and its socket."""

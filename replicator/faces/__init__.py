"""What people touch: the library handle, the command line, the daemon and its socket.

`library` has the two ways in, `handle` what they give. Its half that has plyvel's shape is `shape`;
prefixed views and snapshots are in `views`, the rest in `iterators` and `batch`. `lease` is how
closing waits for calls in flight, `engine` what a handle keeps running. `client` is the handle of
programs that ask a daemon, which answers them in `redis`.
"""

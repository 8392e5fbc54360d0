"""What people touch: the library handle, the command line, the daemon and its socket.

`library` has the two ways in, `handle` what they give. A handle has plyvel's shape: `views` are
its prefixed views and snapshots, `iterators` and `batch` what plyvel calls so. `lease` is how
closing waits for calls in flight, `engine` what a handle keeps running.
"""

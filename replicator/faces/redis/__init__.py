"""The Redis protocol on the daemon's sockets: many clients, one loop, one commit for all of them.

`server` reads from every client that has sent something, has `executing` run their requests on one
`turn`, commits what they wrote as one batch, and only then sends the replies. `table` says which
commands there are; each of the other modules holds those of one theme.
"""

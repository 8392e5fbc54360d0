"""What two nodes say to each other, sans-IO: no socket, clock, random source or thread in here.

`frames` and `messages` are the bytes, `effects` is the border to the world, `conversation` and its
two halves decide, `pulls` keeps the conversations of one node from asking for the same dots,
`schedule` says when to talk again. ``now`` (seconds of any monotonic clock), ids and reads come in
as arguments, and what is to be done comes out.
"""

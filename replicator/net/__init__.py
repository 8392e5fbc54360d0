"""Networks: addresses, framed streams, dialling and listening, on trio.

Knows nothing of stores or conversations: bytes of whole frames go in and come out.
"""

"""The client of daemons: a handle like the library's, over RESP, that blocks or runs within trio.

One implementation serves both. `calling`, `view` and `handle` are written as coroutines over a
`world`: sockets, pauses and limits. Within trio they are what they look like; for a program without
an event loop `blocking` runs each to its end in the caller's thread, where nothing of its world
ever suspends.

    handle      what a program calls; `view` is the part that has a prefix, `batch`, `scanning` and
                `following` what it gives out; `answers` makes objects of replies
    calling     one call; `retries` has the table of what is tried again after a lost answer
    choosing    which daemon, and that it holds what was written elsewhere (`session`)
    places      daemons, their connections and how they have fared
    lines       a connection that blocks; `triolines` the one within trio
    replies     bytes into replies, and error replies into errors
    endpoints   URLs and secrets
"""

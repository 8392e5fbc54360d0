"""Verify: every invariant of the keyspace, checked in linear scans, and mended (`repair`).

The order of the modules: `faults` (what can be wrong), `reading` (rows, past damaged blocks),
`tables` (the small rows), `records` (index against values), `entries` (log and values aside
against the index), `scan` (all of it on one snapshot), `sidefile` (what a repair changes, copied
first), `repair`. `directory` opens a stopped store without becoming it.
"""

"""Discovery: providers of addresses at which peers may listen.

A provider is configuration until `Provider.run` runs it. It tells its node, an `Outlook`, every
address that it finds *now*; whether a node lives there, whether it is this very node, and whether
it may be talked to (R15) is found out by dialling. A provider that fails says so and goes on
trying: it never stops a node.
"""

"""The simulator: whole clusters in virtual time, from one seed, judged by an oracle outside.

`docs/SIMULATOR.md` tells how to use it. The modules, from the ground up:

- `loop`: virtual time.
- `disk`: one node's LevelDB as far as losing things goes: logs, syncs, power cuts, copies.
- `model_store`: a store over that disk, with the rules R1–R3, R6, R8, R9, R11 and R13.
- `network`: links, connections, what is lost on them.
- `membership`: the roster of one node, with the rules R7 and R10.
- `session`: one conversation between two stores, the real sans-IO one.
- `oracle`: who wrote what having seen what, and the invariants.
- `plan`: what a seed stands for: topology, habits of the nodes, faults.
- `cluster`: nodes, workload, faults, until quiet.
- `planted`: bugs that the simulator must find.
- `transcript`: what happened, to be read by people.
"""

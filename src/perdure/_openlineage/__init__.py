"""OpenLineage: what runs do, told to those who keep the lineage of a whole organisation.

Told is what is recorded: a thread of the driving process reads the journal and emits events. No
run waits for it, and none fails because of it.
"""

"""The read side: what the command line and the UI ask about runs.

Apart from the journal on purpose. The journal is on the hot path and must stay small enough to be
proved right; questions of people are many and grow with every screen. So views have their own
read-only connections, which in write-ahead mode never hold up a commit, and their own shapes
(``model``), cut to what is shown. Nothing here writes, decodes user values or imports user code,
and no decision of the controller depends on it.
"""

"""Secrets: where their values come from, and how they are kept out of everything that is recorded.

A task names its secrets; names are all that specs, journals, bundles and messages between tasks
hold. Values are looked up by the process that drives the run when it places a worker
(``sources.py``), sent to that worker over its authenticated connection, and live in its memory
only. In the worker ``masking.py`` keeps them out of logs and errors.
"""

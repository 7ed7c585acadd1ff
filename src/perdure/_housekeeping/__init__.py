"""Housekeeping: what a home holds, and removing what nobody needs any more.

Theory of operation
-------------------
Collecting goes from what refers to what is referred to, so that a crash at any moment leaves
nothing that refers to something gone:

1. **Runs.** Those that ended long ago, or were interrupted long ago and are driven by nobody, are
   chosen; runs that a kept one takes results over from are kept as well. One transaction makes a
   run a *ruin*: its name is free, its lease void, nobody sees it. Its folders of checkpoints and
   reports are moved aside inside that transaction, so that a new run of the same name finds
   neither. Then its rows go, few at a time, to keep nobody waiting; the ruin goes last. Ruins that
   a crash has left are finished by the next collection.
2. **Marks.** One read of the journal, at one moment, notes which blobs and logs are referred to;
   ``roots.py`` lists who refers to blobs.
3. **Blobs and logs** that are not marked are removed if they are old enough. Old enough means:
   last wanted before everything that is under way now was begun, less an hour. What is under way
   may hold blobs that no row refers to yet; storing a blob again, or asking for it, makes it fresh.

The newest ruin stays as an empty row until there is a newer run: SQLite would give its key away
again, and somebody may still hold it.
"""

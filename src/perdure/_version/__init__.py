"""Versions: is what a function does still the same, whichever process asks?

- ``code``: a digest of a function and of all project code and constants it reaches.
- ``environment``: a digest of what is installed beside it.
- ``repository``: the commit that is checked out, for people.

How the code that is reached is found::

    function --bytecode--> names it uses --globals, modules--> functions, classes, constants
                 ^                                                         |
                 +---------------------------------------------------------+

``bytecode`` tells the names a compiled body uses, ``sources`` what only the text of a file tells
(decorators, how a constant is made, where it was imported from), ``describe`` turns values into
bytes that are the same in every process, ``reach`` puts them together into a graph.
"""

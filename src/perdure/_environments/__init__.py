"""Environments: what an image asks of Python, and a folder in which that is installed.

Theory of operation
-------------------
A *recipe* says everything that decides what is installed: the version of Python, requirements, the
text of lock files, digests of local packages. It is a blob; its digest is all that the core and the
journal know of an image. ``fitting`` tells whether an interpreter satisfies a recipe already.

If not, ``store`` makes an *environment*: a folder ``PERDURE_HOME/environments/<digest>`` whose
digest covers the recipe, the interpreter, the platform and this installation of Perdure. It is
filled by ``building`` with uv under another name and renamed when it is whole. Who builds holds an
exclusive lock, which uv inherits: whatever is killed, no second builder begins before the last
process of the first one is gone. Who uses an environment holds a shared lock, so that nobody
removes it.

The versions that were found for a recipe are kept beside the environment and outlive it: built
again, it is what it was.
"""

"""The pure core: decisions as plain functions over plain state.

Nothing in here knows asyncio, clocks, randomness, the file system or a database: times and ids
are arguments. The same code runs under the real controller and under the simulator.
"""

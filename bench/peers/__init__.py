"""The workloads as each peer's users would write them: one module per peer.

A function takes a scratch folder and sizes and returns figures. What a module lacks, the catalogue
gives the reason for. Names and figures are the same everywhere, so that they can be compared.
"""

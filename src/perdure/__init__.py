"""Perdure: plain Python as durable, distributed AI workflows."""

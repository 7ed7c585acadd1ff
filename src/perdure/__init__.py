"""Perdure: plain Python as durable, distributed AI workflows."""

from perdure._api.environment import TaskEnvironment

"""Starting runs and looking at them: what ``perdure.run`` and the ``Run`` handle are made of."""

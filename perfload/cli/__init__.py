"""The command line: `main`, and one module per verb whose docstring is its help."""

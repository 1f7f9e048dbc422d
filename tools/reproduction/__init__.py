"""The paper's tables and figures, made again in small: one module for each family of experiments.

`registry` lists what tools/reproduce.py can make, `steps` trains and converts what is missing, `printed` holds the
paper's own numbers, and `strength`, `joint` and their neighbours say what one table or figure is.
"""

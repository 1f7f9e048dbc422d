"""How the kernels of a network move with omega (section 5 of the paper, Figs. 8 and 9; docs/kernels.md).

The file of a network is read without any framework (`kernels`). The kernels of every block are followed along lines
between the corners of omega (`movement`), and laid out in two dimensions by PCA and t-SNE (`embedding`).
"""

from tunable.analysis.movement import Analysis, Movement, Point, Profile, analyze

__all__ = ["Analysis", "Movement", "Point", "Profile", "analyze"]

"""What parameters a network has, and where they start."""

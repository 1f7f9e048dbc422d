"""What a framework supplies to the neutral package, which of them there are, and a model in one of them."""

"""Deliberate faults, each of which must turn the suite red: `python -m parity_tests.mutants`.

ways      how a fault gets into a twin
tensors   changes of tensors that both frameworks understand
layers, attention, networks, learning, retrofit, neutral   faults by what they break; `table` is all of them
checks    the tests that must see them
harness   breaks a twin, runs checks, and mends it
certified faults that a certificate must see, and the stage at which it does
"""

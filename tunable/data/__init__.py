"""Photographs on disk as batches: folders, patches, degradations."""

"""What a recipe or the header of a weights file may say, section by section."""

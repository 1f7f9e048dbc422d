"""Reading and writing pictures, contact sheets, pictures of any size in tiles."""

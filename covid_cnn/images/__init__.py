"""From bytes to pixels: reading, preparing, changing and segmenting radiographs."""

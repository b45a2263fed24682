"""Read programs, answers and texts without running anything."""

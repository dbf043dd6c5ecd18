"""Networks that reconstruct undersampled slices: one architecture a file, its config record beside it."""

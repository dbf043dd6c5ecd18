"""Images that change with time: signals, motion, temporal bases, quantitative maps."""

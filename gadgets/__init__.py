"""One streaming reconstruction step per file: what it takes from the stream, what it puts back."""

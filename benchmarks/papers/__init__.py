"""The comparisons of three papers on the data at hand, from the shipped training recipes and scaled down."""

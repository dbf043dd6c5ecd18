"""Recipes, and the ways to run them: runner, server, client, replay, command line."""

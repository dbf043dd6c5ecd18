"""Model packages, and the engine that runs their networks for every session of a process."""

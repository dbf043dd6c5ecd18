"""What is known of the receiver coils: their noise, their redundancy, their sensitivities."""

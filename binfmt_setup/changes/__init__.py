"""What to change, and changing it: the plan and the transaction that carries it out."""

"""What a strategy is, the indicators it is made of, and the built-in one."""

"""How much work a profile is: tokens, time, memory and store, by stated formulas and measured rates."""

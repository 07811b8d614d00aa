"""What an artifact is: how it is declared, which settings it has, what its body is given."""

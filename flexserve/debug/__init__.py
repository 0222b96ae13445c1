"""What debuggers show of a phone: views that need the names of monitor and gates."""

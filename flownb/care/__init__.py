"""What keeps a state folder in order: what may be deleted, what is wrong, and what the files hold."""

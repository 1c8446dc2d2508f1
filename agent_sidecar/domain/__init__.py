"""What a call is and what we conclude from it: pure, same input, same answer."""

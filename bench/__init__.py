"""One bench per promise; README.md here says what each promises and how to read it."""

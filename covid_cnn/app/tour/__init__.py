"""The Tour: why 100 % is not 100 %, screen by screen."""

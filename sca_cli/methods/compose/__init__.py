"""Method `compose`: programs put together from calls that were seen to work."""

"""What makes the data and the held-out tasks of `sca_web_browsing`."""

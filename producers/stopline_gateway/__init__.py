"""HTTP in front of Stopline: REST, CloudEvents, and outcomes as they come. `stopline gateway`."""

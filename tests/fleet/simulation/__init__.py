"""Controller, gateway, replicas, users, people and faults in simulated time: all that happens follows from one seed."""

"""The queues: how to reach them, and the messages that Stopline puts there."""

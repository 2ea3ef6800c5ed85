"""Every outcome in SQL, for as long as it is wanted: who stopped this task, when and why."""

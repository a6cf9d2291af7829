"""How tasks are trained, one after the other: loop, learner, evaluation, tracking."""

"""Pictures and things to try: what a learner looks at and touches."""

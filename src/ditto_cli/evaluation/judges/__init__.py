"""The judges: pairs of writings -> which one sounds more like the author. Each is imported from its own module.

Nothing is imported here, so that a judge needs only its own libraries.
"""

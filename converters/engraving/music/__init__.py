"""Music to engrave, composed from a seed, and the signs that decorate it.

Main path: :func:`composition.compose` → :func:`plans.draw_plan` → :func:`harmonisation.harmonise` →
:func:`figuration.decorate` → :func:`notation.write_voice` → :func:`mei.write`. The decorated style
then passes the MEI to :func:`decoration.decorate`. Pages that need rare symbols contain several
pieces instead: :func:`exercises.compose_exercises`.
"""

"""What makes a run faster and changes no result but by rounding; `base.speed=plain` turns all of it off."""

"""How the default model is made: its data, its recipe, the protocol that judges it, and the bundle that ships."""

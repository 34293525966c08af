"""How the starter is made: `python -m recipes.starter.train --data DIR --out DIR`."""

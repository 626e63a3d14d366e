"""`clear-rt bench`: what this machine does with a bundle, stage by stage, beside what it could do at best.

- `run.bench` is the whole command, `network.measure` one engine at one size, `quality.compared` two engines.
- `work_dit` and `work_vae` count arithmetic by formula; `ceilings` measures a matrix product and a copy.
- `document` is the JSON form, `tables`, `comparison` and `chart` show it.
"""

"""`perfload agent`: the monitors of another machine, served over HTTP to whoever runs the load test.

Sampler ──► write ──► Ring ──────► GET /readings   (a master's monitor `agent.<name>`)
                 └──► LastValues ─► GET /metrics    (Prometheus)
"""

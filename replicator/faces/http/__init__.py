"""HTTP for operators: health, metrics, status, and one page that a person can leave open.

`server` puts it together. `listening` lets clients in, within bounds, `guard` judges their
requests, `endpoints` answer them. What they tell comes from `watch`, which looks at the node once a
second however many ask, and is kept for the page by `history`, `happenings` and `openconflicts`;
`metrics` and `telling` put it into words for Prometheus and for the page, `broadcast` sends it to
every page that is open. The page itself lies in `static`.

Keys, values and names come from strangers: they leave as JSON or as escaped label values, and the
page writes them as text, never as markup.
"""

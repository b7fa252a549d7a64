"""Does the identity loss help? Many subjects of the drawn world, trained in several ways and judged by other networks.

recipe     how one of them is trained, drawn and judged; the demo does the same
plan       what is varied, on whom
trials     what every trial needs: rows that are kept, and a jury
paths      one subject trained one way: a row of numbers at each of some steps
frontier   ways along their steps, at equal age error and leakage
spread     photos of several ages against as many of one
steps      the step that a judge chose against the last; gradients: how hard each loss pulls
results    rows to rates with intervals, and the table; plots, page: what is written
"""

"""Runs over a master and workers: exact totals, shares that move when workers come and go, no strangers.

Messages besides Locust's own, each a small dictionary (`perfload.load.cluster.messages`):

    perfload_beat    worker -> master   twice a second: I am here, and this is what I know and have spent
                     master -> worker   the answer: the time, until when the worker may start users, and
                                        how much it may spend
    perfload_start   master -> worker   an `Assignment`; sent before Locust's spawn message
    perfload_shares  master -> worker   who starts what from when on; also in answers to beats
    perfload_batch   worker -> master   what one worker finished in a second, numbered from 1 without gaps
    perfload_ack     master -> worker   the number of a batch that is in the record
    perfload_rows    worker -> master   unique data rows wanted, or given back
                     master -> worker   rows lent, or called back
    perfload_stop    master -> worker   stop the load and send the final batch
"""

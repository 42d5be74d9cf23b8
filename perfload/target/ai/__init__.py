"""An emulator of language-model APIs whose truth is known: what OpenAI and Anthropic serve, without a model.

layer      HTTP: routes, keys, refusals                     openai…, anthropic…   the two wire formats
delivery   when and how an answer is sent                   stream, pacer         one stream; what wakes it
author     who writes it: reply, odds, json_schema          batch, limits         who has to wait, or go
faults     what goes wrong                                  quirks                what is odd, but right
truth      what was sent, and when
"""

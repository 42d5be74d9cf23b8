"""An emulator of language-model APIs whose truth is known: what OpenAI and Anthropic serve, without a model.

layer      HTTP: routes, keys, refusals, answers at once          openai, anthropic   the two wire formats
stream     one streamed answer, written as it falls due           pacer               what wakes them
reply      what is answered, drawn from a seed                    batch, limits       who has to wait, or go
faults     what goes wrong                                        truth               what was sent, and when
"""

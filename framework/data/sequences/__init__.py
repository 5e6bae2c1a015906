"""Examples that are sequences of varying length.

protos      `tf.train.SequenceExample` and back
bucketing   batches of examples of like length
masking     padded steps, and where there are some
"""
